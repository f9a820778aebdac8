"""Google Cloud on loopback, with the product unpatched in this process."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from bigquery_tables import DATASET, Tables

from pipeline import run
from pipeline.options import EmbedOptions
from tests.servers import bigquery
from tests.servers.bigquery_faults import faulty_bigquery
from tests.servers.cloud import Cloud, google_cloud
from tests.servers.faults import Faults
from transforms import precision
from transforms.stores import gcs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever talks to BigQuery needs it."""
    needs = pytest.mark.needs(bigquery.unavailable())
    for item in items:
        if "all_bigquery_faults" in getattr(item, "fixturenames", ()):
            item.add_marker(needs)


@pytest.fixture(scope="session")
def services() -> Iterator[Cloud]:
    with google_cloud("clips", "out", bigquery=not bigquery.unavailable()) as cloud, cloud.activate():
        gcs._client.cache_clear()  # it may have met another cloud before
        yield cloud
    gcs._client.cache_clear()


@pytest.fixture
def cloud(services: Cloud) -> Iterator[Cloud]:
    services.gcs.clear()
    yield services
    services.gcs.clear()
    assert not services.refused, "the product asked a host that it should not need"


@pytest.fixture
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine, as if its processor were faster in bfloat16."""
    monkeypatch.setattr(precision, "bfloat16_speedup", lambda: 2.0)


@pytest.fixture(scope="session")
def all_bigquery_faults(services: Cloud) -> Iterator[Faults]:
    with faulty_bigquery(services) as faults:
        yield faults


@pytest.fixture
def tables(all_bigquery_faults: Faults, cloud: Cloud) -> Iterator[Tables]:
    """An empty dataset of BigQuery."""
    from google.cloud import bigquery as library

    all_bigquery_faults.clear()
    with contextlib.closing(library.Client()) as client:
        client.create_dataset(DATASET, exists_ok=True)
        yield Tables(client, all_bigquery_faults)
        all_bigquery_faults.clear()
        client.delete_dataset(DATASET, delete_contents=True)


@pytest.fixture
def embed(model_directory: str) -> Callable[..., int]:
    """Runs the command and returns its exit code."""

    def call(inputs: Sequence[str], output: str, *, beam: Sequence[str] = (), **settings: Any) -> int:
        settings = {"model": model_directory, **settings}
        return run.embed(EmbedOptions(input=tuple(inputs), output=output, **settings), beam)

    return call
