"""The test servers themselves: what the other tests rely on, checked with the real clients."""

from __future__ import annotations

import concurrent.futures
import datetime
import io
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import bigquery
from tests.servers.cloud import Cloud, google_cloud
from tests.servers.https import WebServer, content, endless, https_server, redirect, slow

pytestmark = pytest.mark.slow
NEEDS_BIGQUERY = pytest.mark.needs(bigquery.unavailable())
SCHEMA = {
    "fields": [
        {"name": "clip_id", "type": "STRING", "mode": "NULLABLE"},
        {"name": "at", "type": "TIMESTAMP", "mode": "NULLABLE"},
        {"name": "embedding", "type": "FLOAT64", "mode": "REPEATED"},
    ]
}


@pytest.fixture(scope="module")
def services() -> Iterator[Cloud]:
    with google_cloud("clips", bigquery=not bigquery.unavailable()) as cloud, cloud.activate():
        yield cloud


@pytest.fixture
def cloud(services: Cloud) -> Cloud:
    services.gcs.clear()
    services.refused.clear()
    return services


@pytest.fixture(scope="module")
def bucket(services: Cloud):
    from google.cloud import storage

    client = storage.Client()
    yield client.bucket("clips")
    client.close()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with https_server(tmp_path) as server:
        yield server


def fetch(server: WebServer, path: str, **headers: str):
    trust = ssl.create_default_context(cafile=server.ca_path)
    request = urllib.request.Request(server.url(path), headers=headers)
    direct = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=trust))
    return opener.open(request, timeout=10)


# --- Cloud Storage ---


def test_an_object_is_read_and_listed_as_it_was_written(cloud: Cloud, bucket) -> None:
    blob = bucket.blob("a/b c.wav")
    blob.upload_from_string(b"sound")
    [listed] = bucket.list_blobs(prefix="a/")
    assert (listed.name, listed.generation, listed.crc32c) == (
        "a/b c.wav",
        blob.generation,
        blob.crc32c,
    )
    assert bucket.blob("a/b c.wav", generation=blob.generation).download_as_bytes() == b"sound"
    assert cloud.gcs.store.read("gs://clips/a/b c.wav") == b"sound"
    assert not cloud.refused


def test_an_old_generation_is_gone(bucket) -> None:
    from google.api_core.exceptions import NotFound

    blob = bucket.blob("twice.wav")
    blob.upload_from_string(b"one")
    first = blob.generation
    blob.upload_from_string(b"two")
    with pytest.raises(NotFound):
        bucket.blob("twice.wav", generation=first).download_as_bytes()


@pytest.mark.parametrize("chunk_size", [None, 256 * 1024], ids=["multipart", "resumable"])
def test_only_the_first_create_succeeds(cloud: Cloud, bucket, chunk_size: int | None) -> None:
    from google.api_core.exceptions import PreconditionFailed

    blob = bucket.blob(f"once-{chunk_size}.wav", chunk_size=chunk_size)
    blob.upload_from_file(io.BytesIO(b"first"), if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_file(io.BytesIO(b"second"), if_generation_match=0)
    assert cloud.gcs.store.read(f"gs://clips/once-{chunk_size}.wav") == b"first"


def test_a_simple_upload_heeds_its_precondition(cloud: Cloud) -> None:
    url = f"http://127.0.0.1:{cloud.gcs.port}/upload/storage/v1/b/clips/o"
    query = "?uploadType=media&name=simple.wav&ifGenerationMatch=0"
    first = urllib.request.Request(url + query, data=b"1", method="POST")
    with urllib.request.urlopen(first) as response:
        assert response.status == 200
    with pytest.raises(urllib.error.HTTPError, match="412") as failure:
        urllib.request.urlopen(urllib.request.Request(url + query, data=b"2", method="POST"))
    failure.value.close()


def test_one_of_many_creates_at_a_time_succeeds(cloud: Cloud) -> None:
    query = "uploadType=media&name=race.wav&ifGenerationMatch=0"
    url = f"http://127.0.0.1:{cloud.gcs.port}/upload/storage/v1/b/clips/o?{query}"

    def create(number: int) -> int:
        request = urllib.request.Request(url, data=b"%d" % number, method="POST")
        try:
            with urllib.request.urlopen(request) as response:
                return response.status
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(16))) == [200] + [412] * 15


def test_a_busy_service_is_asked_again(cloud: Cloud, bucket) -> None:
    cloud.gcs.store.write("gs://clips/busy.wav", b"sound")
    fault = cloud.gcs.inject(path="/download/.*busy", status=503, times=2)
    assert bucket.blob("busy.wav").download_as_bytes() == b"sound"
    asked = [exchange.status for exchange in cloud.gcs.requests if "busy" in exchange.target]
    assert (fault.fired, asked) == (2, [503, 503, 200])


@pytest.mark.parametrize("damage", [{"cut_bytes": 2}, {"reset": True}], ids=["cut", "reset"])
def test_a_damaged_answer_is_noticed_and_asked_for_again(cloud, bucket, damage: dict) -> None:
    cloud.gcs.store.write("gs://clips/damaged.wav", b"sound")
    fault = cloud.gcs.inject(path="/download/.*damaged", **damage)
    assert bucket.blob("damaged.wav").download_as_bytes() == b"sound"
    assert fault.fired == 1


def test_a_resumable_upload_survives_refusals_and_lost_answers(cloud: Cloud, bucket) -> None:
    data = bytes(range(256)) * 4096
    cloud.gcs.inject(method="PUT", path="upload_id", after=1, status=503)
    cloud.gcs.inject(method="PUT", path="upload_id", after=2, reset=True, applied=True)
    blob = bucket.blob("long.wav", chunk_size=256 * 1024)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
    assert cloud.gcs.store.read("gs://clips/long.wav") == data


def test_a_lost_answer_leaves_the_object_written(cloud: Cloud, bucket) -> None:
    from google.api_core.exceptions import PreconditionFailed

    cloud.gcs.inject(method="POST", path="/upload/", reset=True, applied=True)
    with pytest.raises(PreconditionFailed):  # the client's own repetition meets its first try
        bucket.blob("lost.wav").upload_from_string(b"sound", if_generation_match=0)
    assert cloud.gcs.store.read("gs://clips/lost.wav") == b"sound"


def test_a_fault_may_start_late_and_stay(cloud: Cloud) -> None:
    cloud.gcs.store.write("gs://clips/late.wav", b"sound")
    cloud.gcs.inject(path="late", after=1, times=None, status=429, retry_after_s=7)
    url = f"http://127.0.0.1:{cloud.gcs.port}/storage/v1/b/clips/o/late.wav"
    urllib.request.urlopen(url).close()
    for _ in range(3):
        with pytest.raises(urllib.error.HTTPError, match="429") as failure:
            urllib.request.urlopen(url)
        assert failure.value.headers["Retry-After"] == "7"
        failure.value.close()


def test_a_generated_bucket_is_listed_in_pages_and_read(cloud: Cloud, bucket) -> None:
    names = [f"{folder}/{number:04d}.wav" for folder in "ab" for number in range(1500)]
    cloud.gcs.generate("many", names, lambda name: name[:1].encode())
    listed = list(bucket.client.list_blobs("many"))
    assert [blob.name for blob in listed] == names
    pages = [exchange for exchange in cloud.gcs.requests if "/b/many/o?" in exchange.target]
    assert len(pages) == 3
    assert listed[-1].download_as_bytes() == b"b"
    globbed = bucket.client.list_blobs("many", match_glob="?/00{01,2?}.wav")
    assert len(list(globbed)) == 22


# --- Beam's file systems ---


def test_beam_renames_on_cloud_storage(cloud: Cloud) -> None:
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.create("gs://clips/rename/from.txt") as file:
        file.write(b"text")
    FileSystems.rename(["gs://clips/rename/from.txt"], ["gs://clips/rename/to.txt"])
    assert cloud.gcs.store.uris("gs://clips/rename/") == ["gs://clips/rename/to.txt"]


def test_a_beam_sink_survives_a_refused_rename(cloud: Cloud) -> None:
    import apache_beam as beam

    fault = cloud.gcs.inject(path="/copyTo/", status=503)
    with beam.Pipeline("FnApiRunner") as pipeline:
        lines = pipeline | beam.Create(["a", "b"])
        lines | beam.io.WriteToText("gs://clips/sink/out", num_shards=1)
    [written] = cloud.gcs.store.uris("gs://clips/sink/")
    assert sorted(cloud.gcs.store.read(written).split()) == [b"a", b"b"]
    assert fault.fired == 1


# --- The way out ---


def test_another_host_is_refused_and_listed(cloud: Cloud) -> None:
    opener = urllib.request.build_opener()  # urlopen would keep the proxies of the first call in this process
    for url in ("https://example.com/", "http://example.org/"):
        with pytest.raises(urllib.error.URLError) as failure:
            opener.open(url)
        if isinstance(failure.value, urllib.error.HTTPError):
            failure.value.close()
    assert cloud.refused == ["example.com", "example.org"]


def test_a_child_process_needs_nothing_but_the_environment(cloud: Cloud) -> None:
    program = (
        "from google.cloud import storage\n"
        "print(storage.Client().bucket('clips').blob('child').upload_from_string(b'x'))"
    )
    subprocess.run([sys.executable, "-c", program], env=cloud.environ, check=True)
    assert cloud.gcs.store.read("gs://clips/child") == b"x"
    assert not cloud.refused


# --- BigQuery ---


@pytest.fixture(scope="module")
def warehouse(services: Cloud):
    from google.cloud import bigquery as client_library

    client = client_library.Client()
    client.create_dataset("audio")
    yield client
    client.close()


def write_rows(table: str, ids: list[str]) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    now = datetime.datetime.now(datetime.timezone.utc)
    options = PipelineOptions(["--temp_location=gs://clips/tmp", "--project=test-project"])
    with beam.Pipeline("FnApiRunner", options=options) as pipeline:
        _ = (
            pipeline
            | beam.Create([{"clip_id": clip, "at": now, "embedding": [0.5] * 8} for clip in ids])
            | beam.io.WriteToBigQuery(
                f"test-project:audio.{table}",
                schema=SCHEMA,
                method="FILE_LOADS",
                temp_file_format="AVRO",
            )
        )


@NEEDS_BIGQUERY
def test_rows_that_beam_loads_are_merged_and_read(cloud: Cloud, warehouse) -> None:
    write_rows("rows", ["a", "b"])
    write_rows("stage", ["b", "c"])
    merged = warehouse.query(
        "MERGE audio.rows AS t USING audio.stage AS s ON t.clip_id = s.clip_id "
        "WHEN MATCHED THEN UPDATE SET embedding = s.embedding WHEN NOT MATCHED THEN INSERT ROW"
    )
    merged.result()
    assert merged.num_dml_affected_rows == 2
    rows = warehouse.query_and_wait("SELECT clip_id, embedding FROM audio.rows ORDER BY clip_id")
    assert [(row.clip_id, row.embedding) for row in rows] == [(c, [0.5] * 8) for c in "abc"]
    assert not cloud.refused


@NEEDS_BIGQUERY
def test_tables_are_partitioned_and_seen_through_views(warehouse) -> None:
    warehouse.query_and_wait("CREATE TABLE audio.days (clip_id STRING, day DATE) PARTITION BY day CLUSTER BY clip_id")
    warehouse.query_and_wait("INSERT audio.days VALUES ('a', '2026-01-01')")
    warehouse.query_and_wait("CREATE VIEW audio.latest AS SELECT MAX(day) AS day FROM audio.days")
    assert warehouse.get_table("audio.days").time_partitioning.field == "day"
    assert [str(row.day) for row in warehouse.query_and_wait("SELECT * FROM audio.latest")] == ["2026-01-01"]


@NEEDS_BIGQUERY
@pytest.mark.filterwarnings("ignore:Retrieving Arrow record batches:PendingDeprecationWarning")
def test_the_storage_interface_answers_through_the_proxy(cloud: Cloud, warehouse) -> None:
    warehouse.query_and_wait("CREATE TABLE audio.fast AS SELECT [1.0, 2.0] AS embedding")
    table = warehouse.get_table("audio.fast")
    assert warehouse.list_rows(table).to_arrow().to_pylist() == [{"embedding": [1.0, 2.0]}]
    assert "bigquerystorage.googleapis.com" in cloud.egress.opened


# --- Web servers ---


def test_a_file_is_served_whole_in_part_and_by_etag(web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"0123456789")
    with fetch(web, "/a.wav") as whole, fetch(web, "/a.wav", Range="bytes=2-4") as part:
        assert (whole.read(), part.read(), part.status) == (b"0123456789", b"234", 206)
        etag = whole.headers["ETag"]
    with pytest.raises(urllib.error.HTTPError, match="304") as unchanged:
        fetch(web, "/a.wav", **{"If-None-Match": etag})
    unchanged.value.close()


def test_redirects_slow_bodies_and_faults(web: WebServer) -> None:
    web.add("/there", slow(b"abcdef", piece_bytes=2, pause_s=0.01))
    web.add("/here", redirect("/there"))
    with fetch(web, "/here") as response:
        assert response.read() == b"abcdef"
    web.inject(path="/there", status=429, retry_after_s=1)
    with pytest.raises(urllib.error.HTTPError, match="429") as failure:
        fetch(web, "/there")
    failure.value.close()
    assert [request.path for request in web.requests] == ["/here", "/there", "/there"]


def test_an_endless_body_lasts_as_long_as_its_reader(web: WebServer) -> None:
    web.add("/endless", endless(b"x" * 1000))
    with fetch(web, "/endless") as response:
        assert len(response.read(100_000)) == 100_000


def test_a_stranger_does_not_trust_the_server(web: WebServer) -> None:
    web.add("/a", content(b"a"))
    nobody = urllib.request.HTTPSHandler(context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.build_opener(urllib.request.ProxyHandler({}), nobody).open(web.url("/a"))
