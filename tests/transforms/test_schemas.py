"""The columns, in Arrow and as tf.Example."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from transforms import schemas
from transforms.schemas import CLIP_FIELDS, DEAD_LETTER_FIELDS, INDEX_FIELDS, PATCH_FIELDS, Field

TABLES = {"clips": CLIP_FIELDS, "patches": PATCH_FIELDS, "dead_letters": DEAD_LETTER_FIELDS, "index": INDEX_FIELDS}


def batch_of(rows: list, fields: Sequence[Field]) -> pa.RecordBatch:
    return schemas.record_batch(rows, fields, schemas.arrow_schema(fields))


@pytest.fixture(params=TABLES)
def fields(request: pytest.FixtureRequest) -> Sequence[Field]:
    return TABLES[request.param]


def test_columns_have_names_of_their_own_and_a_description(fields):
    names = [field.name for field in fields]
    assert len(set(names)) == len(names)
    assert names[0] == "clip_id"
    for field in fields:
        assert field.name.islower()
        assert field.description
        assert (field.size > 0) == (field.kind == "vector")


def test_a_column_means_the_same_kind_in_every_table():
    kinds: dict[str, str] = {}
    for fields in TABLES.values():
        for field in fields:
            assert kinds.setdefault(field.name, field.kind) == field.kind


def test_arrow_holds_every_value_as_it_was(fields, make_rows):
    rows = make_rows(fields, 5)
    batch = batch_of(rows, fields)
    batch.validate(full=True)
    for field in fields:
        for row, found in zip(rows, batch.column(field.name).to_pylist(), strict=True):
            if field.kind == "classes":
                assert [item["name"] for item in found] == [item["name"] for item in row[field.name]]
                assert [item["score"] for item in found] == [float(np.float32(i["score"])) for i in row[field.name]]
            elif field.kind == "vector":
                np.testing.assert_array_equal(np.array(found, np.float32), row[field.name])
            else:
                assert found == row[field.name]


def test_no_rows_make_an_empty_batch_of_the_same_schema(fields):
    batch = batch_of([], fields)
    assert (batch.num_rows, batch.schema) == (0, schemas.arrow_schema(fields))


def test_only_optional_columns_may_be_null(fields):
    for field, column in zip(fields, schemas.arrow_schema(fields), strict=True):
        assert column.nullable == field.optional
        assert column.metadata == {b"description": field.description.encode()}


def test_vectors_are_float32_of_a_fixed_size():
    schema = schemas.arrow_schema(CLIP_FIELDS)
    assert schema.field("embedding").type == pa.list_(pa.float32(), 1024)
    assert schema.field("scores").type == schema.field("scores_max").type == pa.list_(pa.float32(), 521)


def test_a_vector_of_the_wrong_size_is_refused(make_rows):
    (row,) = make_rows(CLIP_FIELDS, 1)
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        batch_of([{**row, "embedding": np.zeros(1023, np.float32)}], CLIP_FIELDS)


def test_class_names_travel_in_the_schema():
    names = ["Speech", "Sound of ü, “quoted”"]
    metadata = schemas.arrow_schema(CLIP_FIELDS, names).metadata
    assert json.loads(metadata[b"class_names"]) == names


def test_example_lists_hold_every_value(make_rows):
    rows = make_rows(CLIP_FIELDS, 4)
    batch = schemas.example_batch(rows, CLIP_FIELDS)
    for number, row in enumerate(rows):
        found = {name: column[number].as_py() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        assert found["uri"] == [row["uri"].encode()]
        assert found["source_version"] == ([] if number % 2 else [row["source_version"].encode()])
        assert found["sample_rate_hz"] == [row["sample_rate_hz"]]
        assert found["duration_s"] == [np.float32(row["duration_s"])]
        assert found["truncated"] == [int(row["truncated"])]
        assert found["processed_at"] == [round(row["processed_at"].timestamp() * 1e6)]
        assert found["top_classes/index"] == [item["index"] for item in row["top_classes"]]
        assert found["top_classes/mid"] == [item["mid"].encode() for item in row["top_classes"]]
        np.testing.assert_array_equal(np.array(found["embedding"], np.float32), row["embedding"])
        np.testing.assert_array_equal(np.array(found["scores"], np.float32), row["scores"])


def test_a_time_keeps_its_microseconds_in_an_example(make_rows):
    (row,) = make_rows(CLIP_FIELDS, 1)
    microseconds = schemas.example_batch([row], CLIP_FIELDS).column("processed_at")[0].as_py()
    assert microseconds[0] % 1_000_000 == row["processed_at"].microsecond


def test_no_clip_has_classes_and_the_columns_are_still_there(make_rows):
    rows = [{**row, "top_classes": []} for row in make_rows(CLIP_FIELDS, 2)]
    batch = schemas.example_batch(rows, CLIP_FIELDS)
    assert batch.column("top_classes/name").to_pylist() == [[], []]
    assert batch_of(rows, CLIP_FIELDS).column("top_classes").to_pylist() == [[], []]
