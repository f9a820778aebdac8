"""What must be the same, whatever engine did the work."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from results import Result

COUNTS = (
    "listed", "embedded", "dead", "unchanged", "dead_by_code", "planned", "deleted", "unchanged_dead", "truncated",
    "num_patches", "refused", "model_version", "pipeline_version",
)  # fmt: skip
TOLERANCE = 1e-6  # of scores; embeddings are compared on the scale of the largest


def assert_agree(result: Result, expected: Result) -> None:
    """The rows, letters and counts of two runs over the same clips are equal, and each is committed and whole."""
    for each in (result, expected):
        assert each.is_committed
        assert_whole(each)
    assert {word: result.manifest[word] for word in COUNTS} == {word: expected.manifest[word] for word in COUNTS}
    np.testing.assert_allclose(result.manifest["audio_hours"], expected.manifest["audio_hours"], rtol=1e-9)
    assert sorted(_letters(result)) == sorted(_letters(expected))
    mine, other = result.table(), expected.table()
    different = {"embedding", "scores", "scores_max", "top_classes", "run_id", "processed_at"}
    same = [name for name in other.column_names if name not in different]
    assert mine.select(same).equals(other.select(same))
    _assert_close(result, expected, "clips", ("embedding", "scores", "scores_max"))
    if any(output["kind"] == "patches" for output in expected.manifest["outputs"]):
        keys = ["clip_id", "patch_index", "start_s", "valid_fraction"]
        assert result.table("patches").select(keys).equals(expected.table("patches").select(keys))
        _assert_close(result, expected, "patches", ("embedding", "scores"))


def assert_whole(result: Result) -> None:
    """Every clip is there once, in the files that the manifest names, and no other file is there."""
    manifest = result.manifest
    ids = result.table()["clip_id"].to_pylist()
    assert len(ids) == len(set(ids)) == manifest["embedded"]
    assert len(result.letters) == manifest["dead"]
    assert manifest["listed"] == manifest["embedded"] + manifest["dead"] + manifest["unchanged"]
    named = {output["path"] for output in manifest["outputs"]} | {"manifest.json", "_SUCCESS"}
    assert {path.name for path in result.directory.iterdir()} == named


def _assert_close(result: Result, expected: Result, kind: str, columns: Sequence[str]) -> None:
    for column in columns:
        mine, other = result.vectors(column, kind), expected.vectors(column, kind)
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(mine, other, rtol=0, atol=TOLERANCE * scale)


def _letters(result: Result) -> Iterator[tuple[Any, ...]]:
    for letter in result.letters:
        yield tuple((key, letter[key]) for key in sorted(letter) if key not in ("run_id", "occurred_at"))
