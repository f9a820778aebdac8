"""Google Cloud on loopback, with the product unpatched in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import sounds

from pipeline import run
from pipeline.options import EmbedOptions
from tests.servers import bigquery
from tests.servers.cloud import Cloud, google_cloud
from transforms.stores import gcs


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
def embed(model_directory: str) -> Callable[..., int]:
    """Runs the command and returns its exit code."""

    def call(inputs: Sequence[str], output: str, *, beam: Sequence[str] = (), **settings: Any) -> int:
        return run.embed(EmbedOptions(input=tuple(inputs), output=output, model=model_directory, **settings), beam)

    return call


def clip(number: int, version: int = 0) -> bytes:
    """A short clip; the bytes of every number and version differ."""
    return sounds.sound_file(sounds.noise(0.2 + 0.01 * (number % 7), 16_000, seed=1000 * version + number))
