"""What a job leaves behind, left by the product's own commit, and the loopback cloud that launchers meet."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.deploy.dataflow_rest import DataflowRest, PubSub, Work
from tests.deploy.refresh_definition import VALUES
from tests.servers.cloud import Cloud, google_cloud
from tests.servers.egress import Route
from tests.servers.serving import serving
from transforms import errors, runs
from transforms.commit import RunInfo, commit
from transforms.stores import gcs
from transforms.writers import WrittenFile


@dataclass(frozen=True)
class Night:
    """The cloud, and what its Dataflow and Pub/Sub saw."""

    cloud: Cloud
    dataflow: DataflowRest
    pubsub: PubSub

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        """Lead this very process to the cloud, its own client of storage too, until the context ends."""
        with self.cloud.activate():
            gcs._client.cache_clear()
            yield
            gcs._client.cache_clear()


@contextlib.contextmanager
def services(*buckets: str, bigquery: bool = False) -> Iterator[Night]:
    """Run storage with these buckets, Dataflow and Pub/Sub, and BigQuery on request."""
    dataflow, pubsub = DataflowRest(work=commits), PubSub()
    with serving(dataflow) as dataflow_port, serving(pubsub) as pubsub_port:
        routes = {
            "dataflow.googleapis.com": Route(dataflow_port),
            "pubsub.googleapis.com": Route(pubsub_port),
        }
        with google_cloud(*buckets, bigquery=bigquery, routes=routes) as cloud:
            yield Night(cloud, dataflow, pubsub)


@contextlib.contextmanager
def night() -> Iterator[Night]:
    """Run storage, Dataflow and Pub/Sub; this process's own client of storage meets them, too."""
    with services(VALUES["dataset_bucket"]) as started, started.activate():
        yield started


def directory(request: dict[str, Any]) -> str:
    """Where the run of a launch request keeps its files."""
    parameters = request["launchParameter"]["parameters"]
    return runs.run_directory(parameters["output"], parameters["run_id"])


def job(*, listed: int, dead: int, attempt_id: str | None = None) -> Work:
    """A job that finds `dead` of its `listed` clips broken, the others unchanged, and commits."""

    def work(request: dict[str, Any]) -> str:
        parameters = request["launchParameter"]["parameters"]
        run = RunInfo(
            run_id=parameters["run_id"],
            attempt_id=attempt_id or uuid.uuid4().hex,
            directory=directory(request),
            started_at="2026-11-24T02:00:00.000+00:00",
            model_version="m",
            pipeline_version="p",
            settings={},
            max_failure_ratio=float(parameters["max_failure_ratio"]),
            clip_formats=("parquet",),
        )
        place = f"{run.directory}/letters"
        files = [WrittenFile("dead_letters", "jsonl", place, dead, 1), WrittenFile("index", "parquet", place, dead, 1)]
        try:
            commit(run, files, {"listed": listed, "dead": dead, "unchanged": listed - dead})
        except errors.CommitError:
            return "JOB_STATE_FAILED"
        return "JOB_STATE_DONE"

    return work


commits = job(listed=300, dead=6)
is_refused = job(listed=300, dead=30)


def fails(_request: dict[str, Any]) -> str:
    """A job that ends before its commit."""
    return "JOB_STATE_FAILED"


def cancelled_after_its_commit(request: dict[str, Any]) -> str:
    """A job that is cancelled when it has committed."""
    commits(request)
    return "JOB_STATE_CANCELLED"
