"""Flink for tests: a session cluster, Beam's job server, and Python workers beside every TaskManager.

with flink() as cluster:
    subprocess.run([sys.executable, "-m", "pipeline", "embed", ..., *cluster.flags("EXTERNAL")])
    cluster.records("ReadClips")  # by TaskManager
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tests.servers import beam_programs, flink_programs
from tests.servers.beam_programs import boot_program
from tests.servers.flink_cluster import POOL_HOST, Cluster, TaskManager
from tests.servers.flink_programs import job_server_jar
from tests.servers.processes import free_port
from tests.servers.programs import programs

Environment = Literal["EXTERNAL", "PROCESS", "LOOPBACK"]
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Flink:
    """A cluster and the job server before it."""

    cluster: Cluster
    job_endpoint: str

    @property
    def task_managers(self) -> list[TaskManager]:
        """Those that were started and not replaced."""
        return self.cluster.task_managers

    def flags(self, environment: Environment, runner: str = "PortableRunner") -> list[str]:
        """Return Beam's flags for a run on this cluster.

        Args:
            environment: How Python workers start.
            runner: PortableRunner, for the job server that runs here, or FlinkRunner, which starts one of its own.
        """
        flags = [f"--runner={runner}", f"--flink_master={self.cluster.address}", f"--environment_type={environment}"]
        own = f"--flink_job_server_jar={job_server_jar()}"
        flags.append(own if runner == "FlinkRunner" else f"--job_endpoint={self.job_endpoint}")
        if environment == "EXTERNAL":
            flags.append(f"--environment_config={POOL_HOST}:{self.cluster.pool_port}")
        if environment == "PROCESS":
            process = {"command": str(boot_program()), "env": {"RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}}
            flags.append(f"--environment_config={json.dumps(process)}")
        if environment != "LOOPBACK":  # whose workers are the command itself
            flags.append("--shared_filesystem")
        return flags

    def replace(self, task_manager: TaskManager) -> None:
        """Start another TaskManager in the place of one that died."""
        self.cluster.replace(task_manager)

    @property
    def newest_job(self) -> dict[str, Any]:
        """What Flink tells of the job that was started last."""
        jobs = self.cluster.ask("/jobs/overview")["jobs"]
        told: dict[str, Any] = self.cluster.ask(f"/jobs/{max(jobs, key=lambda job: job['start-time'])['jid']}")
        return told

    def records(self, transform: str) -> list[int]:
        """Return how many elements each TaskManager gave to the newest job's stage that begins with `transform`."""
        job = self.newest_job
        (stage,) = (vertex for vertex in job["vertices"] if "{" + transform + "," in vertex["name"])
        workers = self.cluster.ask(f"/jobs/{job['jid']}/vertices/{stage['id']}/taskmanagers")["taskmanagers"]
        return [worker["metrics"]["read-records"] for worker in workers]


def unavailable() -> str | None:
    """Return why Flink cannot run on this machine, for a test to skip with, or None."""
    return flink_programs.unavailable() or beam_programs.unavailable()


@contextlib.contextmanager
def flink(
    task_managers: int = 2, settings: Mapping[str, str] = NOTHING, env: Mapping[str, str] = NOTHING
) -> Iterator[Flink]:
    """Run Flink until the context ends; the first call on this machine fetches it (two minutes, 0.4 GB).

    Args:
        task_managers: Each with one slot.
        settings: Of Flink, on top of deploy/flink/config.yaml.
        env: Variables for Python workers (not those of LOOPBACK), on top of this process's own.
    """
    jar = job_server_jar()
    with programs("flink") as started:
        cluster = Cluster(started, settings, env)
        cluster.start(task_managers)
        port, artifact_port, expansion_port = free_port(), free_port(), free_port()
        command = [
            "java",
            "-jar",
            str(jar),
            "--job-host=localhost",
            f"--job-port={port}",
            f"--flink-master={cluster.address}",
        ]
        command += [f"--artifact-port={artifact_port}", f"--expansion-port={expansion_port}"]
        command += [f"--artifacts-dir={started.folder}"]
        server = started.start("job-server", command)
        started.wait(lambda: socket.create_connection(("localhost", port), 1).close() is None, server)
        yield Flink(cluster, f"localhost:{port}")
