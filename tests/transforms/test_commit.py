"""The one step that makes a run exist, or refuses to."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import errors, runs
from transforms.commit import RunInfo, commit, refusal
from transforms.tally import Tally
from transforms.writers import WrittenFile

pytestmark = pytest.mark.slow

COUNTS = {
    "listed": 10,
    "new": 8,
    "retry": 1,
    "unchanged": 1,
    "embedded": 7,
    "dead": 2,
    "dead:not_found": 2,
    "truncated": 1,
    "num_patches": 70,
    "audio_s": 3600.0,
}


@pytest.fixture
def run(tmp_path: Path) -> RunInfo:
    return RunInfo(
        run_id="r1",
        attempt_id="first",
        directory=str(tmp_path / "run=r1"),
        started_at="2026-11-22T20:00:00.000+00:00",
        model_version="m",
        pipeline_version="p",
        settings={"precision": "float32"},
        max_failure_ratio=0.5,
        clip_formats=("parquet", "tfrecord"),
    )


@pytest.fixture
def files(run: RunInfo) -> list[WrittenFile]:
    """Files of the rows that COUNTS counts, written in several pieces."""
    rows = [
        ("clips", "parquet", 4),
        ("clips", "parquet", 3),
        ("clips", "tfrecord", 7),
        ("dead_letters", "jsonl", 2),
        ("index", "parquet", 9),
        ("patches", "parquet", 70),
    ]
    return [write(run, f"{kind}-{n}", kind, file_format, count) for n, (kind, file_format, count) in enumerate(rows)]


def write(run: RunInfo, name: str, kind: str, file_format: str, num_rows: int) -> WrittenFile:
    path = Path(run.directory, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 100)
    return WrittenFile(kind, file_format, str(path), num_rows, 100)


def names(run: RunInfo) -> set[str]:
    return {path.name for path in Path(run.directory).iterdir()}


def test_a_run_that_adds_up_is_committed(run, files):
    manifest = commit(run, files, COUNTS)
    assert manifest["refused"] is None
    assert {word: manifest[word] for word in ("listed", "embedded", "dead", "unchanged")} == {
        "listed": 10,
        "embedded": 7,
        "dead": 2,
        "unchanged": 1,
    }
    assert manifest["dead_by_code"] == {"not_found": 2}
    assert manifest["planned"] == {"new": 8, "changed": 0, "stale": 0, "retry": 1, "forced": 0}
    assert manifest["audio_hours"] == 1.0
    assert {output["path"] for output in manifest["outputs"]} == {Path(file.uri).name for file in files}
    assert runs.manifest_of(run.directory) == manifest
    assert json.loads(Path(run.directory, runs.MANIFEST_FILE).read_text()) == manifest


def test_the_manifest_holds_all_that_is_known_of_the_run(run, files):
    manifest = commit(run, files, COUNTS)
    for field in ("run_id", "attempt_id", "started_at", "model_version", "pipeline_version", "settings"):
        assert manifest[field] == getattr(run, field)
    assert manifest["finished_at"] > run.started_at


@given(
    word=st.sampled_from(["listed", "embedded", "dead", "unchanged"]),
    off=st.integers(-2, 2).filter(bool),
)
def test_a_count_that_is_off_is_never_committed(word, off, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("off"))
    run = RunInfo("r", "a", folder, "2026", "m", "p", {}, max_failure_ratio=1.0, clip_formats=("parquet",))
    written = [
        WrittenFile("clips", "parquet", f"{run.directory}/c", 7, 1),
        WrittenFile("dead_letters", "jsonl", f"{run.directory}/d", 2, 1),
        WrittenFile("index", "parquet", f"{run.directory}/i", 9, 1),
    ]
    with pytest.raises(errors.CommitError, match="does not add up and is not committed"):
        commit(run, written, {**COUNTS, word: COUNTS[word] + off})
    assert runs.manifest_of(run.directory) is None


@pytest.mark.parametrize("place", range(5))
def test_a_file_that_is_lost_or_written_twice_is_never_committed(run, files, place):
    for changed in (files[:place] + files[place + 1 :], [*files, files[place]]):
        with pytest.raises(errors.CommitError, match=f"{files[place].kind} .*rows, not"):
            commit(run, changed, COUNTS)
    assert not Path(run.directory, runs.SUCCESS_FILE).exists()


def test_a_deleted_clip_must_have_its_line_in_the_index(run, files):
    counts = {**COUNTS, "deleted": 1}
    with pytest.raises(errors.CommitError, match=r"index \(parquet\): 9 rows, not 10"):
        commit(run, files, counts)
    more = write(run, "index-more", "index", "parquet", 1)
    assert commit(run, [*files, more], counts)["deleted"] == 1


def test_a_run_of_unchanged_clips_needs_no_files(run):
    manifest = commit(run, [], {"listed": 5, "unchanged": 5})
    assert (manifest["refused"], manifest["outputs"]) == (None, [])


@pytest.mark.parametrize(
    ("listed", "dead", "ratio", "refused"),
    [
        (0, 0, 1.0, True),
        (10, 0, 0.0, False),
        (10, 1, 0.0, True),
        (10, 5, 0.5, False),
        (10, 6, 0.5, True),
        (10, 10, 1.0, False),
        (3, 1, 0.1, True),
    ],
)
def test_the_gate_refuses_too_many_dead_and_empty_inputs(listed, dead, ratio, refused):
    assert (refusal(listed, dead, ratio) is not None) == refused


def test_the_gate_says_why():
    assert refusal(10, 6, 0.5) == "6 of 10 clips are dead, more than --max_failure_ratio=0.5 allows"
    assert refusal(0, 0, 0.5) == "no clip at all: the inputs match nothing"


def test_a_refused_run_keeps_its_letters_and_does_not_exist_for_readers(run, files):
    strict = dataclasses.replace(run, max_failure_ratio=0.1)
    manifest = commit(strict, files, COUNTS)
    assert "--max_failure_ratio=0.1" in manifest["refused"]
    assert runs.manifest_of(run.directory) is None
    assert names(run) == {Path(file.uri).name for file in files} | {runs.MANIFEST_FILE}


def test_committing_twice_in_one_execution_changes_nothing(run, files):
    first = commit(run, files, COUNTS)
    assert commit(run, files, COUNTS) == first
    assert runs.manifest_of(run.directory) == first


def test_the_second_execution_of_a_run_id_loses_and_says_so(run, files):
    first = commit(run, files, COUNTS)
    before = names(run)
    with pytest.raises(errors.CommitError, match=r"run_id r1 was committed by another execution.*--run_id"):
        commit(dataclasses.replace(run, attempt_id="second"), files, COUNTS)
    assert runs.manifest_of(run.directory) == first
    assert names(run) == before


@pytest.mark.parametrize("max_failure_ratio", [0.5, 0.0])
def test_an_execution_that_comes_second_takes_its_files_along(run, files, max_failure_ratio):
    first = commit(run, files, COUNTS)
    before = names(run)
    second = dataclasses.replace(run, attempt_id="second", max_failure_ratio=max_failure_ratio)  # 0: it is refused, too
    own = [write(run, f"{file.kind}-of-the-second", file.kind, file.file_format, file.num_rows) for file in files]
    with pytest.raises(errors.CommitError, match="committed by another execution"):
        commit(second, own, COUNTS)
    assert names(run) == before
    assert json.loads(Path(run.directory, runs.MANIFEST_FILE).read_text()) == first


def test_of_many_executions_at_once_exactly_one_commits(run, files):
    def attempt(number: int) -> bool:
        try:
            commit(dataclasses.replace(run, attempt_id=str(number)), files, COUNTS)
        except errors.CommitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert runs.manifest_of(run.directory)["attempt_id"] == str(won.index(True))


def test_files_that_the_manifest_does_not_name_are_deleted(run, files):
    write(run, "clips-of-a-bundle-that-ran-twice", "clips", "parquet", 4)
    commit(run, files, COUNTS)
    assert names(run) == {Path(file.uri).name for file in files} | {runs.SUCCESS_FILE, runs.MANIFEST_FILE}


def test_a_repeated_bundles_files_do_not_outlive_a_repeated_commit(run, files):
    commit(run, files, COUNTS)
    write(run, "clips-late", "clips", "parquet", 4)
    commit(run, files, COUNTS)
    assert "clips-late" not in names(run)


def test_an_odd_name_in_the_settings_does_not_break_the_manifest(run, files):
    odd = b"/data/\xff".decode("utf-8", "surrogateescape")
    settings = {"input": [odd, "/ü ☃"]}
    commit(dataclasses.replace(run, settings=settings), files, COUNTS)
    assert runs.manifest_of(run.directory)["settings"] == settings


def test_the_words_of_the_plan_add_up_to_what_was_listed(run, files):
    planned: Tally = commit(run, files, COUNTS)["planned"]
    assert sum(planned.values()) + COUNTS["unchanged"] == COUNTS["listed"]
