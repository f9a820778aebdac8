"""BigQuery for tests: local-bigquery, a process of its own that runs GoogleSQL on DuckDB.

It reads gs:// through STORAGE_EMULATOR_HOST, so that its load jobs meet the same objects, and the
same faults, as the product.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from tests.servers.bigquery_environment import environment, find_python
from tests.servers.processes import free_port, running
from tests.servers.serving import LOOPBACK

_MAIN = "from local_bigquery.cli import main; main()"


@dataclass(frozen=True, slots=True)
class BigQuery:
    """Where the service listens: JSON over HTTP, and the Storage interface over gRPC (no TLS)."""

    port: int
    grpc_port: int
    project: str


def unavailable() -> str | None:
    """Return why the service cannot run on this machine, for a test to skip with, or None."""
    return None if find_python() else "local-bigquery needs Python 3.13, in PATH or in pyenv"


@contextlib.contextmanager
def bigquery(gcs_port: int, project: str = "test-project") -> Iterator[BigQuery]:
    """Run an empty BigQuery that reads and writes gs:// at `gcs_port`."""
    made = environment()
    port, grpc_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as data:
        command = [str(made.python), "-c", _MAIN, "--host", LOOPBACK, "--port", str(port)]
        command += ["--grpc-port", str(grpc_port), "--project", project, "--data-dir", data]
        env = made.env | {"STORAGE_EMULATOR_HOST": f"http://{LOOPBACK}:{gcs_port}"}
        ready = f"/bigquery/v2/projects/{project}/datasets"
        with running(command, port=port, ready_path=ready, env=env):
            yield BigQuery(port, grpc_port, project)
