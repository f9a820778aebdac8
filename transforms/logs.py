"""Owns the lines that a job writes for its operators: one a bundle or a job, never one a clip.

A line has a severity, the run, the stage, a message and facts. On workers it goes through Beam's log handler, which
carries severity, time, step and text but no fields of ours (apache/beam#30978), so the text holds them: `run_id=...`.
A process that calls `write_json` writes every line as JSON with Cloud Logging's field names on stderr.
"""

import datetime
import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any

LOGGER = logging.getLogger("yamnet_beam")
LABELS = "logging.googleapis.com/labels"
SOURCE = "logging.googleapis.com/sourceLocation"


def event(stage: str, message: str, *, run_id: str, severity: int = logging.INFO, **facts: Any) -> None:
    """Writes one line.

    Args:
      stage: as in the job graph.
      message: what happened, the same words each time.
      run_id: of the run.
      severity: of `logging`.
      facts: numbers and short texts.
    """
    fields = {"run_id": run_id, **facts}
    text = " ".join([f"{stage}: {message}", *(f"{name}={_plain(value)}" for name, value in fields.items())])
    labels = {"run_id": run_id, "stage": stage}
    LOGGER.log(severity, "%s", text, extra={"labels": labels, "facts": {"event": message, **facts}}, stacklevel=2)


def write_json() -> None:
    """From now on, this process writes every line of any library as JSON on stderr, uncaught errors too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.captureWarnings(True)
    LOGGER.setLevel(logging.INFO)
    sys.excepthook = _log_uncaught


def writes_json() -> bool:
    """Whether this process was told to."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields that Cloud Logging takes out of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, of ours or of another library."""
        message = record.getMessage()
        if record.exc_info:
            message = "\n".join([message, "".join(traceback.format_exception(*record.exc_info)).rstrip()])
        moment = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        entry = {
            "severity": record.levelname,
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "message": message,
            "logger": record.name,
            **getattr(record, "facts", {}),
            LABELS: getattr(record, "labels", {}),
            SOURCE: {"file": record.pathname, "line": str(record.lineno), "function": record.funcName},
        }
        return json.dumps(entry, ensure_ascii=False, default=str)


def _plain(value: Any) -> str:
    """A value that ends at the next space."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() for c in text) else text


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger().critical("uncaught %s", kind.__name__, exc_info=(kind, error, trace))
