"""The handbook tells the truth: its commands parse, its names, messages, numbers and files are those of the code."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import __main__ as command_line
from pipeline import dataflow, flags
from pipeline.dataset import Dataset
from tests.deploy.test_sizing import sizing
from transforms import errors, listing, plan, runs, schemas, writers
from transforms.metric_names import METRICS
from transforms.records import clip_id

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HANDBOOK = DEPLOY / "README.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DEPLOY.rglob("*.md"))]
COMMAND = re.compile(r"(?<![\w/-])(?:yamnet-beam|python -m pipeline)(?= +[a-z])")
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Messages of ours that the runbook goes by.
MESSAGES = (
    "plan made", "model loaded", "run committed", "run refused", "no clip at all", "may not use ", ": it needs ",
    "the BigQuery table ", "storage.objects.get", "this worker has no model ", " held the weights ",
    " was committed at ", "; nothing to do.", " was committed by another execution", "NOT COMMITTED", " clips are dead",
    "Dataflow refused the job", "a TaskManager is gone", "SDK harness closed connection",
)  # fmt: skip


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of ours in Markdown: in blocks, where a backslash goes on, and in the text."""
    blocks = FENCE.findall(text)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        if (found := COMMAND.search(line)) and not line.startswith("#"):
            reader = shlex.shlex(line[found.start() :], posix=True, punctuation_chars=True)
            reader.whitespace_split = True
            words = list(reader)
            ends = [number for number, word in enumerate(words) if set(word) <= set("|&;<>()")]
            words = words[: ends[0]] if ends else words
            yield words[1:] if words[0] == "yamnet-beam" else words[3:]


def check(words: list[str]) -> None:
    """Takes a command as the product does, short of running it.

    Raises:
      UsageError: it would be refused.
      SystemExit: argparse has refused it.
    """
    top, known = command_line.parsers()
    arguments, unknown = top.parse_known_args(words)
    names = flags.flags_of(known[arguments.command])
    if arguments.command != "embed":
        flags.refuse_unknown(unknown, names)
    elif words[1:]:
        beams = flags.beam_flags(unknown, names)
        options = flags.embed_options(vars(arguments))
        dataflow.prepare(options, PipelineOptions(dataflow.with_profile(options.profile, beams)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_one_that_the_product_takes(document: Path) -> None:
    for words in commands(document.read_text()):
        try:
            check(words)
        except (errors.UsageError, SystemExit) as problem:
            pytest.fail(f"{shlex.join(words)}: {problem}")


def test_all_commands_are_found() -> None:
    found = [words[0] for document in DOCUMENTS for words in commands(document.read_text())]
    assert found.count("embed") > 10
    assert {"embed", "info", "model", "compact", "template"} == set(found)
    text = "run `yamnet-beam info d`:\n```\n$ yamnet-beam embed --input 'a b' \\\n  --output c | tee log  # say\n```\n"
    assert list(commands(text)) == [["embed", "--input", "a b", "--output", "c"], ["info", "d"]]


@pytest.mark.parametrize(
    "damaged",
    [
        "embed --input a --ouput b",
        "embed --input a --output b --runer FlinkRunner",
        "embed --input a --output b --mode=again",
        "embed --input gs://a/b --output gs://c/d --profile dataflow-small --project my-project",
        "compact dataset --remove_odd",
        "models verify",
    ],
)
def test_a_damaged_command_is_found(damaged: str) -> None:
    with pytest.raises((errors.UsageError, SystemExit)):
        check(damaged.split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_target_that_is_named_is_there(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert target.startswith("https://") or (document.parent / target).exists(), target
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    for script in re.findall(r"python (deploy/\S+\.py)", text):
        assert (ROOT / script).exists(), script


def _strings() -> Iterator[str]:
    """Every text in the product's code, what is filled in left out."""
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "transforms").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)


def test_the_messages_of_the_runbook_are_those_of_the_code() -> None:
    handbook, said = HANDBOOK.read_text(), "\n".join(_strings())
    for message in MESSAGES:
        assert message.strip() in handbook, message
        assert message in said, message


def test_the_names_of_the_handbook_are_those_of_the_code() -> None:
    handbook = HANDBOOK.read_text()
    sources = [path.read_text() for folder in ("pipeline", "transforms") for path in (ROOT / folder).rglob("*.py")]
    sources += [path.read_text() for path in (*DEPLOY.rglob("*.json"), *DEPLOY.rglob("*.tf"), DEPLOY / "sizing.py")]
    known = set(re.findall(r"\w+", "\n".join(sources)))
    known |= {name for metric in METRICS for name in (metric.name, f"{metric.name}_MEAN", f"{metric.name}_COUNT")}
    known |= set(PipelineOptions().get_all_options())
    told = [word for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", handbook)) for word in re.findall(r"\w+", code)]
    names = {word for word in told if re.fullmatch(r"[a-z0-9]+(_[A-Za-z0-9]+)+", word)}
    assert len(names) > 30
    assert {name for name in names if name.removeprefix("no_") not in known} == set()
    charts = {chart["title"] for chart in _values(json.loads((DEPLOY / "monitoring/dashboard.json").read_text()))}
    for chart in ("Busy with each step", "Dead letters, by code"):
        assert f"*{chart}*" in handbook
        assert any(title.startswith(chart) for title in charts)


def _values(found: Any) -> list[dict[str, Any]]:
    """Everything in a JSON document that has a title."""
    below = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    mine = [found] if isinstance(found, dict) and "title" in found else []
    return mine + [each for value in below for each in _values(value)]


def test_the_bounds_of_alerts_and_gate_are_those_that_are_deployed() -> None:
    handbook = HANDBOOK.read_text()
    variables = (DEPLOY / "terraform/variables.tf").read_text()

    def default(name: str) -> float:
        found = re.search(rf'variable "{name}" {{.*?default\s+= ([\d.]+)', variables, re.DOTALL)
        assert found
        return float(found[1])

    gate = json.loads((DEPLOY / "refresh.json").read_text())["launchParameter"]["parameters"]["max_failure_ratio"]
    assert f"### Alert: more than {default('max_dead_ratio') * 100:g} % of clips are dead" in handbook
    assert f"### Alert: no committed run for {default('max_hours_without_run'):g} h" in handbook
    assert f"### Alert: the newest run took longer than {default('max_lag_hours'):g} h" in handbook
    assert f"the gate is at {float(gate) * 100:g} %" in handbook
    assert f"in refresh.json it is {gate}" in handbook


def test_the_sizes_are_those_of_the_product() -> None:
    assert sizing.PARTITIONS == plan.NUM_PARTITIONS
    assert sizing.FILE_ROWS == writers.MAX_FILE_ROWS
    assert listing.BATCH_CLIPS == sizing.PAGE_OBJECTS
    numbers = sum(field.size for field in schemas.CLIP_FIELDS)
    assert numbers == 2066
    assert 4 * numbers < sizing.ROW_BYTES < 4 * numbers * 1.05
    assert 8 * numbers < sizing.WAREHOUSE_BYTES < 8 * numbers * 1.05
    large = PipelineOptions(list(dataflow.PROFILES["dataflow-large"])).get_all_options()
    fleet = sizing.Fleet()
    assert large["machine_type"].endswith(f"-standard-{fleet.vcpus}")
    assert large["max_num_workers"] * fleet.vcpus == fleet.most_vcpus
    assert large["disk_size_gb"] == fleet.disk_gb


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two runs of one clip, the newer one of another clip besides."""
    committed(tmp_path, "good", "2026-11-23T02:00:00.000+00:00", ["gs://bucket/night/a.wav"])
    committed(tmp_path, "night-20261124", "2026-11-24T02:00:00.000+00:00", [f"gs://bucket/night/{n}.wav" for n in "ab"])
    return tmp_path


def committed(folder: Path, run_id: str, finished_at: str, uris: list[str]) -> None:
    directory = runs.run_directory(str(folder), run_id)
    writer = writers.Table("index", "parquet", schemas.INDEX_FIELDS, directory).open()
    for uri in uris:
        empty = dict.fromkeys(field.name for field in schemas.INDEX_FIELDS)
        done = {"status": runs.EMBEDDED, "pipeline_version": "1", "attempt": 1, "num_patches": 1, "duration_s": 1.0}
        writer.write(empty | done | {"clip_id": clip_id(uri), "uri": uri, "listed_by": "gs://bucket/night/**"})
    outputs = writers.outputs_of([writer.close()])
    runs.publish(directory, {"run_id": run_id, "attempt_id": run_id, "finished_at": finished_at, "outputs": outputs})


def test_the_lines_that_find_a_crashing_clip_print_the_clips_that_are_done(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = re.findall(r"<<'PYTHON'.*?\n(.*?)^PYTHON$", HANDBOOK.read_text(), re.MULTILINE | re.DOTALL)
    (dataset / "run=night-20261124" / runs.SUCCESS_FILE).unlink()  # the job has failed
    exec(script.replace("gs://bucket/dataset", str(dataset)), {})
    assert sorted(capsys.readouterr().out.split()) == ["gs://bucket/night/a.wav", "gs://bucket/night/b.wav"]


def test_the_clips_of_a_run_can_be_done_again_by_its_index(dataset: Path) -> None:
    (batch,) = listing.clip_batches(f"@{dataset}/run=night-20261124/index-*.parquet")
    assert [clip.uri for clip in batch] == ["gs://bucket/night/a.wav", "gs://bucket/night/b.wav"]
    assert {clip.listed_by for clip in batch} == {"gs://bucket/night/**"}, "they would no longer be deleted"


def test_a_run_whose_success_is_deleted_gives_way_to_the_older_one(dataset: Path) -> None:
    a, b = (clip_id(f"gs://bucket/night/{name}.wav") for name in "ab")
    assert Dataset.open(str(dataset)).run_of == {a: "night-20261124", b: "night-20261124"}
    (dataset / "run=night-20261124" / runs.SUCCESS_FILE).unlink()
    opened = Dataset.open(str(dataset))
    assert opened.run_of == {a: "good"}
    policy = plan.Policy("1", ["gs://bucket/night/**"])
    listed = {clip.clip_id: clip for batch in _listed("ab") for clip in batch}
    assert plan.decision(listed[a], opened.done[a], policy) == "unchanged"
    assert plan.decision(listed[b], opened.done.get(b), policy) == "new"


def _listed(names: str) -> Iterator[list[Any]]:
    for name in names:
        yield from listing.clip_batches(f"gs://bucket/night/{name}.wav")
