"""Flink, for all tests of engines: it starts once."""

from collections.abc import Iterator

import pytest

from tests.servers.flink import Flink, flink

# A TaskManager that is gone is noticed in seconds, not in a minute.
QUICK = {"heartbeat.interval": "1000", "heartbeat.timeout": "10000"}
FRESH_METRICS = {"metrics.fetcher.update-interval": "0"}


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Flink]:
    """A session cluster of two TaskManagers; its logs stay if a test fails."""
    with flink(task_managers=2, settings=QUICK | FRESH_METRICS) as started:
        failed = request.session.testsfailed
        yield started
        started.cluster.programs.keep_logs = request.session.testsfailed > failed
