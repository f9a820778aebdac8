"""The large case, for `make soak`: 300 mixed clips, 30 of them broken, one a recording of 20 minutes.

Besides what test_engines.py shows on few: a job that nobody restarts fails whole, and the same command does the work.
"""

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from results import Result

from tests.deploy import nights, workflow
from tests.engines.agreement import assert_agree, assert_whole
from tests.engines.collection import make
from tests.engines.command import embed, start
from tests.engines.conftest import FRESH_METRICS, QUICK
from tests.engines.rehearsal import BUCKETS, Rehearsal
from tests.servers import bigquery, flink, prism
from tests.servers.flink import Flink

pytestmark = [pytest.mark.slow, pytest.mark.needs(flink.unavailable()), pytest.mark.needs(prism.unavailable())]
NUM_CLIPS, NUM_BROKEN = 300, 30
RECORDING_S = 1200.0
SECONDS = 900


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soak") / "clips"
    return make(folder, num_clips=NUM_CLIPS, num_broken=NUM_BROKEN, recording_s=RECORDING_S)


@pytest.fixture(scope="module")
def expected(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return embed(clips, tmp_path_factory.mktemp("expected"), "--runner=FnApiRunner", seconds=SECONDS)


@pytest.fixture(scope="module")
def fragile() -> Iterator[Flink]:
    """A cluster that restarts no job."""
    settings = {"restart-strategy.type": "none"}
    with flink.flink(task_managers=2, settings=QUICK | FRESH_METRICS | settings) as started:
        yield started


def test_the_local_runner_embeds_all_but_the_broken(expected: Result) -> None:
    counts = [expected.manifest[word] for word in ("listed", "embedded", "dead")]
    assert counts == [NUM_CLIPS, NUM_CLIPS - NUM_BROKEN, NUM_BROKEN]
    assert 2499 in expected.table()["num_patches"].to_pylist()  # 1 + ceil((1200 s - 0.975 s) / 0.48 s)


def test_prism_agrees(clips: Path, expected: Result, tmp_path: Path) -> None:
    assert_agree(embed(clips, tmp_path, *prism.flags(), seconds=SECONDS), expected)


def test_two_task_managers_agree_and_share_the_work(
    clips: Path, expected: Result, cluster: Flink, tmp_path: Path
) -> None:
    result = embed(clips, tmp_path, *cluster.flags("EXTERNAL"), seconds=SECONDS)
    assert_agree(result, expected)
    records = cluster.records("ReadClips")
    assert sum(records) == NUM_CLIPS
    assert len(records) == 2
    assert min(records) >= NUM_CLIPS // 4


def test_a_job_whose_task_manager_is_killed_recovers(
    clips: Path, expected: Result, cluster: Flink, tmp_path: Path
) -> None:
    running = start(clips, tmp_path, *cluster.flags("PROCESS"))
    victim = cluster.task_managers[0]
    running.wait_for_rows(victim)
    victim.program.kill()
    cluster.replace(victim)
    ended = running.wait(SECONDS)
    assert ended.code == 0, ended.stderr
    assert_agree(ended.result, expected)


def test_a_job_that_is_not_restarted_fails_whole_and_the_same_command_does_the_work(
    clips: Path, expected: Result, fragile: Flink, tmp_path: Path
) -> None:
    command = *fragile.flags("EXTERNAL"), "--run_id=night"
    running = start(clips, tmp_path, *command)
    victim = fragile.task_managers[0]
    running.wait_for_rows(victim)
    victim.program.kill()
    failed = running.wait(SECONDS)
    assert failed.code == 1
    assert "the job failed: " in failed.stderr
    assert "a TaskManager is gone" in failed.stderr, failed.stderr
    assert "Nothing of run night counts; run the command again" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.glob("run=*/_SUCCESS"))
    fragile.replace(victim)
    again = start(clips, tmp_path, *command).wait(SECONDS)
    assert again.code == 0, again.stderr
    assert_agree(again.result, expected)


def test_a_damaged_model_is_named_as_it_is_at_home(fragile: Flink, model_directory: str, tmp_path: Path) -> None:
    few = make(tmp_path / "few", num_clips=3, num_broken=1, recording_s=2.0)
    model = tmp_path / "model"
    shutil.copytree(model_directory, model)
    card = json.loads((model / "model.json").read_text())
    card["golden"]["Silence"]["scores"][0] += 0.01
    (model / "model.json").write_text(json.dumps(card))
    ended = start(few, tmp_path / "dataset", *fragile.flags("EXTERNAL"), f"--model={model}").wait(SECONDS)
    assert ended.code == 1
    assert ended.stderr.startswith("yamnet-beam embed: the model gives other answers than it should")
    assert len(ended.stderr.splitlines()) == 1


def test_a_job_commits_without_the_process_that_sent_it(cluster: Flink, tmp_path: Path) -> None:
    few = make(tmp_path / "few", num_clips=12, num_broken=1, recording_s=60.0)
    running = start(few, tmp_path / "dataset", *cluster.flags("EXTERNAL"), "--run_id=night")
    running.wait_for_rows(cluster.task_managers[0])
    running.process.send_signal(signal.SIGINT)
    ended = running.wait(60)
    assert ended.code == 130
    assert "The job of run night goes on, and commits" in ended.stderr
    deadline = time.monotonic() + SECONDS
    while cluster.newest_job["state"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(1)
    assert ended.result.is_committed
    assert_whole(ended.result)


@pytest.mark.needs(workflow.unavailable())
@pytest.mark.needs(bigquery.unavailable())
def test_three_nights_leave_each_clip_once_in_bigquery_too() -> None:
    with (
        nights.services(*BUCKETS, bigquery=True) as services,
        flink.flink(task_managers=2, settings=FRESH_METRICS, env=services.cloud.env) as started,
    ):
        Rehearsal(services, started, with_bigquery=True).three_nights()
