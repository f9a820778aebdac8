"""The same command, the same rows: on the local runner, on Prism, and on two TaskManagers of Flink."""

from pathlib import Path

import pytest
from results import Result

from tests.engines.agreement import assert_agree
from tests.engines.collection import make
from tests.engines.command import embed, start
from tests.servers import flink, prism
from tests.servers.flink import Flink

pytestmark = pytest.mark.slow
NEEDS_FLINK = pytest.mark.needs(flink.unavailable())
NEEDS_PRISM = pytest.mark.needs(prism.unavailable())
NUM_CLIPS = 40
ROWS = "--rows=both", "--sink=parquet,tfrecord"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("engines") / "clips", num_clips=NUM_CLIPS, num_broken=4, recording_s=180.0)


@pytest.fixture(scope="module")
def expected(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    result = embed(clips, tmp_path_factory.mktemp("expected"), "--runner=FnApiRunner", *ROWS)
    assert [result.manifest[word] for word in ("listed", "embedded", "dead")] == [NUM_CLIPS, NUM_CLIPS - 4, 4]
    return result


@NEEDS_PRISM
def test_prism_leaves_what_the_local_runner_leaves(clips: Path, expected: Result, tmp_path: Path) -> None:
    assert_agree(embed(clips, tmp_path, *prism.flags(), *ROWS), expected)


@NEEDS_FLINK
def test_two_task_managers_share_the_clips_and_leave_what_the_local_runner_leaves(
    clips: Path, expected: Result, cluster: Flink, tmp_path: Path
) -> None:
    result = embed(clips, tmp_path, *cluster.flags("EXTERNAL"), "--parallelism=2", *ROWS)
    assert_agree(result, expected)
    records = cluster.records("ReadClips")
    assert sum(records) == NUM_CLIPS
    assert len(records) == 2
    assert min(records) >= NUM_CLIPS // 4


@NEEDS_FLINK
def test_a_job_whose_task_manager_is_killed_recovers_and_leaves_each_clip_once(
    clips: Path, expected: Result, cluster: Flink, tmp_path: Path
) -> None:
    running = start(clips, tmp_path, *cluster.flags("PROCESS"), "--parallelism=2", *ROWS)
    victim = cluster.task_managers[0]
    running.wait_for_rows(victim)
    victim.program.kill()
    cluster.replace(victim)
    ended = running.wait(300)
    assert ended.code == 0, ended.stderr
    assert_agree(ended.result, expected)
    assert cluster.newest_job["state"] == "FINISHED"


@NEEDS_FLINK
def test_the_command_itself_can_be_the_worker(clips: Path, expected: Result, cluster: Flink, tmp_path: Path) -> None:
    assert_agree(embed(clips, tmp_path, *cluster.flags("LOOPBACK"), "--parallelism=1", *ROWS), expected)
