"""Dataflow: the job that is sent, what is refused before, what people are told; and the sent graph does the work."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import sounds
from google.cloud import dataflow_v1beta3 as api

from pipeline import run
from pipeline.__main__ import main
from pipeline.dataset import Dataset
from tests.servers import dataflow as fake
from tests.servers.cloud import Cloud
from tests.servers.dataflow import Dataflow, SentJob
from tests.servers.egress import Route
from transforms import runs
from transforms.dead_letters import DEAD

pytestmark = pytest.mark.slow

IMAGE = "europe-west4-docker.pkg.dev/test-project/audio/yamnet-beam:0.1.0"
PLACE = ["--runner=DataflowRunner", "--project=test-project", "--region=europe-west4", "--temp_location=gs://out/tmp"]
BASE = [*PLACE, f"--sdk_container_image={IMAGE}", "--max_num_workers=20"]
NO_WAIT = "--no_wait_until_finish"


@pytest.fixture(scope="module")
def only_service(services: Cloud) -> Iterator[Dataflow]:
    with fake.dataflow() as service:
        services.egress.routes[fake.HOST] = Route(service.port, "h2")
        yield service
        del services.egress.routes[fake.HOST]


@pytest.fixture
def service(only_service: Dataflow) -> Iterator[Dataflow]:
    only_service.clear()
    only_service.run = fake.idle
    yield only_service
    only_service.clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam asks a job every 5 s how it is; here a hundred times as often."""
    from apache_beam.runners.dataflow import dataflow_runner

    clock = types.SimpleNamespace(
        time=dataflow_runner.time.time, sleep=lambda s, sleep=dataflow_runner.time.sleep: sleep(s / 100)
    )
    monkeypatch.setattr(dataflow_runner, "time", clock)


def embed(name: str, *flags: str, base: list[str] = BASE) -> int:
    return main(["embed", f"--input=gs://clips/{name}/*.wav", f"--output=gs://out/{name}", *base, *flags])


@pytest.fixture(scope="module")
def sent(services: Cloud, only_service: Dataflow) -> SentJob:
    """A job with every flag that an operator may set."""
    only_service.clear()
    only_service.run = fake.idle
    code = embed(
        "every-flag", "--run_id=2026-11-24", "--sink=parquet,tfrecord,bigquery", "--rows=both", NO_WAIT,
        "--bigquery_table=test-project:audio.clips",
        "--staging_location=gs://out/stage", "--machine_type=c3-standard-8", "--num_workers=3", "--disk_size_gb=80",
        "--worker_disk_type=compute.googleapis.com/projects//zones//diskTypes/pd-ssd",
        "--service_account_email=worker@test-project.iam.gserviceaccount.com", "--labels=team=audio",
        "--subnetwork=regions/europe-west4/subnetworks/private", "--no_use_public_ips",
        "--flexrs_goal=COST_OPTIMIZED", "--number_of_worker_harness_threads=2",
        "--dataflow_kms_key=projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k",
        "--experiments=enable_always_on_exception_sampling",
    )  # fmt: skip
    assert code == run.DONE
    (job,) = only_service.jobs
    return job


def test_the_job_is_what_the_flags_say(sent: SentJob, services: Cloud) -> None:
    job, pool, environment = sent.sent, sent.pool, sent.sent.environment
    assert (sent.request.project_id, sent.request.location) == ("test-project", "europe-west4")
    assert job.type_ == api.JobType.JOB_TYPE_BATCH
    assert dict(environment.version)["job_type"] == "FNAPI_BATCH"
    assert re.fullmatch(r"yamnet-beam-2026-11-24-[0-9a-f]{8}", job.name)
    assert dict(job.labels) == {
        "team": "audio", "yamnet-beam-run-id": "2026-11-24", "yamnet-beam-version": "0-1-0",
    }  # fmt: skip
    assert [image.container_image for image in pool.sdk_harness_container_images] == [IMAGE]
    assert all(image.use_single_core_per_container for image in pool.sdk_harness_container_images)
    assert pool.worker_harness_container_image == IMAGE
    assert pool.machine_type == "c3-standard-8"
    assert (pool.num_workers, pool.autoscaling_settings.max_num_workers) == (3, 20)
    assert (pool.disk_size_gb, pool.disk_type.rpartition("/")[2]) == (80, "pd-ssd")
    assert pool.num_threads_per_worker == 2
    assert pool.subnetwork == "regions/europe-west4/subnetworks/private"
    assert pool.ip_configuration == api.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert environment.service_account_email == "worker@test-project.iam.gserviceaccount.com"
    assert environment.service_kms_key_name == "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
    assert environment.flex_resource_scheduling_goal == api.FlexResourceSchedulingGoal.FLEXRS_COST_OPTIMIZED
    assert set(environment.experiments) == {
        "beam_fn_api", "use_unified_worker", "use_runner_v2", "use_portable_job_submission",
        "use_multiple_sdk_containers", "enable_always_on_exception_sampling",
    }  # fmt: skip
    assert environment.temp_storage_prefix.startswith(f"storage.googleapis.com/out/tmp/{job.name}.")
    assert sent.options["staging_location"].startswith(f"gs://out/stage/{job.name}.")
    assert not sent.options["streaming"]
    assert not job.replace_job_id


def test_workers_get_the_graph_and_no_code(sent: SentJob, services: Cloud) -> None:
    packages = {package.name: package.location for package in sent.pool.packages}
    assert set(packages) == {"submission_environment_dependencies.txt"}  # a list, for the job's page
    folder = sent.options["staging_location"]
    assert packages["submission_environment_dependencies.txt"].startswith(
        folder.replace("gs:/", "storage.googleapis.com")
    )
    held = {uri.rpartition("/")[2] for uri in services.gcs.store.uris(f"{folder}/")}
    assert held == {"pipeline.pb", *packages}
    assert not sent.options["save_main_session"]


@pytest.fixture(scope="module")
def pipeline(sent: SentJob, services: Cloud) -> Any:
    return fake.graph(sent, services.gcs.store)


@pytest.fixture(scope="module")
def fused(pipeline: Any) -> Any:
    """The stage that reads clips, after Beam's own fusion of the graph that was sent."""
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    context, stages = FnApiRunner().create_stages(pipeline)
    del context
    (stage,) = (stage for stage in stages if any("ReadClips/Fetch" in step.unique_name for step in stage.transforms))
    return stage


WAVEFORMS = ("ReadClips/Fetch", "DecodeClips", "EmbedSegments/RunInference/BatchElements")


def test_all_from_reading_to_the_rows_is_one_stage(fused: Any) -> None:
    steps = [step.unique_name for step in fused.transforms]
    for verb in (
        *WAVEFORMS,
        "EmbedSegments/RunInference/BeamML_RunInference",
        "PoolClips/PoolWhole",
        "ScoreClips/Score0",
    ):
        assert any(step.startswith(verb) for step in steps), f"{verb} is in another stage"
    for kind in ("clips_parquet", "clips_tfrecord", "patches_parquet", "patches_tfrecord"):
        assert any(step.startswith(f"Write_{kind}/WriteBundle0") for step in steps), f"{kind} is written elsewhere"
    assert steps[0].startswith("ReadClips/Spread"), "the stage reads from the shuffle of URIs"


def test_no_waveform_leaves_that_stage(fused: Any) -> None:
    """Whatever is made of what the reader reads is a waveform, up to the network; but for the dead letters."""
    from apache_beam.runners.worker.bundle_processor import DATA_OUTPUT_URN

    waveforms: set[str] = set()
    for step in fused.transforms:  # in the order of the graph
        comes_in = waveforms & set(step.inputs.values()) or step.unique_name.startswith("ReadClips/Fetch")
        if comes_in and not step.unique_name.startswith("EmbedSegments/RunInference/BeamML_RunInference"):
            waveforms |= {collection for tag, collection in step.outputs.items() if tag != DEAD}
    leaving = {
        source for step in fused.transforms if step.spec.urn == DATA_OUTPUT_URN for source in step.inputs.values()
    }
    assert leaving, "the stage writes nothing"
    assert not waveforms & leaving
    assert len(waveforms) == len(WAVEFORMS)


def test_the_graph_is_small(sent: SentJob, pipeline: Any) -> None:
    """Dataflow takes requests of up to 20 MB; the graph is staged beside it."""
    assert len(api.CreateJobRequest.serialize(sent.request)) < 50_000
    assert pipeline.ByteSize() < 1_000_000
    assert len(pipeline.components.transforms) < 400


def test_a_profile_sets_what_is_not_given(cloud: Cloud, service: Dataflow, capsys: pytest.CaptureFixture[str]) -> None:
    base = [*PLACE[1:], f"--sdk_container_image={IMAGE}", NO_WAIT]
    assert embed("profile", "--profile=dataflow-large", base=base) == run.DONE
    assert (
        embed("profile", "--profile=dataflow-small", "--max_num_workers=3", "--use_public_ips", base=base) == run.DONE
    )
    large, small = (job.pool for job in service.jobs)
    assert (large.machine_type, large.autoscaling_settings.max_num_workers) == ("c3-standard-8", 125)
    assert large.ip_configuration == api.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert (small.machine_type, small.autoscaling_settings.max_num_workers) == ("n2-standard-4", 3)
    assert small.ip_configuration == api.WorkerIPAddressConfiguration.WORKER_IP_PUBLIC
    for pool in (large, small):
        assert pool.autoscaling_settings.algorithm == api.AutoscalingAlgorithm.AUTOSCALING_ALGORITHM_BASIC
        assert (pool.num_threads_per_worker, pool.disk_size_gb) == (2, 50)
    said = capsys.readouterr().out
    assert "--profile=dataflow-large sets, unless given: --autoscaling_algorithm=THROUGHPUT_BASED" in said
    assert said.count("Private Google Access") == 1


REFUSED = [
    ([], ["--sdk_container_image"], "--sdk_container_image=IMAGE is missing: .*docker build --file deploy/Dockerfile"),
    ([], ["--project"], "--project=MY-PROJECT is missing"),
    ([], ["--region"], "--region=REGION is missing"),
    ([], ["--temp_location"], "--temp_location=gs://BUCKET/tmp is missing"),
    ([], ["--max_num_workers"], "--max_num_workers=N is missing"),
    (["--project=12345"], [], "--project=12345: give the project's id"),
    (["--region=europe-west4-a"], [], "--region=europe-west4-a: give a region.*--worker_zone"),
    (["--region=Europe"], [], "--region=Europe: give a region"),
    (["--temp_location=/tmp/x"], [], "--temp_location=/tmp/x: give a folder in a bucket"),
    (["--temp_location=gs://out"], [], "--temp_location=gs://out: give a folder in a bucket"),
    (["--staging_location=s3://b/x"], [], "--staging_location=s3://b/x: give a folder in a bucket"),
    (["--job_name=Night_1"], [], "--job_name=Night_1: use small letters"),
    (["--service_account_email=worker"], [], "--service_account_email=worker: give its address"),
    (["--labels=Team=audio"], [], "--labels: 'Team' may hold small letters"),
    (['--labels={"team": "Audio Lab"}'], [], "--labels: 'Audio Lab' may hold small letters"),
    (["--max_num_workers=0"], [], "--max_num_workers=0: it must be 1 or more"),
    (["--num_workers=30"], [], "--num_workers=30 is more than --max_num_workers=20"),
    (["--max_num_workers=many"], [], "--max_num_workers: invalid int value: 'many'"),
    (["--no_use_public_ips=maybe"], [], "'maybe' is neither true nor false"),
    (["--use_public_ips", "--no_use_public_ips"], [], "contradict each other: give one"),
    (["--use_public_ips", "--no_use_public_ips=true"], [], "contradict each other: give one"),
    (["--subnetwork=private"], [], "--subnetwork=private: give regions/REGION/subnetworks/NAME"),
    (["--subnetwork=regions/us-east1/subnetworks/a"], [], "--subnetwork=.* is not in --region=europe-west4"),
    (["--worker_zone=us-east1-b"], [], "--worker_zone=us-east1-b is not in --region=europe-west4"),
    (["--worker_region=us-east1"], [], "--worker_region=us-east1 is not in --region=europe-west4"),
    (["--worker_region=europe-west4", "--worker_zone=europe-west4-a"], [], "contradict each other: give one"),
    (["--zone=europe-west4-a"], [], "--zone=europe-west4-a is the old name of --worker_zone"),
    (["--dataflow_kms_key=my-key"], [], "--dataflow_kms_key=my-key: give projects/PROJECT/locations/REGION"),
    (["--dataflow_kms_key=projects/p/locations/global/keyRings/r/cryptoKeys/k"], [], "is not in --region=europe-west4"),
    (["--flexrs_goal=COST_OPTIMIZED", "--autoscaling_algorithm=NONE"], [], "scales by itself"),
    (["--machine_type=e2-small"], [], "--machine_type=e2-small shares a core"),
    (["--machine_type=c4a-standard-4"], [], "--machine_type=c4a-standard-4 is Arm, for which tfx-bsl has no wheels"),
    (["--dataflow_service_options=enable_prime", "--machine_type=n2-standard-4"], [], "Prime chooses machines itself"),
    (["--experiments=disable_runner_v2"], [], "Beam's Python needs runner v2"),
    (["--sdk_container_image=apache/beam_python3.11_sdk:2.77.0"], [], "is Beam's own: workers need this package"),
    (["--sdk_container_image=yamnet-beam:1"], [], "names no registry"),
    (["--worker_harness_container_image=a/b:1"], ["--sdk_container_image"], "the old name of --sdk_container_image"),
    (["--environment_type=LOOPBACK"], [], "--environment_type=LOOPBACK: Dataflow's workers are containers"),
    (["--update"], [], "--update is for jobs without an end"),
    (["--update=true"], [], "--update is for jobs without an end"),
    (["--streaming"], [], "--streaming: a run has an end"),
    (["--save_main_session"], [], "--save_main_session: workers import this package"),
    (["--dry_run=True"], [], "--dry_run is for tests of Beam"),
    (["--shared_filesystem"], [], "--shared_filesystem: Dataflow's workers share no file system"),
    (["--output=here"], [], r"--output=.*/here is on this machine, and .*: give a bucket \(gs://\.\.\.\)$"),
    (["--input=here/*.wav"], [], r"--input=here/\*.wav is on this machine"),
    (["--model={copy}"], [], "the model .* is on this machine.*model fetch --output gs://"),
    (["--profile=dataflow-large", "--runner=FlinkRunner"], [], "--profile=dataflow-large is for DataflowRunner"),
    (["--max_workers=3"], [], "unknown flag --max_workers; did you mean --max_num_workers"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "without", "words"), REFUSED, ids=[" ".join(more) or f"no {less[0]}" for more, less, _ in REFUSED]
)
def test_what_cannot_work_is_refused_and_never_reaches_the_service(
    *,
    cloud: Cloud,
    service: Dataflow,
    capsys: pytest.CaptureFixture[str],
    model_directory: str,
    tmp_path: Path,
    more: list[str],
    without: list[str],
    words: str,
) -> None:
    copy = tmp_path / "model"
    copy.symlink_to(model_directory)
    before = cloud.gcs.store.uris("gs://out/")
    base = [flag for flag in BASE if flag.partition("=")[0] not in without]
    assert (
        embed("refused", *(flag.format(copy=copy) if "{copy}" in flag else flag for flag in more), base=base)
        == run.USAGE
    )
    assert re.search(words, capsys.readouterr().err)
    assert not service.calls
    assert cloud.gcs.store.uris("gs://out/") == before, "something was staged"


def write_clips(cloud: Cloud, name: str) -> None:
    """Five clips, one of them broken, and a recording of more than one segment."""
    for number in range(4):
        cloud.gcs.store.write(
            f"gs://clips/{name}/{number}.wav", sounds.sound_file(sounds.noise(0.5, 16_000, seed=number))
        )
    cloud.gcs.store.write(f"gs://clips/{name}/broken.wav", b"not a sound")
    cloud.gcs.store.write(f"gs://clips/{name}/long.wav", sounds.sound_file(sounds.noise(40.0, 16_000, seed=9)))


@contextlib.contextmanager
def started(cloud: Cloud, name: str, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, as from a shell, until the context ends."""
    words = [sys.executable, "-m", "pipeline", "embed", f"--input=gs://clips/{name}/*.wav", f"--output=gs://out/{name}"]
    command = [*words, *BASE, *flags]
    with subprocess.Popen(
        command, env=cloud.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rows(dataset: str) -> dict[str, Any]:
    """By URI, the scores of a clip."""
    table = Dataset.open(dataset).table(["uri", "scores"])
    return dict(zip(table["uri"].to_pylist(), table["scores"].to_pylist(), strict=True))


def test_the_graph_that_was_sent_makes_the_dataset_that_a_local_run_makes(
    cloud: Cloud, service: Dataflow, tmp_path: Path
) -> None:
    """The launcher is another process: the service's workers know the staged graph and nothing else."""
    write_clips(cloud, "whole")
    service.run = lambda job: fake.execute(job, cloud.gcs.store)
    with started(cloud, "whole", "--run_id=night-1", "--profile=dataflow-small") as launcher:
        watch = [launcher.stdout.readline() for _ in range(3)] if launcher.stdout else []
        said, complained = launcher.communicate(timeout=300)
    (job,) = service.jobs
    where = f"https://console.cloud.google.com/dataflow/jobs/europe-west4/{job.job_id}?project=test-project"
    assert watch[1] == f"Watch run night-1 at {where}\n"
    assert (
        watch[2]
        == f"To end it: gcloud dataflow jobs cancel {job.job_id} --region=europe-west4 --project=test-project\n"
    )
    assert launcher.returncode == run.DONE, complained
    assert [line.split() for line in said.splitlines()[:5]] == [
        ["listed", "6"], ["embedded", "5"], ["dead", "1"], ["unknown_format", "1"], ["unchanged", "0"],
    ]  # fmt: skip
    assert "INFO" not in complained
    assert "Traceback" not in complained

    local = ["--runner=FnApiRunner"]
    assert main(["embed", "--input=gs://clips/whole/*.wav", f"--output={tmp_path}/local", *local]) == run.DONE
    far, near = rows("gs://out/whole"), rows(f"{tmp_path}/local")
    assert sorted(far) == sorted(near)
    for uri, scores in far.items():
        np.testing.assert_allclose(scores, near[uri], atol=1e-6)
    (committed,) = runs.committed("gs://out/whole")
    settings = committed.manifest["settings"]
    assert settings["profile"] == "dataflow-small"
    assert settings["beam"]["machine_type"] == "n2-standard-4"
    assert settings["beam"]["max_num_workers"] == 20
    assert settings["beam"]["job_name"] == job.sent.name


def test_an_interrupt_stops_waiting_and_not_the_job(cloud: Cloud, service: Dataflow) -> None:
    with started(cloud, "interrupted") as launcher:
        assert launcher.stdout
        watch = launcher.stdout.readline() + launcher.stdout.readline()
        (job,) = service.jobs
        launcher.send_signal(signal.SIGINT)
        _, complained = launcher.communicate(timeout=60)
    assert launcher.returncode == 130
    assert job.job_id in watch
    assert f"the job goes on: https://console.cloud.google.com/dataflow/jobs/europe-west4/{job.job_id}" in complained
    assert f"To end it: gcloud dataflow jobs cancel {job.job_id}" in complained
    assert "nothing is committed" not in complained
    assert job.state == api.JobState.JOB_STATE_RUNNING


def test_a_job_that_fails_of_our_own_error_says_it_with_the_link(
    cloud: Cloud, service: Dataflow, impatient: None, capsys: pytest.CaptureFixture[str], model_directory: str
) -> None:
    write_clips(cloud, "no-model")
    for name in os.listdir(model_directory):
        cloud.gcs.store.write(f"gs://out/models/{name}", (Path(model_directory) / name).read_bytes())

    def run_without_model(job: SentJob) -> None:
        for uri in cloud.gcs.store.uris("gs://out/models/"):
            cloud.gcs.store.delete(uri)
        fake.execute(job, cloud.gcs.store)

    service.run = run_without_model
    assert embed("no-model", "--model=gs://out/models") == run.FAILED
    complained = capsys.readouterr().err
    assert "yamnet-beam embed: this worker has no model" in complained
    assert "Put it where workers can read it: python -m pipeline model fetch" in complained
    assert f"Job {service.jobs[0].job_id}: https://console.cloud.google.com/dataflow/jobs/" in complained
    assert not runs.committed("gs://out/no-model")


def fails(job: SentJob) -> None:
    raise MemoryError("the worker lost contact with the service")


def is_cancelled(job: SentJob) -> None:
    job.end(api.JobState.JOB_STATE_CANCELLED)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (fails, "the job ended as FAILED; nothing of this run counts.*lost contact with the service"),
        (is_cancelled, "the job was cancelled; nothing of this run counts"),
    ],
)
def test_a_job_that_ends_otherwise_is_an_error_with_the_link(
    *,
    cloud: Cloud,
    service: Dataflow,
    impatient: None,
    capsys: pytest.CaptureFixture[str],
    ends: Callable[[SentJob], None],
    words: str,
) -> None:
    service.run = ends
    assert embed("ends") == run.FAILED
    complained = capsys.readouterr().err
    assert re.search(words, complained)
    assert f"Job {service.jobs[0].job_id}: https://console.cloud.google.com/dataflow/jobs/" in complained


def test_a_run_that_is_started_twice_is_done_once(
    cloud: Cloud, service: Dataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed("twice", "--run_id=2026-11-24", NO_WAIT) == run.DONE
    said = capsys.readouterr().out
    assert "when it has ended, gs://out/twice/run=2026-11-24/manifest.json tells" in said
    assert "Then: yamnet-beam info gs://out/twice" in said
    assert embed("twice", "--run_id=2026-11-24", NO_WAIT) == run.FAILED
    (job,) = service.jobs
    assert re.search(f"this run is under way: .*{job.job_id}", capsys.readouterr().err)


def test_a_service_that_refuses_is_quoted_with_the_roles_that_are_missing(
    cloud: Cloud, service: Dataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    service.refusal = grpc.StatusCode.PERMISSION_DENIED, "(1a2b): dataflow.jobs.create is missing"
    assert embed("forbidden", NO_WAIT) == run.FAILED
    complained = capsys.readouterr().err
    assert "Dataflow refused the job: 403 (1a2b): dataflow.jobs.create is missing" in complained
    assert "roles/dataflow.developer" in complained
    assert "roles/iam.serviceAccountUser" in complained


@pytest.mark.parametrize("flag", ["--temp_location", "--staging_location"])
def test_a_folder_that_cannot_be_written_is_named_at_once(
    cloud: Cloud, service: Dataflow, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert embed("nowhere", f"{flag}=gs://missing/place") == run.USAGE
    assert f"{flag}=gs://missing/place: there is no such bucket" in capsys.readouterr().err
    cloud.gcs.inject(method="POST", path="upload/storage/v1/b/out", status=403, times=None)
    assert embed("nowhere", f"{flag}=gs://out/forbidden") == run.FAILED
    assert "storage.objects.create on the bucket out" in capsys.readouterr().err
    assert not service.calls


# As the launcher of a Flex Template writes them: name=value, in the order of the names, what is not set empty. It adds
# labels, the job's name, the place for the job, and what the caller's runtime environment says.
LAUNCHER = [
    "--disk_size_gb=60",
    "--force=true",
    "--input=gs://clips/template/*.wav",
    "--job_name=yamnet-beam-nightly",
    '--labels={\n   "goog-dataflow-provided-template-type" : "flex",\n   "team" : "audio"\n}\n',
    "--machine_type=c3-standard-4",
    "--max_failure_ratio=0.5",
    "--max_num_workers=50",
    "--metadata_columns=",
    "--model=",
    "--num_shards=",
    "--output=gs://out/template",
    "--precision=bfloat16",
    "--project=test-project",
    "--region=europe-west4",
    "--run_id=2026-11-24",
    "--runner=DataflowRunner",
    f"--sdk_container_image={IMAGE}",
    "--service_account_email=worker@test-project.iam.gserviceaccount.com",
    "--sink=parquet,tfrecord",
    "--staging_location=gs://out/stage",
    "--streaming=false",
    "--subnetwork=regions/europe-west4/subnetworks/private",
    "--temp_location=gs://out/tmp",
    "--template_location=gs://out/stage/template_launches/2026-11-24_00_00_00-1/job_object",
    "--use_public_ips=false",
    "--what_beam_does_not_know=1",
    "--worker_zone=",
]
SHELL = [
    "--input", "gs://clips/template/*.wav", "--output", "gs://out/template", "--sink", "parquet,tfrecord", "--force",
    "--precision", "bfloat16", "--run_id", "2026-11-24", *PLACE, "--staging_location=gs://out/stage",
    "--sdk_container_image", IMAGE, "--max_num_workers", "50", "--machine_type", "c3-standard-4", "--disk_size_gb=60",
    "--no_use_public_ips", "--subnetwork=regions/europe-west4/subnetworks/private", "--job_name=yamnet-beam-nightly",
    "--service_account_email", "worker@test-project.iam.gserviceaccount.com",
    "--label=goog-dataflow-provided-template-type=flex", "--label=team=audio", NO_WAIT,
]  # fmt: skip


@pytest.mark.usefixtures("fast_bfloat16")
def test_the_launcher_of_a_template_makes_the_job_of_the_command_line(
    cloud: Cloud, service: Dataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    """And does not wait for it: the launcher's machine goes away."""
    write_clips(cloud, "template")
    assert main(["embed", *LAUNCHER]) == run.DONE
    assert not service.calls, "the service launches the job, not we"
    (place,) = (word.partition("=")[2] for word in LAUNCHER if word.startswith("--template_location="))
    said = capsys.readouterr().out
    assert f"The job of run 2026-11-24 is at {place}, for the template service to launch." in said
    template = api.Job.from_json(cloud.gcs.store.read(place), ignore_unknown_fields=True)
    assert main(["embed", *SHELL]) == run.DONE
    (job,) = service.jobs
    launched = SentJob("template", api.CreateJobRequest(job=template))
    for name in ("name", "labels", "type_"):
        assert getattr(launched.sent, name) == getattr(job.sent, name), name
    assert [plain(launched.pool), plain(launched.sent.environment)] == [plain(job.pool), plain(job.sent.environment)]
    both = [fake.graph(one, cloud.gcs.store).components.transforms for one in (launched, job)]
    names = [sorted(step.unique_name for step in steps.values()) for steps in both]
    assert names[0] == names[1]

    settings = []
    for one in (launched, job):
        fake.execute(one, cloud.gcs.store)
        (committed,) = runs.committed("gs://out/template")
        settings.append(committed.manifest["settings"])
        assert committed.manifest["listed"] == 6
        cloud.gcs.store.delete(f"{committed.directory}/_SUCCESS")
    for held in settings:
        for name in ("template_location", "no_wait_until_finish", "labels"):
            held["beam"].pop(name, None)
    assert settings[0] == settings[1]


def plain(message: Any) -> Any:
    """A part of a job without what differs between any two: the times in its places; and without the options."""
    text = json.dumps(type(message).to_dict(message), sort_keys=True)
    found = json.loads(re.sub(r"\d{10}\.\d{6}", "TIME", text))
    found.pop("sdk_pipeline_options", None)
    return found
