"""Programs that run as long as a test needs them, each with a log of its own, and all that they start.

Beam's boot program puts its workers into process groups of their own, and some outlive what started them. So all have a
variable in their environment by which they are found when the test ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

READY_S = 60.0
STOP_S = 15.0
TAIL_BYTES = 3000
_MARK = "YAMNET_BEAM_TEST_PROGRAMS"


@dataclass(frozen=True, slots=True)
class Program:
    """A running program."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Send it SIGKILL; what it started lives on."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self.kill()

    @property
    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")


@dataclass(slots=True)
class Programs:
    """Programs that end together.

    Attributes:
      folder: of their logs and whatever else they write.
      running: in the order in which they were started.
      keep_logs: whether the folder is to stay.
    """

    folder: Path
    running: list[Program] = field(default_factory=list)
    keep_logs: bool = False

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Program:
        """Start a program, in the folder of the logs: some write to where they are.

        Args:
            name: Of its log.
            command: The program and its arguments.
            env: Variables to set on top of this process's own.
        """
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            marked = {**os.environ, **(env or {}), _MARK: str(self.folder)}
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=marked, cwd=self.folder, start_new_session=True
            )
        program = Program(name, log, process)
        self.running.append(program)
        return program

    def wait(self, ready: Callable[[], bool], *needed: Program, seconds: float = READY_S) -> None:
        """Wait until `ready`, which may raise OSError as long as nobody listens.

        Raises:
            RuntimeError: A program that is needed has ended, or the time is over; with the ends of their logs.
        """
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if ready():
                    return
            if time.monotonic() > deadline or any(program.process.poll() is not None for program in needed):
                logs = "\n".join(f"--- {program.log}\n{program.tail}" for program in needed)
                raise RuntimeError(f"{needed[-1].name} is not ready:\n{logs}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all programs, the last first, which may need the others to end well; then all that they left behind."""
        while self.running:
            self.running.pop().stop()
        for environment in self._environments():
            with contextlib.suppress(OSError):
                os.kill(int(environment.parent.name), signal.SIGKILL)

    def _environments(self) -> Iterator[Path]:
        """Those in /proc of all processes that were started here, by whomever."""
        mark = f"{_MARK}={self.folder}".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if mark in environment.read_bytes().split(b"\0"):
                    yield environment


@contextlib.contextmanager
def programs(name: str) -> Iterator[Programs]:
    """Run programs until the context ends; if it ends with an error, or on request, their logs stay."""
    started = Programs(Path(tempfile.mkdtemp(prefix=f"yamnet-beam-{name}-")))
    try:
        yield started
    except BaseException:
        started.keep_logs = True
        raise
    finally:
        started.stop()
        if started.keep_logs:
            print(f"the logs of {name} are in {started.folder}")
        else:
            shutil.rmtree(started.folder, ignore_errors=True)
