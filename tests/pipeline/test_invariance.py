"""The same rows, whatever the batch, the segmenting, the mode of the runner and the number of workers."""

from pathlib import Path

import numpy as np
import pytest
import sounds
from results import Embed, Result

from pipeline.encoder import YamnetEncoder

pytestmark = pytest.mark.slow

MODES = {
    "in_memory": [],
    "multi_threading": ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    "multi_processing": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}


def assert_same_rows(result: Result, expected: Result) -> None:
    same = ("clip_id", "uri", "source_version", "num_patches", "duration_s", "truncated", "bandwidth_hz")
    assert result.table().select(same).equals(expected.table().select(same))
    for column in ("embedding", "scores", "scores_max"):
        scale = np.abs(expected.vectors(column)).max()
        assert np.abs(result.vectors(column) - expected.vectors(column)).max() <= 1e-6 * max(1, scale)


@pytest.fixture
def expected(few_files: Path, embed: Embed, tmp_path: Path) -> Result:
    return embed([f"{few_files}/*"], output=tmp_path / "expected")


@pytest.mark.parametrize("batch_segments", [1, 16])
@pytest.mark.parametrize("segment_patches", [8, 64])
def test_batches_and_segments_do_not_change_rows(
    few_files: Path, embed: Embed, expected: Result, batch_segments: int, segment_patches: int
) -> None:
    result = embed([f"{few_files}/*"], batch_segments=batch_segments, segment_patches=segment_patches)
    assert_same_rows(result, expected)


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_workers_do_not_change_rows(few_files: Path, embed: Embed, expected: Result, mode: str) -> None:
    assert_same_rows(embed([f"{few_files}/*"], beam=MODES[mode]), expected)


def test_bundles_that_run_three_times_leave_each_clip_once(few_files: Path, embed: Embed, expected: Result) -> None:
    again = embed([f"{few_files}/*"], beam=["--direct_runner_bundle_repeat=2"], sink=("parquet", "tfrecord"))
    assert again.manifest["embedded"] == 12
    assert_same_rows(again, expected)


def test_shards_hold_each_clip_once(few_files: Path, embed: Embed, expected: Result) -> None:
    sharded = embed([f"{few_files}/*"], num_shards=3)
    clips = [output for output in sharded.manifest["outputs"] if output["kind"] == "clips"]
    assert 1 < len(clips) <= 3
    assert_same_rows(sharded, expected)


def test_a_long_recording_equals_the_computation_of_the_whole(
    tmp_path: Path, embed: Embed, model_directory: str
) -> None:
    waveform = sounds.noise(200.0, seed=1) * np.linspace(0, 1, 3_200_000, dtype=np.float32)
    (tmp_path / "long.wav").write_bytes(sounds.sound_file(waveform, subtype="FLOAT"))
    result = embed([f"{tmp_path}/long.wav"], rows="both")
    whole = YamnetEncoder(model_directory).embed(waveform)
    assert result.table()["num_patches"].to_pylist() == [len(whole.embeddings)] == [416]
    np.testing.assert_allclose(result.vectors("scores")[0], whole.pooled_scores, atol=1e-6)
    np.testing.assert_allclose(result.vectors("scores", "patches"), whole.scores, atol=2e-6)
    patches = result.table("patches")
    assert patches["patch_index"].to_pylist() == list(range(416))
    np.testing.assert_allclose(patches["start_s"].to_numpy(), whole.start_s)


def test_rows_of_patches_and_clips_agree(few_files: Path, embed: Embed) -> None:
    result = embed([f"{few_files}/0*"], rows="both")
    patches, clips = result.table("patches"), result.table().sort_by("clip_id")
    counts = patches.group_by("clip_id").aggregate([("patch_index", "count")]).sort_by("clip_id")
    assert counts["patch_index_count"].to_pylist() == clips["num_patches"].to_pylist()
    fractions = patches["valid_fraction"].to_numpy()
    assert fractions.max() == 1
    assert 0 < fractions.min() < 1


def test_only_patch_rows_are_written_on_request(few_files: Path, embed: Embed) -> None:
    result = embed([f"{few_files}/00*"], rows="patch")
    assert {output["kind"] for output in result.manifest["outputs"]} == {"patches", "index"}
    assert result.table("patches").num_rows == 2
