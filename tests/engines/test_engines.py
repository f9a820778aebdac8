"""The same command, the same rows: on the local runner, on Prism, and on two TaskManagers of Flink."""

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from results import Result

from pipeline import runners
from pipeline.options import EmbedOptions
from tests.engines.agreement import assert_agree
from tests.engines.collection import make
from tests.engines.command import embed, start
from tests.servers import flink, prism
from tests.servers.flink import Flink
from transforms import errors

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
    ended = start(clips, tmp_path, *cluster.flags("EXTERNAL"), *ROWS, "--run_id=night").wait(300)
    assert ended.code == 0, ended.stderr
    assert_agree(ended.result, expected)
    records = cluster.records("ReadClips")
    assert sum(records) == NUM_CLIPS
    assert len(records) == 2
    assert min(records) >= NUM_CLIPS // 4
    assert cluster.newest_job["name"] == "yamnet-beam-night"
    watch, works, *summary = ended.stdout.splitlines()
    assert watch == f"Watch run night at http://{cluster.cluster.address}: the job yamnet-beam-night"
    assert works == "It works in 2 slots of 2 TaskManagers."
    assert any(line.split() == ["embedded", str(NUM_CLIPS - 4)] for line in summary)


@NEEDS_FLINK
def test_a_job_whose_task_manager_is_killed_recovers_and_leaves_each_clip_once(
    clips: Path, expected: Result, cluster: Flink, tmp_path: Path
) -> None:
    running = start(clips, tmp_path, *cluster.flags("PROCESS"), *ROWS)
    victim = cluster.task_managers[0]
    running.wait_for_rows(victim)
    victim.program.kill()
    cluster.replace(victim)
    ended = running.wait(300)
    assert ended.code == 0, ended.stderr
    assert_agree(ended.result, expected)


@NEEDS_FLINK
def test_the_command_itself_can_be_the_worker_and_start_its_own_job_server(
    clips: Path, expected: Result, cluster: Flink, tmp_path: Path
) -> None:
    flags = cluster.flags("LOOPBACK", "FlinkRunner")
    ended = start(clips, tmp_path, *flags, "--parallelism=1", "--object_reuse", *ROWS).wait(300)
    assert ended.code == 0, ended.stderr
    assert_agree(ended.result, expected)
    # A flag that the job server alone knows has reached it.
    assert "For the job server, which ignores what it does not know: --object_reuse" in ended.stderr
    assert cluster.cluster.ask(f"/jobs/{cluster.newest_job['jid']}/config")["execution-config"]["object-reuse-mode"]


def prepare(*flags: str) -> tuple[runners.Runner, PipelineOptions]:
    options = EmbedOptions(input=("gs://in/*",), output="gs://out/d", model="gs://out/model", run_id="night")
    beam_options = PipelineOptions(list(flags))
    return runners.prepare(options, beam_options), beam_options


@NEEDS_FLINK
def test_what_does_not_fit_the_cluster_is_refused_before_it_is_sent(cluster: Flink) -> None:
    own = ["--runner=FlinkRunner", f"--flink_master={cluster.cluster.address}"]
    with pytest.raises(errors.UsageError, match=r"is Flink 1\.19\.3: add --flink_version=1\.19"):
        prepare(*own, "--environment_type=EXTERNAL", "--environment_config=localhost:50000")
    with pytest.raises(errors.UsageError, match=r"one worker, and .* has 2 TaskManagers.*add --parallelism=1"):
        prepare(*cluster.flags("LOOPBACK"))


@NEEDS_FLINK
def test_a_job_takes_all_slots_and_one_asking_for_more_is_told_so(cluster: Flink) -> None:
    _, beam_options = prepare(*cluster.flags("EXTERNAL"))
    assert beam_options.view_as(FlinkRunnerOptions).parallelism == 2
    runner, beam_options = prepare(*cluster.flags("EXTERNAL"), "--parallelism=8")
    assert beam_options.view_as(FlinkRunnerOptions).parallelism == 8
    assert any("--parallelism=8, and Flink has 2 slots: the job waits" in note for note in runner.notes)
