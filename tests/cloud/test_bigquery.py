"""BigQuery as a sink: its tables hold what the files hold, each clip once, whatever fails on the way."""

import contextlib
import dataclasses
import datetime
import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from pipeline import run
from pipeline.dataset import Dataset
from tests.servers import bigquery as server
from tests.servers.cloud import Cloud
from tests.servers.egress import Route
from tests.servers.faults import Fault, Faults
from tests.servers.serving import HOP_BY_HOP, LOOPBACK, Request, Response, serving
from transforms import bigquery, errors, runs, schemas, staging, storage, warehouse
from transforms.commit import RunInfo, commit
from transforms.schemas import Field
from transforms.writers import WrittenFile

pytestmark = pytest.mark.slow

Embed = Callable[..., int]
HOST = "bigquery.googleapis.com"
DATASET = "test-project.audio"
SQL = Path(__file__).parents[2] / "deploy" / "sql"


@pytest.fixture(scope="module")
def module_faults(services: Cloud) -> Iterator[Faults]:
    """The service behind a proxy that can make it fail; the body's kind of job stands at the end of a target."""
    if services.bigquery is None:
        pytest.skip(str(server.unavailable()))
    upstream, faults = services.bigquery.port, Faults()

    def answer(request: Request) -> Response:
        kind = re.search(rb'"load"|"copy"|MERGE|BEGIN|DELETE|SELECT', request.body)
        named = dataclasses.replace(request, target=f"{request.target}#{kind[0].decode() if kind else ''}")
        fault = faults.claim(named)
        if fault and fault.withholds:
            return reasoned(fault.spoil(Response()))
        with contextlib.closing(http.client.HTTPConnection(LOOPBACK, upstream, timeout=60)) as connection:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(request.method, request.target, request.body, headers)
            found = connection.getresponse()
            response = Response(found.status, tuple(found.getheaders()), found.read())
        return reasoned(fault.spoil(response)) if fault else response

    true_route = services.egress.routes[HOST]
    with serving(answer) as port:
        services.egress.routes[HOST] = Route(port)
        yield faults
        services.egress.routes[HOST] = true_route


def reasoned(response: Response) -> Response:
    """An error with the word that BigQuery's always have."""
    reason = {403: "accessDenied", 503: "backendError"}.get(response.status)
    if reason is None:
        return response
    details = {"code": response.status, "message": "injected", "errors": [{"reason": reason, "message": "injected"}]}
    return dataclasses.replace(response, body=json.dumps({"error": details}).encode())


@pytest.fixture
def faults(module_faults: Faults) -> Iterator[Faults]:
    module_faults.clear()
    yield module_faults
    module_faults.clear()


@pytest.fixture
def client(faults: Faults, cloud: Cloud) -> Iterator[Any]:
    from google.cloud import bigquery as library

    with contextlib.closing(library.Client()) as client:
        client.create_dataset(DATASET, exists_ok=True)
        yield client
        client.delete_dataset(DATASET, delete_contents=True)


def clip(number: int, version: int = 0) -> bytes:
    return sounds.sound_file(sounds.noise(0.2 + 0.01 * (number % 7), seed=1000 * version + number))


def put(cloud: Cloud, folder: str, count: int) -> list[str]:
    uris = [f"gs://clips/{folder}/ü {number:02}#.wav" for number in range(count)]
    for number, uri in enumerate(uris):
        cloud.gcs.store.write(uri, clip(number))
    return uris


def ask(client: Any, sql: str) -> list[dict[str, Any]]:
    return [dict(row.items()) for row in client.query_and_wait(sql)]


def tables(client: Any) -> set[str]:
    return {table.table_id for table in client.list_tables(DATASET)}


def newest_manifest(dataset: str) -> dict[str, Any]:
    return runs.committed(dataset)[-1].manifest


def test_files_and_tables_hold_the_same_clips_through_three_nights(cloud: Cloud, client: Any, embed: Embed) -> None:
    import tensorflow as tf

    uris = put(cloud, "bq-same", 30)
    settings: dict[str, Any] = {
        "sink": ("parquet", "tfrecord", "bigquery"),
        "rows": "both",
        "bigquery_table": "test-project:audio.same",
        "drop_deleted": True,
    }
    inputs, output = ["gs://clips/bq-same/*"], "gs://out/bq-same"
    assert embed(inputs, output, **settings) == run.DONE
    manifest = newest_manifest(output)
    loaded = {out["path"]: (out["kind"], out["rows"]) for out in manifest["outputs"] if out["format"] == "bigquery"}
    assert loaded == {
        "bigquery:test-project.audio.same": ("clips", 30),
        "bigquery:test-project.audio.same_patches": ("patches", manifest["num_patches"]),
    }
    assert tables(client) == {"same", "same_patches", "same_top_classes"}

    rows = ask(client, "SELECT * FROM audio.same ORDER BY clip_id")
    files = Dataset.open(output).table().sort_by("clip_id").to_pylist()
    assert sorted(row["uri"] for row in rows) == uris
    assert rows == files
    records = [storage.join(runs.committed(output)[0].directory, out["path"])
               for out in manifest["outputs"] if (out["kind"], out["format"]) == ("clips", "tfrecord")]  # fmt: skip
    spec = schemas.example_spec(schemas.CLIP_FIELDS)
    content = [gzipped for record in records for gzipped in _records(storage.read_bytes(record))]
    parsed = [tf.io.parse_single_example(record, spec) for record in content]
    by_id = {example["clip_id"].numpy().decode(): example for example in parsed}
    assert set(by_id) == {row["clip_id"] for row in rows}
    for row in rows:
        for column in ("embedding", "scores", "scores_max"):
            np.testing.assert_array_equal(by_id[row["clip_id"]][column].numpy(), np.float32(row[column]))

    patches = ask(client, "SELECT * FROM audio.same_patches ORDER BY clip_id, patch_index")
    order = [("clip_id", "ascending"), ("patch_index", "ascending")]
    assert patches == Dataset.open(output).table(kind="patches").sort_by(order).to_pylist()
    best = ask(client, "SELECT clip_id, class_name, score FROM audio.same_top_classes WHERE class_rank = 1 ORDER BY 1")
    assert [(row["clip_id"], row["class_name"], row["score"]) for row in best] == [
        (row["clip_id"], row["top_classes"][0]["name"], row["top_classes"][0]["score"]) for row in rows
    ]

    for number in range(3):
        cloud.gcs.store.write(uris[number], clip(number, version=1))
    cloud.gcs.store.delete(uris[3])
    cloud.gcs.store.write(uris[4], b"not a sound any more")
    assert embed(inputs, output, **settings) == run.DONE
    assert newest_manifest(output)["embedded"] == 3
    fresh = ask(client, "SELECT * FROM audio.same ORDER BY clip_id")
    assert fresh == Dataset.open(output).table().sort_by("clip_id").to_pylist()
    assert sorted(row["uri"] for row in fresh) == uris[:3] + uris[4:]
    assert sum(row not in rows for row in fresh) == 3
    patches = ask(client, "SELECT * FROM audio.same_patches ORDER BY clip_id, patch_index")
    assert patches == Dataset.open(output).table(kind="patches").sort_by(order).to_pylist()

    assert embed(inputs, output, **settings) == run.DONE
    third = newest_manifest(output)
    assert (third["embedded"], third["unchanged"]) == (0, 29)
    assert [out["rows"] for out in third["outputs"] if out["format"] == "bigquery"] == [0, 0]
    assert ask(client, "SELECT * FROM audio.same ORDER BY clip_id") == fresh
    assert tables(client) == {"same", "same_patches", "same_top_classes"}
    assert not list(storage.matches("gs://out/bq-same/.tmp-*/**"))


def _records(content: bytes) -> list[bytes]:
    import tempfile

    import tensorflow as tf

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return [record.numpy() for record in tf.data.TFRecordDataset(file.name, compression_type="GZIP")]


def test_the_table_is_what_its_users_expect(client: Any) -> None:
    table = warehouse.table("clips", f"{DATASET}.shape", "a1", schemas.clip_fields(["label"]))
    staging.prepare(table)
    staging.prepare(table)  # as on every night
    found = client.get_table(table.name)
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
    expires_s = (client.get_table(table.staging).expires - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    assert 0 < expires_s <= staging.STAGING_DAYS * 86_400


def test_a_table_gains_the_columns_of_new_lists(client: Any) -> None:
    staging.prepare(warehouse.table("clips", f"{DATASET}.grown", "a1", schemas.CLIP_FIELDS))
    staging.prepare(warehouse.table("clips", f"{DATASET}.grown", "a2", schemas.clip_fields(["label"])))
    added = client.get_table(f"{DATASET}.grown").schema[-1]
    assert (added.name, added.field_type, added.mode) == ("label", "STRING", "NULLABLE")


def test_a_table_of_something_else_is_left_alone(client: Any) -> None:
    client.query_and_wait("CREATE TABLE audio.sales (clip_id INT64)")
    with pytest.raises(errors.UsageError, match=r"audio\.sales is a table of something else.*name another table"):
        staging.prepare(warehouse.table("clips", f"{DATASET}.sales", "a1", schemas.CLIP_FIELDS))
    with pytest.raises(errors.UsageError, match="make the dataset first: bq mk"):
        staging.prepare(warehouse.table("clips", "test-project.nowhere.clips", "a1", schemas.CLIP_FIELDS))


# --- The commit alone, on small rows that SQL puts where Beam would ---

SMALL = (
    Field("clip_id", "string", "id"),
    Field("uri", "string", "place"),
    Field("top_classes", "classes", "best"),
    Field("processed_at", "timestamp", "when"),
)
PATCHES = (
    Field("clip_id", "string", "id"),
    Field("patch_index", "int", "which"),
    Field("processed_at", "timestamp", "when"),
)


def staged(client: Any, attempt: str, made_at: str, uris: dict[str, str], patches: int = 1) -> RunInfo:
    """A run whose rows are loaded and not yet committed."""
    clips = warehouse.table("clips", f"{DATASET}.small", attempt, SMALL)
    parts = warehouse.table("patches", f"{DATASET}.small", attempt, PATCHES)
    for table in (clips, parts):
        staging.prepare(table)
    rows = [f"('{clip_id}', '{uri}', [], TIMESTAMP '{made_at}')" for clip_id, uri in uris.items()]
    ask(client, f"INSERT `{clips.staging}` (clip_id, uri, top_classes, processed_at) VALUES {', '.join(rows)}")
    rows = [f"('{clip_id}', {index}, TIMESTAMP '{made_at}')" for clip_id in uris for index in range(patches)]
    ask(client, f"INSERT `{parts.staging}` (clip_id, patch_index, processed_at) VALUES {', '.join(rows)}")
    return RunInfo(
        run_id=attempt,
        attempt_id=attempt,
        directory=f"gs://out/small/run={attempt}",
        started_at=f"{made_at.replace(' ', 'T')}.000+00:00",
        model_version="m",
        pipeline_version="p",
        settings={},
        max_failure_ratio=0.5,
        clip_formats=("bigquery",),
        patch_formats=("bigquery",),
        tables=(clips, parts),
    )


def committed(run: RunInfo, *, dead: int = 0, dropped: tuple[str, ...] = ()) -> dict[str, Any]:
    """Commits with true counts."""
    files = [
        WrittenFile(table.kind, "bigquery", f"bigquery:{table.name}", staging.count(table), 0) for table in run.tables
    ]
    embedded, num_patches = (file.num_rows for file in files)
    counts = {"listed": embedded + dead, "embedded": embedded, "dead": dead, "num_patches": num_patches}
    counts |= {"deleted": len(dropped)}
    index = WrittenFile("index", "parquet", f"{run.directory}/index", embedded + dead + len(dropped), 1)
    letters = WrittenFile("dead_letters", "jsonl", f"{run.directory}/dead", dead, 1)
    return commit(run, [*files, index, letters], counts, dropped)


def small(client: Any) -> dict[str, tuple[str, int]]:
    """By clip_id: its uri and number of patches."""
    rows = ask(client, "SELECT clip_id, uri FROM audio.small")
    assert len({row["clip_id"] for row in rows}) == len(rows)
    patches = ask(client, "SELECT clip_id, patch_index FROM audio.small_patches")
    assert len({tuple(patch.values()) for patch in patches}) == len(patches)
    return {row["clip_id"]: (row["uri"], sum(p["clip_id"] == row["clip_id"] for p in patches)) for row in rows}


def test_a_commit_that_dies_before_success_is_repeated(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = staged(client, "crash", "2026-01-01 00:00:00", {"a": "1", "b": "1"}, patches=2)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "publish", lambda *_: (_ for _ in ()).throw(ConnectionError("cut")))
        with pytest.raises(ConnectionError):
            committed(first)
    assert runs.manifest_of(first.directory) is None
    merged = small(client)
    manifest = committed(first)
    assert small(client) == merged == {"a": ("1", 2), "b": ("1", 2)}
    assert not any("_of_" in name for name in tables(client))
    files = [WrittenFile(out["kind"], out["format"], out["path"], out["rows"], out["bytes"])
             for out in manifest["outputs"]]  # fmt: skip
    counts = {"listed": 2, "embedded": 2, "num_patches": 4}
    assert commit(first, files, counts) == manifest  # with nothing left to merge
    assert small(client) == merged


def test_newer_rows_win_whoever_commits_last(client: Any) -> None:
    older = staged(client, "older", "2026-01-01 00:00:00", {"a": "old", "b": "old"}, patches=3)
    newer = staged(client, "newer", "2026-02-02 00:00:00", {"a": "new"}, patches=1)
    committed(newer)
    committed(older, dropped=("a",))
    assert small(client) == {"a": ("new", 1), "b": ("old", 3)}
    committed(staged(client, "newest", "2026-03-03 00:00:00", {"b": "new"}, patches=2), dropped=("a",))
    assert small(client) == {"b": ("new", 2)}


def test_a_refused_run_leaves_no_trace(client: Any) -> None:
    refused = committed(staged(client, "refused", "2026-01-01 00:00:00", {"a": "1"}), dead=2)
    assert "2 of 3 clips are dead" in refused["refused"]
    assert small(client) == {}
    assert not any("_of_" in name for name in tables(client))


def test_an_execution_that_comes_second_changes_nothing(client: Any) -> None:
    committed(staged(client, "r1", "2026-01-01 00:00:00", {"a": "1"}))
    late = staged(client, "late", "2026-02-02 00:00:00", {"a": "2"})
    late = dataclasses.replace(late, run_id="r1", directory="gs://out/small/run=r1")
    with pytest.raises(errors.CommitError, match="committed by another execution"):
        committed(late)
    assert small(client) == {"a": ("1", 1)}


# --- Trouble ---


def once_each(client: Any, output: str, table: str, count: int) -> None:
    """Asserts that a run ended with all its clips and patches, each once."""
    assert newest_manifest(output)["embedded"] == count
    (found,) = ask(client, f"SELECT COUNT(*) AS n, COUNT(DISTINCT clip_id) AS ids FROM audio.{table}")
    assert (found["n"], found["ids"]) == (count, count)
    (found,) = ask(client, f"SELECT COUNT(*) AS n FROM audio.{table}_patches")
    assert found["n"] == newest_manifest(output)["num_patches"]
    assert not any("_of_" in name for name in tables(client))


def test_what_fails_for_a_moment_leaves_each_clip_once(cloud: Cloud, client: Any, embed: Embed, faults: Faults) -> None:
    put(cloud, "bq-faulty", 6)
    injected = [
        faults.add(Fault(path='#"load"', status=503)),
        faults.add(Fault(path="#MERGE", status=503, times=2)),
        faults.add(Fault(path="#MERGE", status=503, applied=True)),
        faults.add(Fault(path="#BEGIN", reset=True)),
        faults.add(Fault(path="/tables", method="POST", status=503, applied=True)),
        cloud.gcs.inject(path="upload/storage/v1/b/out", method="POST", status=503, times=3),
    ]
    settings = {"sink": ("bigquery",), "rows": "both", "bigquery_table": f"{DATASET}.faulty"}
    assert embed(["gs://clips/bq-faulty/*"], "gs://out/bq-faulty", **settings) == run.DONE
    assert all(fault.fired for fault in injected), injected
    once_each(client, "gs://out/bq-faulty", "faulty", 6)


def test_many_load_jobs_and_repeated_bundles_leave_each_clip_once(
    cloud: Cloud, client: Any, embed: Embed, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.io.gcp import bigquery_file_loads

    monkeypatch.setattr(bigquery_file_loads, "_DEFAULT_MAX_FILE_SIZE", 1)  # a file for each row
    monkeypatch.setattr(bigquery_file_loads, "_MAXIMUM_SOURCE_URIS", 4)  # of a load job
    copies = faults.add(Fault(path='#"copy"', times=None))  # which spoils nothing
    put(cloud, "bq-many", 4)
    cloud.gcs.store.write("gs://clips/bq-many/long.wav", sounds.sound_file(sounds.noise(6.0, seed=1)))
    settings = {"sink": ("bigquery",), "rows": "both", "bigquery_table": f"{DATASET}.many", "segment_patches": 8}
    beam = ["--direct_runner_bundle_repeat=2", "--temp_location=gs://out/tmp"]
    assert embed(["gs://clips/bq-many/*"], "gs://out/bq-many", beam=beam, **settings) == run.DONE
    assert copies.fired
    once_each(client, "gs://out/bq-many", "many", 5)
    assert not list(storage.matches("gs://out/tmp/**"))


def test_who_may_not_write_hears_it_before_a_clip_is_read(
    cloud: Cloud, client: Any, embed: Embed, faults: Faults
) -> None:
    put(cloud, "bq-forbidden", 2)
    faults.add(Fault(path="/tables", method="POST", status=403, times=None))
    with pytest.raises(errors.AccessError, match=r"@.* may not use the BigQuery table test-project\.audio\.forbidden: "
                                                 r"it needs bigquery\.tables\.create"):  # fmt: skip
        embed(
            ["gs://clips/bq-forbidden/*"], "gs://out/bq-forbidden", sink=("bigquery",),
            bigquery_table=f"{DATASET}.forbidden",
        )  # fmt: skip
    assert not runs.committed("gs://out/bq-forbidden")


def test_a_merge_that_is_forbidden_is_explained(client: Any, faults: Faults) -> None:
    waiting = staged(client, "waiting", "2026-01-01 00:00:00", {"a": "1"})
    faults.add(Fault(path="#MERGE", status=403, times=None))
    with pytest.raises(errors.AccessError, match=r"audio\.small.*tables\.getData and \.updateData"):
        committed(waiting)
    assert runs.manifest_of(waiting.directory) is None
    faults.clear()
    committed(waiting)
    assert small(client) == {"a": ("1", 1)}


# --- deploy/sql ---


def statement(name: str) -> str:
    lines = (SQL / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).replace("PROJECT.DATASET.TABLE", "audio.sql")


def test_the_queries_of_deploy_name_columns_that_exist(client: Any) -> None:
    """Runs each part of them that the local service can run: what VECTOR_SEARCH is asked to search, and with what."""
    staging.prepare(warehouse.table("clips", f"{DATASET}.sql", "a1", schemas.CLIP_FIELDS))
    for query in statement("vector_search.sql").split(";"):
        parts = re.findall(r"\((SELECT [^()]*)\)", query)
        assert len(parts) == 2 * bool(query.strip())
        for part in parts:
            assert ask(client, re.sub(r"@\w+", "'x'", part)) == []
    names = {field.name for field in schemas.CLIP_FIELDS}
    index = statement("vector_index.sql")
    indexed = re.search(r"ON `audio\.sql`\s*\((\w+)\)\s*STORING \(([\w, ]+)\)", index)
    assert indexed
    assert {indexed[1], *indexed[2].split(", ")} <= names
    assert "COSINE" in index
    assert "IVF" in index
