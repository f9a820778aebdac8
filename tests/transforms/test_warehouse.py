"""What BigQuery is told: names, columns and SQL; and what it must never be given."""

import numpy as np
import pytest

from transforms import errors, schemas, warehouse
from transforms.schemas import CLIP_FIELDS, PATCH_FIELDS, Field

FEW = (Field("clip_id", "string", "id"), Field("processed_at", "timestamp", "when"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("my-project:audio.clips", ("my-project", "audio", "clips")),
        ("my-project.audio.clips-2026", ("my-project", "audio", "clips-2026")),
        ("example.com:old:audio.clips", ("example.com:old", "audio", "clips")),
    ],
)
def test_a_table_is_named_by_project_dataset_and_table(text, parts):
    assert warehouse.split(text) == parts


@pytest.mark.parametrize("text", ["", "clips", "audio.clips", "p:a.b`; DROP TABLE x", "p:a.b c", "P:a.b\n"])
def test_what_names_no_table_is_refused_with_an_example(text):
    with pytest.raises(errors.UsageError, match=r"PROJECT:DATASET\.TABLE, as in"):
        warehouse.split(text)


def test_every_execution_has_tables_of_its_own():
    first = warehouse.table("patches", "p:d.t", "a1", PATCH_FIELDS)
    assert (first.name, first.staging) == ("p.d.t_patches", "p.d.t_patches_of_a1")
    assert first.reference == "p:d.t_patches_of_a1"
    assert first.staging != warehouse.table("patches", "p:d.t", "a2", PATCH_FIELDS).staging
    assert first.view is None
    assert warehouse.table("clips", "p:d.t", "a1", CLIP_FIELDS).view == "p.d.t_top_classes"


@pytest.mark.parametrize("fields", [CLIP_FIELDS, PATCH_FIELDS])
def test_columns_are_those_of_the_one_list(fields):
    columns = schemas.bigquery_schema(fields)
    assert [(column["name"], column["description"]) for column in columns] == [
        (field.name, field.description) for field in fields
    ]
    for field, column in zip(fields, columns, strict=True):
        if field.kind in ("vector", "classes"):
            assert column["mode"] == "REPEATED"
        else:
            assert column["mode"] == ("NULLABLE" if field.optional else "REQUIRED")


def test_kinds_have_their_type():
    types = {column["name"]: column["type"] for column in schemas.bigquery_schema(schemas.clip_fields(["label"]))}
    assert {types[name] for name in ("embedding", "scores", "duration_s")} == {"FLOAT"}
    assert (types["processed_at"], types["top_classes"], types["label"]) == ("TIMESTAMP", "RECORD", "STRING")
    (best,) = (column for column in schemas.bigquery_schema(CLIP_FIELDS) if column["name"] == "top_classes")
    assert [part["name"] for part in best["fields"]] == ["index", "mid", "name", "score"]


@pytest.mark.parametrize("name", ["dog breed", "grün", "1st", "_PARTITIONTIME", "a-b", "x" * 301, ""])
def test_a_column_that_bigquery_cannot_have_is_refused_with_the_cure(name):
    with pytest.raises(errors.UsageError, match=r"no column.*--metadata_columns"):
        warehouse.check_columns(schemas.clip_fields([name]))


def test_columns_that_differ_in_case_alone_are_refused():
    warehouse.check_columns(schemas.clip_fields(["label", "Label_2"]))
    with pytest.raises(errors.UsageError, match="one column 'URI'"):
        warehouse.check_columns(schemas.clip_fields(["URI"]))


def test_a_row_is_given_with_all_its_numbers(make_rows):
    fields = schemas.clip_fields(["label"])
    for row in make_rows(fields, 4):
        found = warehouse.checked({**row, "listed_by": "*.wav"}, fields)
        assert list(found) == [field.name for field in fields]
        for field in fields:
            if field.kind == "vector":
                assert isinstance(found[field.name], list)
                np.testing.assert_array_equal(np.float32(found[field.name]), row[field.name])
            else:
                assert found[field.name] == row[field.name]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("embedding", np.zeros(1023, np.float32), r"embedding has the shape \[1023\], not \[1024\]"),
        ("embedding", None, "embedding has the shape"),
        ("scores", np.full(521, np.nan, np.float32), "scores has numbers that are not finite"),
        ("scores_max", np.full(521, np.inf, np.float32), "scores_max has numbers that are not finite"),
        ("duration_s", float("nan"), "duration_s is not finite"),
        ("num_patches", None, "num_patches is missing"),
        ("top_classes", None, "top_classes is missing"),
        ("top_classes", [{"index": 0, "mid": "", "name": "", "score": float("nan")}], "top_classes is not finite"),
    ],
)
def test_a_row_that_breaks_a_promise_stops_the_run_and_names_the_clip(make_rows, column, value, words):
    row = {**make_rows(CLIP_FIELDS, 1)[0], "clip_id": "c1", "uri": "gs://b/a.wav"}
    with pytest.raises(errors.RunError, match=rf"clip c1 \(gs://b/a\.wav\) cannot be stored: {words}"):
        warehouse.checked({**row, column: value}, CLIP_FIELDS)


def test_a_merge_names_every_column_and_spares_newer_rows():
    assert warehouse.merge_sql(warehouse.table("clips", "p:d.t", "a1", FEW)) == (
        "MERGE `p.d.t` AS t USING `p.d.t_of_a1` AS s ON t.clip_id = s.clip_id\n"
        "WHEN MATCHED AND s.processed_at > t.processed_at THEN UPDATE SET "
        "`clip_id` = s.`clip_id`, `processed_at` = s.`processed_at`\n"
        "WHEN NOT MATCHED THEN INSERT (`clip_id`, `processed_at`) VALUES (s.`clip_id`, s.`processed_at`)"
    )


def test_patches_are_replaced_in_one_transaction():
    steps = warehouse.replace_sql(warehouse.table("patches", "p:d.t", "a1", FEW)).split(";\n")
    assert [step.split()[0] for step in steps] == ["BEGIN", "DELETE", "INSERT", "COMMIT"]
    assert steps[-1] == "COMMIT TRANSACTION;"


def test_only_rows_older_than_the_run_are_deleted():
    sql = warehouse.delete_sql(warehouse.table("clips", "p:d.t", "a1", FEW))
    assert sql == "DELETE FROM `p.d.t` WHERE clip_id IN UNNEST(@clip_ids) AND processed_at <= @started_at"
