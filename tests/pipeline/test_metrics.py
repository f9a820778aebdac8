"""The runner's metrics add up, agree with the manifest, and are those of the table."""

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import broken
import metrics
import numpy as np
import pytest
import sounds
from results import Result

from pipeline import run
from pipeline.options import EmbedOptions
from transforms import errors
from transforms.account import TallyClips
from transforms.metric_names import BEAMS, DEAD_PREFIX, METRICS, RUN_INFERENCE
from transforms.records import Clip, DeadLetter

pytestmark = pytest.mark.slow

STAGES = ("read_clips", "decode_clips", "pool_clips", "embed_segments", "commit_run")
PAIRS = ("list_clips", "score_clips", "write_rows")  # in = out: nothing can fail there alone
RARE = {"write_bigquery_in", "write_bigquery_out"}  # see tests/cloud/test_bigquery.py


@dataclass(frozen=True)
class Observed:
    """A run, and what the runner counted."""

    result: Result
    counted: metrics.Figures
    beams: metrics.Figures


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 clips, 2 recordings of several segments, one that dies after its first ones, and 20 broken files."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(6):
        content = sounds.sound_file(sounds.noise(0.5 + number / 4, 22_050, seed=number), 22_050)
        (folder / f"clip {number}.wav").write_bytes(content)
    for number in range(2):
        stereo = sounds.tones(2, 6.0, 44_100)
        (folder / f"recording {number}.flac").write_bytes(sounds.sound_file(stereo, 44_100, "FLAC"))
    silence = np.zeros((31 * 44_100, 8), np.float32)  # of many channels, so that it is decoded 6 s at a time
    (folder / "too long, and many segments.flac").write_bytes(sounds.sound_file(silence, 44_100, "FLAC"))
    for name, (content, _, _) in broken.FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def observe(tmp_path_factory: pytest.TempPathFactory, model_directory: str):
    """Runs the command on inputs and tells what the runner counted."""
    output = tmp_path_factory.mktemp("dataset")

    def call(*inputs: str, **settings: object) -> Observed:
        before = set(output.glob("run=*"))
        options = EmbedOptions(
            input=inputs,
            output=str(output),
            model=model_directory,
            max_duration_s=broken.MAX_DURATION_S,
            max_bytes=broken.MAX_BYTES,
            max_failure_ratio=0.9,
            **settings,
        )
        with metrics.kept_results() as results:
            code = run.embed(options)
        (directory,) = set(output.glob("run=*")) - before
        (kept,) = results
        return Observed(Result(code, directory), metrics.figures(kept), metrics.figures(kept, RUN_INFERENCE))

    return call


@pytest.fixture(scope="module")
def first(observe, clips: Path) -> Observed:
    """The first run: every clip is new, and one is named twice."""
    settings = {"sink": ("parquet", "tfrecord"), "rows": "both", "segment_patches": 8}
    return observe(f"{clips}/*", f"{clips}/clip 0.wav", **settings)


@pytest.fixture(scope="module")
def second(observe, clips: Path, first: Observed) -> Observed:
    """The next one: a clip is new, and one is gone."""
    shutil.copy(clips / "clip 1.wav", clips / "new.wav")
    (clips / "clip 2.wav").unlink()
    settings = {"sink": ("parquet", "tfrecord"), "rows": "both", "segment_patches": 8, "num_shards": 2}
    return observe(f"{clips}/*", f"{clips}/clip 0.wav", **settings)


@pytest.mark.parametrize("number", [0, 1])
def test_what_enters_a_stage_leaves_it_or_fails(first: Observed, second: Observed, number: int) -> None:
    counted = (first, second)[number].counted
    for stage in STAGES:
        assert counted[f"{stage}_in"] == counted.get(f"{stage}_out", 0) + counted.get(f"{stage}_failed", 0), stage
    for stage in PAIRS:
        assert counted[f"{stage}_in"] == counted[f"{stage}_out"], stage
    left = ("plan_work_out", "plan_work_unchanged", "plan_work_repeated")
    assert counted["plan_work_in"] == sum(counted[name] for name in left)


@pytest.mark.parametrize("number", [0, 1])
def test_what_leaves_a_stage_enters_the_next(first: Observed, second: Observed, number: int) -> None:
    counted = (first, second)[number].counted
    way = ("list_clips", "plan_work", "read_clips", "decode_clips", "pool_clips", "score_clips")
    for before, after in itertools.pairwise(way):
        assert counted[f"{before}_out"] == counted[f"{after}_in"], after
    assert counted["decode_clips_segments"] == counted["embed_segments_in"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_metrics_agree_with_the_manifest(first: Observed, second: Observed, number: int) -> None:
    observed = (first, second)[number]
    counted, manifest = observed.counted, observed.result.manifest
    assert observed.result.code == run.DONE
    assert manifest["listed"] == counted["plan_work_in"] - counted["plan_work_repeated"]
    assert manifest["unchanged"] == counted["plan_work_unchanged"]
    assert manifest["deleted"] == counted["plan_work_deleted"]
    assert manifest["embedded"] == counted["score_clips_out"]
    failed = sum(counted.get(f"{stage}_failed", 0) for stage in ("read_clips", "decode_clips", "pool_clips"))
    assert manifest["dead"] == failed
    by_code = {name.removeprefix(DEAD_PREFIX): n for name, n in counted.items() if name.startswith(DEAD_PREFIX)}
    assert manifest["dead_by_code"] == by_code
    assert manifest["audio_hours"] == pytest.approx(counted["pool_clips_audio_milliseconds"] / 3.6e6, rel=1e-3)
    assert sum(output["rows"] for output in manifest["outputs"]) == counted["write_rows_out"]
    assert sum(output["bytes"] for output in manifest["outputs"]) == counted["publish_bytes"]
    assert len(manifest["outputs"]) == counted["write_rows_files"]


def test_the_first_run_counts_what_there_is(first: Observed) -> None:
    counted = first.counted
    expected = {
        "list_clips_in": 30, "plan_work_in": 30, "plan_work_repeated": 1, "plan_work_unchanged": 0, "read_clips_in": 29,
        "read_clips_failed": 1, "decode_clips_in": 28, "decode_clips_failed": 19, "decode_clips_out": 9,
        "pool_clips_failed": 1, "pool_clips_out": 8, "commit_run_out": 1,
    }  # fmt: skip
    assert {name: counted[name] for name in expected} == expected
    in_vain = counted["embed_segments_patches"] - first.result.manifest["num_patches"]
    assert in_vain in range(8, 61, 8), "of the recording that dies after its first segments"
    assert counted["batch_patches"].sum == counted["embed_segments_patches"]


def test_the_second_run_counts_what_is_unchanged_and_gone(second: Observed) -> None:
    expected = {"plan_work_out": 1, "plan_work_deleted": 1, "score_clips_out": 1}
    assert {name: second.counted[name] for name in expected} == expected


def test_every_metric_of_the_table_is_counted_and_no_other(first: Observed, second: Observed) -> None:
    """Codes of letters that these clips do not die of have a test of their own."""
    counted = {**first.counted, **second.counted}
    table = {metric.name for metric in METRICS}
    assert set(counted) <= table
    missing = {name for name in table - set(counted) if not name.startswith(DEAD_PREFIX)}
    assert missing == RARE | {"commit_run_failed"}
    assert set(first.beams) == {metric.name for metric in BEAMS} - {"failed_batches_counter"}
    for metric in METRICS:
        if metric.name in counted:
            assert isinstance(counted[metric.name], int) == (metric.kind == "counter"), metric.name


def test_a_refused_run_counts_as_failed(observe, tmp_path: Path) -> None:
    observed = observe(f"{tmp_path}/nothing/*")
    assert observed.result.code == run.REFUSED
    assert observed.counted["commit_run_failed"] == observed.counted["commit_run_in"] == 1
    assert "commit_run_out" not in observed.counted


def test_letters_of_every_code_are_counted() -> None:
    names = [metric.name for metric in METRICS if metric.name.startswith(DEAD_PREFIX)]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ClipError)]
    letters = [DeadLetter.of(Clip.of(f"/{kind.code}"), "DecodeClips", kind("why")) for kind in kinds]
    root = beam.Pipeline(runner="FnApiRunner")
    dead = root | beam.Create(letters)
    _ = ((), (dead,)) | TallyClips()
    counted = metrics.figures(root.run())
    assert counted == dict.fromkeys(names, 1)
