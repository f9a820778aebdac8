"""Settings: strict flags, the config file, and what each may be."""

import argparse
from pathlib import Path

import pytest

from pipeline import flags
from pipeline.__main__ import parsers
from pipeline.options import EmbedOptions
from transforms import errors

BASE = ["--input", "a.wav", "--output", "out"]


def parse(*words: str) -> EmbedOptions:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_embed_arguments(parser)
    return flags.embed_options(vars(parser.parse_args([*BASE, *words])))


def test_defaults_are_those_of_the_class() -> None:
    assert parse() == EmbedOptions(input=("a.wav",), output="out")


def test_inputs_repeat_and_sinks_may_be_a_list() -> None:
    parsed = parse("--input", "b/**", "--sink=parquet,tfrecord", "--sink=parquet")
    assert parsed.input == ("a.wav", "b/**")
    assert parsed.sink == ("parquet", "tfrecord")


@pytest.mark.parametrize(("flag", "value"), [("--force", True), ("--force=true", True), ("--force=false", False)])
def test_switches_take_the_strings_of_template_services(flag: str, value: bool) -> None:
    assert parse(flag).force is value


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--max_failure_ratio=2", "between 0 and 1"),
        ("--top_classes=999", "between 0 and 521"),
        ("--run_id=a/b", "letters, digits"),
        ("--run_id=..", "letters, digits"),
        ("--sink=csv", "choose from parquet, tfrecord, bigquery"),
        ("--sink=bigquery", "go together"),
        ("--bigquery_table=p:d.t", "go together"),
        ("--sink=bigquery --bigquery_table=d.t", "PROJECT:DATASET.TABLE, as in"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_bound(flag: str, words: str) -> None:
    with pytest.raises(errors.UsageError, match=words):
        parse(*flag.split())


def test_flags_override_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("top_classes: 7\nsink: [tfrecord]\nrows: both\nforce: true\nmax_duration_s: 60\n")
    parsed = parse(f"--config={config}", "--top_classes=3")
    assert (parsed.top_classes, parsed.sink, parsed.rows, parsed.force) == (3, ("tfrecord",), "both", True)
    assert parsed.max_duration_s == 60.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_duration: 3", "did you mean max_duration_s"),
        ("rows: all", "not one of clip, patch, both"),
        ("top_classes: many", "not a int"),
        ("force: 3", "not a bool"),
        ("- 3", "setting: value"),
        ("a: [", "run.yaml"),
    ],
)
def test_a_wrong_config_file_is_refused_with_its_name(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(errors.UsageError, match=words):
        parse(f"--config={config}")


@pytest.mark.slow
def test_flags_of_beam_pass_and_others_do_not() -> None:
    known = flags.flags_of(parsers()[1]["embed"])
    words = ["--runner", "FnApiRunner", "--direct_num_workers=2", "--experiments=a", "--project=p"]
    assert flags.beam_flags(words, known) == words
    with pytest.raises(errors.UsageError, match=r"unknown flag --top_clases; did you mean --top_classes\?"):
        flags.beam_flags(["--top_clases=3"], known)
    with pytest.raises(errors.UsageError, match=r"did you mean --direct_num_workers\?"):
        flags.beam_flags(["--direct_num_worker=3"], known)
    with pytest.raises(errors.UsageError, match="stray word"):
        flags.beam_flags(["clip.wav"], known)


@pytest.mark.slow
def test_flags_that_only_a_job_server_knows_pass_and_misspelt_ones_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    known = flags.flags_of(parsers()[1]["embed"])
    words = ["--runner=apache_beam.runners.FlinkRunner", "--execution_mode_for_batch=BATCH_FORCED", "--object_reuse"]
    assert flags.beam_flags(words, known) == words
    told = "For the job server, which ignores what it does not know: --execution_mode_for_batch=BATCH_FORCED --object"
    assert capsys.readouterr().err.startswith(told)
    for word in ("--object_reuse", "--top_clases=3", "--parralelism=2", "clip.wav"):
        runner = "FnApiRunner" if word == "--object_reuse" else "FlinkRunner"
        with pytest.raises(errors.UsageError, match=r"unknown flag|stray word"):
            flags.beam_flags([f"--runner={runner}", word], known)


@pytest.mark.slow
def test_switches_of_beam_take_the_strings_of_template_services() -> None:
    given = ["--no_use_public_ips=true", "--update=false", "--streaming=False", "--labels=a=true"]
    assert flags.beam_flags(given, []) == ["--no_use_public_ips", "--labels=a=true"]
    assert flags.beam_flags(["--use_public_ips=false"], []) == ["--no_use_public_ips"]
    assert flags.beam_flags(["--no_use_public_ips=false"], []) == ["--use_public_ips"]
    with pytest.raises(errors.UsageError, match="--update: 'perhaps' is neither true nor false"):
        flags.beam_flags(["--update=perhaps"], [])
    with pytest.raises(errors.UsageError, match="--num_workers: invalid int value: 'few'"):
        flags.beam_flags(["--num_workers=few"], [])


def test_only_the_launcher_of_a_template_leaves_values_empty() -> None:
    argv = ["embed", "--input=a", "--model=", "--labels={}"]
    assert flags.without_unset(argv) == argv
    assert flags.without_unset([*argv, "--template_location=gs://b/job"]) == [
        "embed", "--input=a", "--labels={}", "--template_location=gs://b/job",
    ]  # fmt: skip
