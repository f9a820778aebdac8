"""A Flink session cluster on loopback: one JobManager, and TaskManagers as if each were on a machine of its own.

The configuration is deploy/flink/config.yaml; what differs on loopback is set on the command line. Each TaskManager
knows the host `worker-pool` by another address, so that the same flag leads each to its own pool of Python workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.servers.flink_programs import DEPLOY, flink_home
from tests.servers.processes import free_port
from tests.servers.programs import Program, Programs
from tests.servers.serving import LOOPBACK

POOL_HOST = "worker-pool"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"
_ROOT = Path(__file__).parents[2]
_LOG4J = f"-Dlog4j.configurationFile={Path(__file__).with_name('flink_log4j.properties')}"


@dataclass(slots=True)
class TaskManager:
    """One TaskManager, and the pool of Python workers on its machine.

    Attributes:
      program: the JVM; its Python workers under PROCESS are in its group.
      pool: for EXTERNAL.
      scratch: where both put temporary files.
    """

    program: Program
    pool: Program
    scratch: Path

    def has_rows(self, since: float) -> bool:
        """Whether its Python workers began a file of rows after a moment; workers that were killed leave older ones."""
        parts = self.scratch.glob("yamnet-beam-*/part.parquet")
        with contextlib.suppress(FileNotFoundError):  # just finished
            return any(part.stat().st_mtime >= since for part in parts)
        return False


@dataclass(slots=True)
class Cluster:
    """A session cluster that can grow and lose TaskManagers.

    Attributes:
      programs: all that runs.
      settings: of Flink, on top of deploy/flink/config.yaml.
      env: more variables for Python workers.
      pool_port: where each machine's pool of Python workers listens.
      task_managers: those that were started and not replaced.
    """

    programs: Programs
    settings: Mapping[str, str]
    env: Mapping[str, str]
    pool_port: int = field(default_factory=free_port)
    task_managers: list[TaskManager] = field(default_factory=list)
    _rest_port: int = field(default_factory=free_port)
    _rpc_port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        """Of the web interface: host and port."""
        return f"localhost:{self._rest_port}"

    def ask(self, path: str) -> Any:
        """Return what the web interface answers on `path`."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return json.load(answer)

    def start(self, num_task_managers: int) -> None:
        """Start the JobManager and TaskManagers, and wait until they know each other (10 s)."""
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        manager = self.programs.start(
            "jobmanager", [*_java(), "-Xmx800m", _LOG4J, "-cp", _classpath(), entry, *self._flags]
        )
        for _ in range(num_task_managers):
            self._start_task_manager()
        needed = [manager, *(each.program for each in self.task_managers)]
        self.programs.wait(lambda: self.ask("/overview")["taskmanagers"] == num_task_managers, *needed)

    def replace(self, task_manager: TaskManager) -> None:
        """Start another TaskManager on the machine of one that died."""
        self.task_managers.remove(task_manager)
        self._start_task_manager()

    def _start_task_manager(self) -> None:
        number = sum(program.name.startswith("taskmanager") for program in self.programs.running)
        scratch = self.programs.folder / f"machine-{number}"
        scratch.mkdir()
        pool_address = f"127.0.0.{number + 2}"
        hosts = scratch / "hosts"
        hosts.write_text(f"{LOOPBACK} localhost {socket.gethostname()}\n{pool_address} {POOL_HOST}\n")
        env = {**_worker_environment(scratch), **self.env}
        own = [f"-Djdk.net.hosts.file={hosts}", f"-Djava.io.tmpdir={scratch}", _LOG4J]
        jvm, dynamic = self._resources()
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        command = [*_java(), *jvm, *own, "-cp", _classpath(), entry, *self._flags, *dynamic]
        program = self.programs.start(f"taskmanager-{number}", command, env)
        serve = [sys.executable, Path(__file__).with_name("worker_pool.py"), f"{pool_address}:{self.pool_port}"]
        self.task_managers.append(TaskManager(program, self.programs.start(f"pool-{number}", serve, env), scratch))

    @property
    def _flags(self) -> list[str]:
        own = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": str(self._rpc_port),
            "jobmanager.bind-host": "localhost",
            "taskmanager.host": "localhost",
            "taskmanager.bind-host": "localhost",
            "rest.address": "localhost",
            "rest.bind-address": "localhost",
            "rest.port": str(self._rest_port),
            "io.tmp.dirs": str(self.programs.folder),
            **self.settings,
        }
        return ["--configDir", str(DEPLOY), *(f"-D{name}={value}" for name, value in own.items())]

    def _resources(self) -> tuple[list[str], list[str]]:
        """The flags of a TaskManager's JVM and of its memory, as Flink's start script has them computed."""
        tool = ["java", "-cp", f"{flink_home()}/bin/bash-java-utils.jar:{_classpath()}"]
        tool += ["org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS", *self._flags]
        answer = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
        jvm, dynamic = (line.removeprefix(_RESULT).split() for line in answer.splitlines() if line.startswith(_RESULT))
        return jvm, dynamic


def _java() -> list[str]:
    configured = yaml.safe_load((DEPLOY / "config.yaml").read_text())
    return ["java", *configured["env"]["java"]["opts"]["all"].split()]


def _classpath() -> str:
    jars = sorted((flink_home() / "lib").glob("*.jar"))
    return ":".join(str(jar) for jar in jars if jar.name.startswith(("flink-dist", "log4j")))


def _worker_environment(scratch: Path) -> dict[str, str]:
    """Variables for Python workers: this project, this Python first in PATH, temporary files in `scratch`."""
    python = Path(sys.executable).parent
    return {"PATH": f"{python}:{os.environ['PATH']}", "PYTHONPATH": str(_ROOT), "TMPDIR": str(scratch)}
