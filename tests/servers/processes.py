"""Child processes that serve on loopback: start, wait until they answer, stop."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.servers.serving import LOOPBACK

READY_S = 60.0
TAIL_BYTES = 2000


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], *, port: int, ready_path: str, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run `command` for as long as the context lasts, from when it answers on `port`.

    Its output goes to a file: a pipe that nobody drains would block it.

    Args:
        command: The program and its arguments.
        port: Where it will listen.
        ready_path: A path that answers 200 when the service is ready.
        env: Variables to set on top of this process's own.

    Raises:
        RuntimeError: It ended, or was not ready in a minute; with the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(env or {})})
        try:
            deadline = time.monotonic() + READY_S
            while not _answers(port, ready_path):
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
                    raise RuntimeError(f"{command[0]} is not serving on port {port}:\n{tail}")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(port: int, path: str) -> bool:
    with contextlib.closing(http.client.HTTPConnection(LOOPBACK, port, timeout=10)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
