"""The rows of clips and patches."""

import dataclasses
import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import schemas
from transforms.records import Clip, ClipEmbedding, EmbeddedSegment
from transforms.schemas import CLIP_FIELDS, PATCH_FIELDS
from transforms.score import Provenance, clip_row, patch_rows, top
from transforms.yamnet import Classes

pytestmark = pytest.mark.slow

CLASSES = Classes(tuple(f"Class {n}" for n in range(521)), tuple(f"/m/{n}" for n in range(521)))
PROVENANCE = Provenance("model", "pipeline", "run")
CLIP = Clip.of("/a.wav", "v1", 7)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)


@pytest.fixture
def clip(facts) -> ClipEmbedding:
    return ClipEmbedding(CLIP, facts, "sha", 4, numbers(1024), numbers(521), numbers(521) + 1)


def segment(facts, first_patch: int = 0, num_patches: int = 4) -> EmbeddedSegment:
    return EmbeddedSegment(CLIP, 0, first_patch, "sha", facts, numbers(num_patches, 1024), numbers(num_patches, 521))


def test_a_clip_row_has_the_columns_of_the_schema(clip):
    row = clip_row(clip, CLASSES, PROVENANCE)
    assert set(row) == {field.name for field in CLIP_FIELDS} | {"listed_by"}  # which goes to the index alone
    batch = schemas.record_batch([row], CLIP_FIELDS, schemas.arrow_schema(CLIP_FIELDS))
    batch.validate(full=True)


def test_a_clip_row_says_what_is_known_of_the_clip(clip, facts):
    row = clip_row(clip, CLASSES, PROVENANCE)
    assert (row["clip_id"], row["uri"], row["source_version"]) == (CLIP.clip_id, "/a.wav", "v1")
    assert (row["duration_s"], row["sample_rate_hz"], row["num_channels"]) == (2.0, 44_100, 2)
    assert (row["peak"], row["rms_db"], row["bandwidth_hz"]) == (0.5, -9.0, 4000.0)
    assert (row["model_version"], row["pipeline_version"], row["run_id"]) == ("model", "pipeline", "run")
    assert row["processed_at"].tzinfo == datetime.timezone.utc
    np.testing.assert_array_equal(row["embedding"], clip.embedding)
    np.testing.assert_array_equal(row["scores_max"], clip.scores_max)


@given(seed=st.integers(0, 10**6), levels=st.integers(1, 1000), count=st.integers(0, 521))
def test_the_top_classes_are_the_highest_scores_best_first(seed, levels, count):
    scores = (np.random.default_rng(seed).integers(0, levels, 521) / levels).astype(np.float32)
    found = top(scores, CLASSES, count)
    assert [item["score"] for item in found] == sorted(scores.tolist(), reverse=True)[:count]
    for item in found:
        assert item == {
            "index": item["index"],
            "mid": CLASSES.mids[item["index"]],
            "name": CLASSES.names[item["index"]],
            "score": float(scores[item["index"]]),
        }
    assert len({item["index"] for item in found}) == count


def test_columns_of_the_list_are_carried_to_the_row(clip):
    columns = ("site", "recorder")
    listed = dataclasses.replace(clip, clip=dataclasses.replace(CLIP, metadata=("north", None)))
    row = clip_row(listed, CLASSES, Provenance("model", "pipeline", "run", columns))
    assert (row["site"], row["recorder"]) == ("north", None)
    fields = schemas.clip_fields(columns)
    schemas.record_batch([row], fields, schemas.arrow_schema(fields)).validate(full=True)


def test_equal_scores_are_ranked_by_index():
    assert [item["index"] for item in top(np.zeros(521, np.float32), CLASSES, 3)] == [0, 1, 2]


def test_a_row_names_as_many_classes_as_asked_for(clip):
    assert len(clip_row(clip, CLASSES, PROVENANCE, top_classes=7)["top_classes"]) == 7


def test_patch_rows_have_the_columns_of_the_schema(facts):
    rows = patch_rows(segment(facts), PROVENANCE)
    assert [list(row) for row in rows] == [[field.name for field in PATCH_FIELDS]] * 4
    batch = schemas.record_batch(rows, PATCH_FIELDS, schemas.arrow_schema(PATCH_FIELDS))
    assert isinstance(batch, pa.RecordBatch)


def test_patches_start_every_forty_eight_hundredths_of_a_second(facts):
    rows = patch_rows(segment(None, first_patch=64), PROVENANCE)
    assert [row["patch_index"] for row in rows] == [64, 65, 66, 67]
    assert [row["start_s"] for row in rows] == pytest.approx([30.72, 31.2, 31.68, 32.16])


def test_only_the_last_patch_of_a_clip_is_less_than_valid(facts):
    fractions = [row["valid_fraction"] for row in patch_rows(segment(facts), PROVENANCE)]  # 32 000 samples
    assert fractions == [1, 1, 1, pytest.approx((32_000 - 3 * 7680) / 15_600)]
    assert [row["valid_fraction"] for row in patch_rows(segment(None), PROVENANCE)] == [1] * 4


def test_a_dead_segment_has_no_patch_rows():
    assert patch_rows(segment(None, num_patches=0), PROVENANCE) == []
