"""The embed command as its user types it: in a process of its own."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from results import Result

from tests.servers.flink_cluster import TaskManager

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str
    dataset: Path

    @property
    def result(self) -> Result:
        """What its only run left."""
        (directory,) = self.dataset.glob("run=*")
        return Result(self.code, directory)


@dataclass(frozen=True)
class Running:
    """A command that runs."""

    process: subprocess.Popen[str]
    dataset: Path
    started: float = field(default_factory=time.time)

    def wait_for_rows(self, worker: TaskManager) -> None:
        """Waits until a worker is in the middle of it: it has made rows, and has not written its file."""
        while not worker.has_rows(self.started):
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def wait(self, seconds: float) -> Ended:
        """Its end; the command is killed when the time is over."""
        try:
            stdout, stderr = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        return Ended(self.process.returncode, stdout, stderr, self.dataset)


def start(inputs: Path, dataset: Path, *flags: str) -> Running:
    """Starts the command on all files of a folder."""
    command = [sys.executable, "-m", "pipeline", "embed", f"--input={inputs}/**", f"--output={dataset}", *flags]
    pipe = subprocess.PIPE
    return Running(subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True), dataset)


def embed(inputs: Path, dataset: Path, *flags: str, seconds: float = 300) -> Result:
    """Runs the command on all files of a folder; it must end well."""
    ended = start(inputs, dataset, *flags).wait(seconds)
    assert ended.code == 0, f"{flags}: exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
    return ended.result
