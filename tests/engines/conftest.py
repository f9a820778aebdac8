"""Flink, for all tests of engines: it starts once."""

from collections.abc import Iterator

import pytest

from tests.servers.flink import Flink, flink

# A TaskManager that is gone is noticed in seconds, not in a minute.
QUICK = {"heartbeat.interval": "1000", "heartbeat.timeout": "10000"}
FRESH_METRICS = {"metrics.fetcher.update-interval": "0"}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Flink]:
    """A session cluster of two TaskManagers."""
    with flink(task_managers=2, settings=QUICK | FRESH_METRICS) as started:
        yield started
