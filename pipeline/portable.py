"""What Flink, and whatever takes jobs at a job endpoint, asks of a run: what it lacks, its defaults, its errors."""

import contextlib
import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)

from transforms import errors

FLINK, PORTABLE, SPARK = "FlinkRunner", "PortableRunner", "SparkRunner"
RUNNERS = (FLINK, PORTABLE, SPARK)
LOOPBACK = "LOOPBACK"
TIMEOUT_S = 10.0
_EMBEDDED = ("[local]", "[auto]")  # a Flink inside the job server

# What each environment is told by --environment_config or by --environment_option, and what to give.
_ENVIRONMENTS = {
    "DOCKER": (
        "docker_container_image",
        "--environment_config=IMAGE is missing: workers need this package in their container image (deploy/Dockerfile)",
    ),
    "EXTERNAL": (
        "external_service_address",
        "--environment_config=HOST:PORT is missing: where a worker machine finds its pool of Python workers, such as "
        "localhost:50000 (python -m apache_beam.runners.worker.worker_pool_main --service_port=50000)",
    ),
    "PROCESS": (
        "process_command",
        '--environment_config={"command": PROGRAM} is missing: the path of Beam\'s boot program on the worker machines',
    ),
}
# Found in the errors of a job, with the cure.
_CURES = {
    "Insufficient number of network buffers": (
        "set taskmanager.network.sort-shuffle.min-buffers: 64, as in deploy/flink/config.yaml, or raise "
        "taskmanager.memory.network.max"
    ),
    "NoResourceAvailableException|Could not acquire the minimum required resources": (
        "Flink has fewer free slots than --parallelism: add TaskManagers, or lower it"
    ),
    "SDK harness closed connection|client cancelled|Hanged up": (
        "a Python worker is gone: it ran out of memory, or several TaskManagers share one pool of workers (each needs "
        "one of its own; with LOOPBACK there is only one)"
    ),
    "Process died with exit code": (
        "the program of --environment_config could not start a worker: its Python must have this package; the "
        "TaskManager's log has the reason"
    ),
    "UNAVAILABLE|Connection refused": "a worker machine cannot reach its Python workers: see --environment_config",
    "TaskManager .*(lost|no longer reachable)|heartbeat|Connection unexpectedly closed": (
        "a TaskManager is gone, and the cluster's restart-strategy does not start the job again: see deploy/flink"
    ),
}


@dataclass(frozen=True, slots=True)
class Flink:
    """A Flink cluster as its web interface tells of it."""

    address: str
    version: str
    task_managers: int
    slots: int


def environment(name: str, beam_options: PipelineOptions) -> str:
    """How workers are started, as Beam decides it."""
    asked = beam_options.view_as(PortableOptions).environment_type
    if asked:
        return str(asked).upper()
    return LOOPBACK if name == FLINK and _master(beam_options) is None else "DOCKER"


def prepare(name: str, run_id: str | None, beam_options: PipelineOptions) -> Iterator[str]:
    """Refuses what cannot work, sets what follows from the cluster, and tells where to watch the run.

    Args:
      name: of the runner.
      run_id: of the run; names the job.
      beam_options: gets a job name, and on Flink a parallelism of all slots and one Python process a slot.

    Yields:
      Lines for the user.

    Raises:
      UsageError: names the flag and the cure.
    """
    portable = beam_options.view_as(PortableOptions)
    kind = environment(name, beam_options)
    if kind in _ENVIRONMENTS and not portable.environment_config:
        option, missing = _ENVIRONMENTS[kind]
        if portable.lookup_environment_option(option) is None:
            raise errors.UsageError(missing)
    if name == PORTABLE and not portable.job_endpoint:
        raise errors.UsageError("--job_endpoint=HOST:PORT is missing: where Beam's job server listens (deploy/flink)")
    if portable.job_endpoint:
        _refuse_silence(portable.job_endpoint)
    cloud = beam_options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or f"yamnet-beam-{run_id}"
    master = _master(beam_options)
    if master is None:
        yield f"Run {run_id} is the job {cloud.job_name}" + (f" at {portable.job_endpoint}" if name == PORTABLE else "")
        if name == PORTABLE and beam_options.view_as(FlinkRunnerOptions).parallelism < 1:
            yield (
                "Without --parallelism=N Flink works on parallelism.default slots, which is 1 if nobody has set it; "
                "with --flink_master=HOST:PORT it works on all."
            )
        return
    flink = _flink(master)
    yield f"Watch run {run_id} at {flink.address}: the job {cloud.job_name}"
    yield from _fit(flink, name, kind, beam_options)


def failure(problem: BaseException, run_id: str | None) -> errors.RunError | None:
    """The error of a job that has failed, with the cure where one is known; None for any other problem."""
    text = str(problem)
    if isinstance(problem, grpc.RpcError):
        found = f"the job server is gone: {problem.details() if isinstance(problem, grpc.Call) else text}"
    elif match := re.match(r"Pipeline \S+ failed in state \w+:?(.*)", text, re.DOTALL):
        lines = match[1].strip().splitlines() or ["no reason given"]
        # The last line of a Python traceback is the error; Java's errors come first.
        found = f"the job failed: {lines[-1] if 'Traceback (most recent call last)' in text else lines[0]}"
    else:
        return None
    cures = [cure for pattern, cure in _CURES.items() if re.search(pattern, text)]
    return errors.RunError("\n".join([found, *cures[:1], f"Nothing of run {run_id} counts; run the command again"]))


def interrupted(run_id: str | None) -> str:
    """What is true when the process that waits for a job is ended by hand."""
    return (
        f"This process stops waiting. The job of run {run_id} goes on, and commits, unless this process was its worker "
        "(LOOPBACK); it can be ended in the engine's web interface."
    )


def _fit(flink: Flink, name: str, kind: str, beam_options: PipelineOptions) -> Iterator[str]:
    """Fits a job to a cluster."""
    options, portable = beam_options.view_as(FlinkRunnerOptions), beam_options.view_as(PortableOptions)
    series = ".".join(flink.version.split(".")[:2])
    if name == FLINK and not options.flink_job_server_jar and series != options.flink_version:
        cure = f"add --flink_version={series}"
        if series not in options.PUBLISHED_FLINK_VERSIONS:
            cure = f"this Beam has job servers for {', '.join(options.PUBLISHED_FLINK_VERSIONS)}"
        raise errors.UsageError(
            f"--flink_version={options.flink_version}, and {flink.address} is Flink {flink.version}: {cure}"
        )
    if options.parallelism < 1 and flink.slots:
        options.parallelism = flink.slots
    if kind == LOOPBACK and flink.task_managers > 1 and options.parallelism != 1:
        raise errors.UsageError(
            f"--environment_type=LOOPBACK has one worker, and {flink.address} has {flink.task_managers} TaskManagers, "
            "which would disturb each other: add --parallelism=1, or give each its own workers (EXTERNAL, PROCESS)"
        )
    if options.parallelism > flink.slots:
        yield (
            f"--parallelism={options.parallelism}, and Flink has {flink.slots} slots: the job waits until there are "
            "enough, and fails if there are not in time (slot.request.timeout)."
        )
    slots_each = flink.slots // max(1, flink.task_managers)
    if kind != LOOPBACK and slots_each > 1 and int(portable.sdk_worker_parallelism) == 1:
        portable.sdk_worker_parallelism = slots_each  # one Python process fills one core
    yield f"It works in {options.parallelism} slots of {flink.task_managers} TaskManagers."


def _master(beam_options: PipelineOptions) -> str | None:
    """The address of Flink's web interface; None for a Flink that the job server knows or is."""
    master = str(beam_options.view_as(FlinkRunnerOptions).flink_master).strip()
    if master in _EMBEDDED:
        return None
    return master if re.match("https?://", master) else f"http://{master}"


def _flink(address: str) -> Flink:
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/overview", timeout=TIMEOUT_S) as answer:
            told = json.load(answer)
        return Flink(address, told["flink-version"], told["taskmanagers"], told["slots-total"])
    except (OSError, ValueError, KeyError) as problem:
        raise errors.UsageError(
            f"--flink_master={address}: no Flink answers there ({problem}); give the address of its web interface, "
            "such as localhost:8081"
        ) from problem


def _refuse_silence(endpoint: str) -> None:
    """Refuses a job endpoint where nobody listens, for which Beam waits five minutes."""
    if endpoint == "embed":  # a job server of Beam's own, in this process
        return
    host, _, port = endpoint.rpartition(":")
    problem = "HOST:PORT is needed"
    if host and port.isdecimal():
        try:
            with contextlib.closing(socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S)):
                return
        except OSError as refused:
            problem = str(refused)
    raise errors.UsageError(
        f"--job_endpoint={endpoint}: no job server answers there ({problem}); start it, see deploy/flink/README.md"
    )
