"""The refresh as the scheduler starts it, night after night over a bucket that changes, its jobs on Flink.

All is as it is deployed, on loopback: the workflow and the launch request of `deploy/`, storage, Dataflow's interface;
behind it `deploy/launch.py` runs with the parameters of the launch, and with Flink's flags where Dataflow's would be.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buckets import clip

from pipeline import run
from pipeline.dataset import Dataset
from tests.deploy import nights, workflow
from tests.deploy.nights import Night
from tests.deploy.refresh_definition import DEPLOY, VALUES, request
from tests.servers.flink import Flink
from transforms import runs

ROOT = Path(__file__).parents[2]
BUCKETS = "clips", VALUES["dataset_bucket"], VALUES["temp_bucket"]
DATASET = f"gs://{VALUES['dataset_bucket']}/dataset"
FIRST, SECOND, THIRD = "20261124", "20261125", "20261126"
COUNTS = "listed", "embedded", "dead", "unchanged", "deleted", "unchanged_dead"


@dataclass(frozen=True)
class Rehearsal:
    """The scheduler's world.

    Attributes:
      night: where the refresh meets Google.
      cluster: where it has its workers, who must be led there.
      with_bigquery: whether rows go to BigQuery too, as the definition says; they take twice the time on Flink.
      flags: more of Beam's.
      told: what the commands wrote.
    """

    night: Night
    cluster: Flink
    with_bigquery: bool = False
    flags: Sequence[str] = ()
    told: list[str] = field(default_factory=list)

    def three_nights(self) -> None:
        """Each night does what has changed since the last one, the third nothing, and a date is done once."""
        self.night.dataflow.work = self.work
        with self.night.activate():
            if self.with_bigquery:
                make_dataset()
            self._three_nights()
        assert not self.night.cloud.refused, "somebody asked a host that nobody should need"

    def _three_nights(self) -> None:
        store = self.night.cloud.gcs.store
        for number in range(50):
            store.write(uri(number), clip(number))
        assert self.refresh(FIRST)["counts"]["embedded"] == 50
        assert counts(FIRST) == (50, 50, 0, 0, 0, 0)
        assert self.cluster.newest_job["name"] == f"yamnet-refresh-{FIRST}"

        for number in range(50, 70):
            store.write(uri(number), clip(number))
        for number in range(10):
            store.write(uri(number), clip(number, version=1))
        for number in range(10, 15):
            store.delete(uri(number))
        for number in range(15, 18):
            store.write(uri(number), b"not a sound any more")
        second = self.refresh(SECOND)
        assert second["counts"] == {"listed": 65, "embedded": 30, "dead": 3, "unchanged": 32, "dead_ratio": 3 / 65}
        assert counts(SECOND) == (65, 30, 3, 32, 5, 0)
        assert manifest(SECOND)["planned"] == {"new": 20, "changed": 13, "stale": 0, "retry": 0, "forced": 0}
        assert sum(self.cluster.records("ReadClips")) == self.num_downloads == 33
        self.assert_each_clip_once()

        assert self.refresh(THIRD)["state"] == "committed"
        assert counts(THIRD) == (65, 0, 0, 65, 0, 3)
        assert self.cluster.newest_job["name"] == f"yamnet-refresh-{THIRD}"
        assert self.num_downloads == 0
        self.assert_each_clip_once()

        again = self.refresh(SECOND)
        assert again["reason"] == "it was committed before"
        assert again["counts"] == second["counts"]
        assert self.night.dataflow.launches == [request(date) for date in (FIRST, SECOND, THIRD)]
        told = [message["attributes"] for _, message in self.night.pubsub.published]
        assert told == [{"run_id": f"night-{date}", "state": "committed"} for date in (FIRST, SECOND, THIRD, SECOND)]

    def refresh(self, date: str) -> dict[str, Any]:
        """Start the workflow for a date, which must end well; return what it tells."""
        self.night.cloud.gcs.clear()
        ended = workflow.execute(self.night.cloud, {"date": date, "poll_s": 0.5})
        assert ended.result, "\n".join([ended.log, *self.told])
        return ended.result

    def work(self, launch: dict[str, Any]) -> str:
        """Do what Dataflow's launcher does in our image, on Flink; return the state in which the job ends."""
        asked = launch["launchParameter"]
        words = asked["parameters"] | {
            "job_name": asked["jobName"],
            "temp_location": asked["environment"]["tempLocation"],
        }
        if not self.with_bigquery:
            words["sink"] = "parquet"
            del words["bigquery_table"]
        command = [sys.executable, DEPLOY / "launch.py", *(f"--{name}={value}" for name, value in words.items())]
        ended = subprocess.run(
            [*command, *self.cluster.flags("EXTERNAL"), *self.flags],
            env=self.night.cloud.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.told.append(ended.stdout)
        return "JOB_STATE_DONE" if ended.returncode in (run.DONE, run.REFUSED) else "JOB_STATE_FAILED"

    @property
    def num_downloads(self) -> int:
        """How many clips were fetched since the newest start."""
        return sum("alt=media" in asked.target and ".wav" in asked.target for asked in self.night.cloud.gcs.requests)

    def assert_each_clip_once(self) -> None:
        """The 70 clips that were ever there have a row each: the deleted, and the broken as they were, too."""
        expected = [(uri(number), f"night-{SECOND if number < 10 or number >= 50 else FIRST}") for number in range(70)]
        rows = Dataset.open(DATASET).table(["uri", "run_id"]).to_pylist()
        assert sorted((row["uri"], row["run_id"]) for row in rows) == expected
        if self.with_bigquery:
            assert rows_of_bigquery() == expected


def uri(number: int) -> str:
    """Of a clip."""
    return f"gs://clips/night/ü {number:03}#.wav"


def manifest(date: str) -> dict[str, Any]:
    """What the run of a date has committed."""
    found = runs.manifest_of(nights.directory(request(date)))
    assert found is not None
    assert found["run_id"] == f"night-{date}"
    return found


def counts(date: str) -> tuple[int, ...]:
    """Those of a date's manifest."""
    return tuple(manifest(date)[word] for word in COUNTS)


def make_dataset() -> None:
    """Make BigQuery's dataset, as Terraform does."""
    from google.cloud.bigquery import Client

    with Client() as client:
        client.create_dataset(f"{VALUES['project']}.{VALUES['bigquery_dataset']}")


def rows_of_bigquery() -> list[tuple[str, str]]:
    """URI and run_id of every row."""
    from google.cloud.bigquery import Client

    with Client() as client:
        rows = client.query_and_wait(f"SELECT uri, run_id FROM {VALUES['bigquery_dataset']}.clips")
        return sorted((row["uri"], row["run_id"]) for row in rows)
