"""The lines of a run, as an operator finds them."""

import concurrent.futures
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler

from transforms import logs

pytestmark = pytest.mark.slow


def test_a_run_writes_its_events_as_json_and_no_summary(few_files: Path, tmp_path: Path, model_directory: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "embed",
        "--input",
        f"{few_files}/0[0-2]*",
        "--output",
        str(tmp_path / "d"),
    ]
    command += ["--model", model_directory, "--run_id", "night", "--log_format=json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["logging.googleapis.com/labels"]["stage"], line["event"]) for line in lines] == [
        ("launcher", "run started"),
        ("PlanWork", "plan made"),
        ("EmbedSegments", "model loaded"),
        ("WriteRows", "file written"),
        ("CommitRun", "run committed"),
        ("launcher", "run ended"),
    ]
    assert {line["logging.googleapis.com/labels"]["run_id"] for line in lines} == {"night"}
    assert {line["severity"] for line in lines} == {"INFO"}
    _, plan, loaded, written, committed, ended = lines
    assert (plan["listed"], plan["new"]) == (3, 3)
    assert loaded["precision"] == "float32"
    assert (written["rows"], committed["embedded"], ended["embedded"]) == (3, 3, 3)
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert [json.loads(line)["event"] for line in again.stderr.splitlines()] == ["nothing to do"]
    command[command.index(f"{few_files}/0[0-2]*")] = str(few_files)
    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "is a folder" in json.loads(refused.stderr)["message"]


class _Service(beam_fn_api_pb2_grpc.BeamFnLoggingServicer):
    """What a runner does with the log of a worker: keeps it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def Logging(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: ARG002, N802
        yield beam_fn_api_pb2.LogControl()
        for request in request_iterator:
            self.entries.extend(request.log_entries)


def test_beam_carries_severity_and_text_from_a_worker_and_no_fields() -> None:
    """When Beam carries fields, too, the facts should be sent as such: then this test fails."""
    service = _Service()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(service, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    handler = FnApiLogRecordHandler(endpoints_pb2.ApiServiceDescriptor(url=f"localhost:{port}"))
    logging.getLogger().addHandler(handler)
    level = logs.LOGGER.level
    logs.LOGGER.setLevel(logging.INFO)
    try:
        logs.event("CommitRun", "run refused", run_id="night", severity=logging.ERROR, dead=3)
    finally:
        logs.LOGGER.setLevel(level)
        logging.getLogger().removeHandler(handler)
        handler.close()
        server.stop(None)
    (entry,) = service.entries
    assert entry.severity == beam_fn_api_pb2.LogEntry.Severity.ERROR
    assert entry.message == "CommitRun: run refused run_id=night dead=3"
    assert not entry.custom_data.fields
