"""BigQuery as a sink and as an input: its tables hold what the files hold, night after night."""

import datetime
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import metrics
import numpy as np
import pytest
from bigquery_tables import Tables
from buckets import clip, newest_manifest, put

from pipeline import run
from pipeline.dataset import Dataset
from tests.servers.cloud import Cloud
from transforms import bigquery, errors, runs, schemas, staging, storage, warehouse

pytestmark = pytest.mark.slow

Embed = Callable[..., int]
FOLDERS = ("birds of spring", "grün/täglich", "50% #1", "plain")
BY_PATCH = [("clip_id", "ascending"), ("patch_index", "ascending")]
SQL = Path(__file__).parents[2] / "deploy" / "sql"


def records(dataset: str) -> list[Any]:
    """The parsed TFRecords of the newest run."""
    import tensorflow as tf

    newest = runs.committed(dataset)[-1]
    spec = schemas.example_spec(schemas.CLIP_FIELDS)
    parsed = []
    for uri in runs.files(newest, "clips", "tfrecord"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(storage.read_bytes(uri))
            file.flush()
            for record in tf.data.TFRecordDataset(file.name, compression_type="GZIP"):
                parsed.append(tf.io.parse_single_example(record, spec))
    return parsed


def test_500_clips_are_the_same_in_parquet_tfrecord_bigquery_and_a_local_run(
    cloud: Cloud, tables: Tables, embed: Embed, tmp_path: Path
) -> None:
    uris = [f"gs://clips/bq-500/{FOLDERS[number % 4]}/{number:03} ü#%41.wav" for number in range(500)]
    for number, uri in enumerate(uris):
        cloud.gcs.store.write(uri, clip(number))
    inputs, output, local = ["gs://clips/bq-500/**"], "gs://out/bq-500", str(tmp_path / "local")
    sinks = ("parquet", "tfrecord", "bigquery")
    assert embed(inputs, output, sink=sinks, bigquery_table="test-project:audio.all") == run.DONE
    assert embed(inputs, local) == run.DONE

    columns = ["clip_id", "uri", "embedding", "scores"]
    files, near = ({row["clip_id"]: row for row in Dataset.open(where).table(columns).to_pylist()}
                   for where in (output, local))  # fmt: skip
    table = tables.ask(f"SELECT {', '.join(columns)} FROM audio.all")
    parsed = records(output)
    examples = {example["clip_id"].numpy().decode(): example for example in parsed}
    assert len(table) == len(parsed) == 500
    assert sorted(row["uri"] for row in table) == sorted(uris)
    assert {row["clip_id"]: row for row in table} == files
    assert set(examples) == set(files) == set(near)
    for clip_id, row in files.items():
        for column in ("embedding", "scores"):
            np.testing.assert_array_equal(examples[clip_id][column].numpy(), np.float32(row[column]))
            np.testing.assert_allclose(row[column], near[clip_id][column], atol=1e-6)


def test_files_and_tables_hold_the_same_clips_and_patches_through_three_nights(
    cloud: Cloud, tables: Tables, embed: Embed
) -> None:
    uris = put(cloud, "bq-same", 12)
    settings: dict[str, Any] = {
        "sink": ("parquet", "bigquery"),
        "rows": "both",
        "bigquery_table": "test-project:audio.same",
        "drop_deleted": True,
    }
    inputs, output = ["gs://clips/bq-same/*"], "gs://out/bq-same"

    def clips_and_patches() -> list[dict[str, Any]]:
        """Of the tables, and the same of the files."""
        clips = tables.ask("SELECT * FROM audio.same ORDER BY clip_id")
        assert clips == Dataset.open(output).table().sort_by("clip_id").to_pylist()
        patches = tables.ask("SELECT * FROM audio.same_patches ORDER BY clip_id, patch_index")
        assert patches == Dataset.open(output).table(kind="patches").sort_by(BY_PATCH).to_pylist()
        assert tables.names() == {"same", "same_patches", "same_top_classes"}
        assert not list(storage.matches("gs://out/bq-same/.tmp-*/**"))
        return clips

    with metrics.kept_results() as results:
        assert embed(inputs, output, **settings) == run.DONE
    manifest = newest_manifest(output)
    counted = metrics.figures(results[-1])
    num_loaded = 12 + manifest["num_patches"]
    assert (counted["write_bigquery_in"], counted["write_bigquery_out"]) == (num_loaded, num_loaded)
    loaded = {out["path"]: (out["kind"], out["rows"]) for out in manifest["outputs"] if out["format"] == "bigquery"}
    assert loaded == {
        "bigquery:test-project.audio.same": ("clips", 12),
        "bigquery:test-project.audio.same_patches": ("patches", manifest["num_patches"]),
    }
    first = clips_and_patches()
    assert sorted(row["uri"] for row in first) == uris
    best = tables.ask("SELECT clip_id, class_name, score FROM audio.same_top_classes WHERE class_rank = 1 ORDER BY 1")
    assert [(row["clip_id"], row["class_name"], row["score"]) for row in best] == [
        (row["clip_id"], row["top_classes"][0]["name"], row["top_classes"][0]["score"]) for row in first
    ]

    for number in range(3):
        cloud.gcs.store.write(uris[number], clip(number, version=1))
    cloud.gcs.store.delete(uris[3])
    cloud.gcs.store.write(uris[4], b"not a sound any more")
    assert embed(inputs, output, **settings) == run.DONE
    assert newest_manifest(output)["embedded"] == 3
    second = clips_and_patches()
    assert sorted(row["uri"] for row in second) == uris[:3] + uris[4:]
    assert sum(row not in first for row in second) == 3

    assert embed(inputs, output, **settings) == run.DONE
    third = newest_manifest(output)
    assert (third["embedded"], third["unchanged"]) == (0, 11)
    assert [out["rows"] for out in third["outputs"] if out["format"] == "bigquery"] == [0, 0]
    assert clips_and_patches() == second


def test_a_query_names_clips_and_its_columns_are_carried_to_the_rows(
    cloud: Cloud, tables: Tables, embed: Embed
) -> None:
    uris = put(cloud, "bq-asked", 3)
    values = ", ".join(f"('{uri}', 'bird {number}', {number})" for number, uri in enumerate(uris))
    tables.ask("CREATE TABLE audio.catalogue (place STRING, label STRING, site INT64)")
    tables.ask(f"INSERT audio.catalogue VALUES {values}")
    busy = tables.inject("#SELECT", method="POST", status=503)
    query = "bq:SELECT place, label, site FROM audio.catalogue WHERE site > 0"
    assert embed([query], "gs://out/bq-asked", uri_column="place") == run.DONE
    assert busy.fired
    rows = Dataset.open("gs://out/bq-asked").table().sort_by("uri").to_pylist()
    assert [(row["uri"], row["label"], row["site"]) for row in rows] == [
        (uris[1], "bird 1", "1"),
        (uris[2], "bird 2", "2"),
    ]


def test_a_query_that_cannot_be_asked_says_why_before_anything_runs(tables: Tables, embed: Embed) -> None:
    with pytest.raises(errors.UsageError, match=r"--input=bq:SELECT uri FROM audio\.nowhere.*nowhere"):
        embed(["bq:SELECT uri FROM audio.nowhere"], "gs://out/bq-wrong")
    with pytest.raises(errors.UsageError, match="--input=bq:SELEKT uri"):
        embed(["bq:SELEKT uri"], "gs://out/bq-wrong")
    tables.inject("/jobs", status=403, times=None)
    with pytest.raises(errors.AccessError, match=r"^\S+@\S+ may not use .*needs bigquery\.jobs\.create"):
        embed(["bq:SELECT 1 AS uri"], "gs://out/bq-wrong")


def test_the_table_is_what_its_users_expect(tables: Tables) -> None:
    table = warehouse.table("clips", "test-project.audio.shape", "a1", schemas.clip_fields(["label"]))
    staging.prepare(table)
    staging.prepare(table)  # as on every night
    found = tables.client.get_table(table.name)
    assert (found.time_partitioning.field, found.time_partitioning.type_) == ("processed_at", "DAY")
    assert found.clustering_fields == ["clip_id"]
    assert found.labels == bigquery.LABELS
    columns = {column.name: column for column in found.schema}
    assert list(columns) == [field.name for field in table.fields]
    assert (columns["embedding"].field_type, columns["embedding"].mode) == ("FLOAT", "REPEATED")
    assert (columns["top_classes"].field_type, columns["top_classes"].mode) == ("RECORD", "REPEATED")
    assert (columns["label"].field_type, columns["label"].mode) == ("STRING", "NULLABLE")
    assert columns["processed_at"].field_type == "TIMESTAMP"
    assert {name: column.description for name, column in columns.items()} == {
        field.name: field.description for field in table.fields
    }
    expires_s = (
        tables.client.get_table(table.staging).expires - datetime.datetime.now(datetime.timezone.utc)
    ).total_seconds()
    assert 0 < expires_s <= staging.STAGING_DAYS * 86_400


def test_a_table_gains_the_columns_of_new_lists(tables: Tables) -> None:
    staging.prepare(warehouse.table("clips", "test-project.audio.grown", "a1", schemas.CLIP_FIELDS))
    staging.prepare(warehouse.table("clips", "test-project.audio.grown", "a2", schemas.clip_fields(["label"])))
    added = tables.client.get_table("test-project.audio.grown").schema[-1]
    assert (added.name, added.field_type, added.mode) == ("label", "STRING", "NULLABLE")


def test_a_table_of_something_else_is_left_alone(tables: Tables) -> None:
    tables.ask("CREATE TABLE audio.sales (clip_id INT64)")
    with pytest.raises(errors.UsageError, match=r"audio\.sales is a table of something else.*name another table"):
        staging.prepare(warehouse.table("clips", "test-project.audio.sales", "a1", schemas.CLIP_FIELDS))
    with pytest.raises(errors.UsageError, match="make the dataset first: bq mk"):
        staging.prepare(warehouse.table("clips", "test-project.nowhere.clips", "a1", schemas.CLIP_FIELDS))


# --- deploy/sql ---


def statement(name: str) -> str:
    lines = (SQL / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).replace("PROJECT.DATASET.TABLE", "audio.sql")


def test_the_queries_of_deploy_name_columns_that_exist(tables: Tables) -> None:
    """Runs each part of them that the local service can run: what VECTOR_SEARCH is asked to search, and with what."""
    staging.prepare(warehouse.table("clips", "test-project.audio.sql", "a1", schemas.CLIP_FIELDS))
    for query in statement("vector_search.sql").split(";"):
        parts = re.findall(r"\((SELECT [^()]*)\)", query)
        assert len(parts) == 2 * bool(query.strip())
        for part in parts:
            assert tables.ask(re.sub(r"@\w+", "'x'", part)) == []
    names = {field.name for field in schemas.CLIP_FIELDS}
    index = statement("vector_index.sql")
    indexed = re.search(r"ON `audio\.sql`\s*\((\w+)\)\s*STORING \(([\w, ]+)\)", index)
    assert indexed
    assert {indexed[1], *indexed[2].split(", ")} <= names
    assert "COSINE" in index
    assert "IVF" in index
