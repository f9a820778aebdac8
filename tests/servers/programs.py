"""Programs that run as long as a test needs them, each with a log of its own and all that it started."""

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


@dataclass(frozen=True, slots=True)
class Program:
    """A running program, which leads the group of all processes that it starts."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Send the program SIGKILL; what it started lives on."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the program and all that it started."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")


@dataclass(slots=True)
class Programs:
    """Programs that end together; their logs are in `folder`."""

    folder: Path
    running: list[Program] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Program:
        """Start a program.

        Args:
            name: Of its log.
            command: The program and its arguments.
            env: Variables to set on top of this process's own.
        """
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **(env or {})}, start_new_session=True
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


@contextlib.contextmanager
def programs(name: str) -> Iterator[Programs]:
    """Run programs until the context ends; if it ends with an error, their logs stay, and stderr says where."""
    folder = Path(tempfile.mkdtemp(prefix=f"yamnet-beam-{name}-"))
    started = Programs(folder)
    try:
        yield started
    except BaseException:
        print(f"the logs of {name} are in {folder}")
        raise
    else:
        _stop(started)
        shutil.rmtree(folder)
    finally:
        _stop(started)


def _stop(started: Programs) -> None:
    while started.running:  # the last first: it may need the others to end well
        started.running.pop().stop()
