"""Flink and Google Cloud, for all tests of engines: they start once."""

from collections.abc import Iterator

import pytest

from tests.deploy import nights
from tests.deploy.nights import Night
from tests.engines.rehearsal import BUCKETS
from tests.servers.flink import Flink, flink

# A TaskManager that is gone is noticed in seconds, not in a minute.
QUICK = {"heartbeat.interval": "1000", "heartbeat.timeout": "10000"}
FRESH_METRICS = {"metrics.fetcher.update-interval": "0"}


@pytest.fixture(scope="session")
def services() -> Iterator[Night]:
    """What the nightly refresh meets, and all Python workers of `cluster`."""
    with nights.services(*BUCKETS) as started:
        yield started


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, services: Night) -> Iterator[Flink]:
    """A session cluster of two TaskManagers, whose Python workers know `services`; its logs stay if a test fails."""
    with flink(task_managers=2, settings=QUICK | FRESH_METRICS, env=services.cloud.env) as started:
        failed = request.session.testsfailed
        yield started
        started.cluster.programs.keep_logs = request.session.testsfailed > failed
