"""Lines for operators: their text, and their JSON."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from google.logging.type import log_severity_pb2

from transforms import logs

WRITE = """
import logging, warnings
from transforms import logs
logs.write_json()
logs.event("CommitRun", "run refused", run_id="r1", severity=logging.ERROR, dead=3, ratio=0.5, reason="too many dead")
logging.getLogger("elsewhere").warning("a line\\nof %s", "two")
warnings.warn("beware")
raise RuntimeError("boom")
"""


def _record(caplog: pytest.LogCaptureFixture, **facts: Any) -> logging.LogRecord:
    with caplog.at_level(logging.INFO, logger="yamnet_beam"):
        logs.event("ReadClips", "something happened", run_id="r1", **facts)
    return caplog.records[-1]


def test_the_text_holds_stage_message_run_and_facts(caplog: pytest.LogCaptureFixture) -> None:
    record = _record(caplog, rows=3, seconds=1.23456, reason="not here", nothing="")
    expected = 'ReadClips: something happened run_id=r1 rows=3 seconds=1.235 reason="not here" nothing=""'
    assert record.getMessage() == expected
    assert record.filename == "test_logs.py"


def test_a_percent_sign_in_a_fact_is_just_text(caplog: pytest.LogCaptureFixture) -> None:
    assert _record(caplog, file="50%s.wav").getMessage().endswith("file=50%s.wav")


def test_nothing_is_written_where_only_errors_are_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        logs.event("ReadClips", "something happened", run_id="r1")
    assert not caplog.records


def test_a_process_that_writes_json_writes_nothing_else_on_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", WRITE], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    ours, other, warning, uncaught = (json.loads(line) for line in done.stderr.splitlines())
    assert ours["severity"] == "ERROR"
    assert ours["message"] == 'CommitRun: run refused run_id=r1 dead=3 ratio=0.500 reason="too many dead"'
    assert (ours["event"], ours["dead"], ours["ratio"], ours["reason"]) == ("run refused", 3, 0.5, "too many dead")
    assert ours["logging.googleapis.com/labels"] == {"run_id": "r1", "stage": "CommitRun"}
    assert ours["time"].endswith("Z")
    assert (other["severity"], other["message"], other["logger"]) == ("WARNING", "a line\nof two", "elsewhere")
    assert "beware" in warning["message"]
    assert uncaught["severity"] == "CRITICAL"
    assert uncaught["message"].endswith("RuntimeError: boom")
    for entry in (ours, other, warning, uncaught):
        assert log_severity_pb2.LogSeverity.Value(entry["severity"])
        assert all(isinstance(value, str) for value in entry["logging.googleapis.com/sourceLocation"].values())
