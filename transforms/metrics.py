"""Owns what can be watched while a job runs: stages as Beam metrics, and the progress of local runs.

A file works in every mode of the local runner: threads and processes append to it, the launcher reads its end.
"""

import functools
import os
import struct
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms import stopwatch
from transforms.records import DeadLetter, Row
from transforms.wiring import Letters, Nothing, Rows

NAMESPACE = "yamnet_beam"


@functools.cache
def _stage(stage: str) -> tuple[Any, Any]:
    microseconds = Metrics.distribution(NAMESPACE, f"{stage}_microseconds")
    return microseconds, Metrics.counter(NAMESPACE, f"{stage}_bytes")


def _report_stage(stage: str, seconds: float, num_bytes: int) -> None:
    microseconds, handled = _stage(stage)
    microseconds.update(round(seconds * 1e6))
    if num_bytes:
        handled.inc(num_bytes)


# Verbs take `measure` from here, so that every process that runs them has its stages as Beam metrics.
measure = stopwatch.measure
stopwatch.listen(_report_stage)

_RECORD = struct.Struct("<fB")  # seconds of audio, 1 for a dead letter: small enough to be appended at once


class Progress(NamedTuple):
    """How far a run has come.

    Attributes:
      clips: done, dead or alive.
      audio_s: seconds embedded.
      dead: of `clips`.
    """

    clips: int = 0
    audio_s: float = 0.0
    dead: int = 0


class ReportProgress(beam.PTransform):
    """From collections of rows or dead letters to nothing: appends a record for each to a local file."""

    def __init__(self, path: str) -> None:
        """Reports to the file at `path`."""
        super().__init__()
        self._path = path

    def expand(self, done: Rows | Letters) -> Nothing:
        """Wires the transform."""
        return tuple(each | f"Report{n}" >> beam.ParDo(_ReportFn(self._path)) for n, each in enumerate(done))


class _ReportFn(beam.DoFn):
    """Holds the file open."""

    def __init__(self, path: str) -> None:
        self._path = path

    def setup(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def process(self, done: Row | DeadLetter) -> None:
        dead = isinstance(done, DeadLetter)
        os.write(self._file, _RECORD.pack(0.0 if dead else done["duration_s"], dead))  # type: ignore[index]

    def teardown(self) -> None:
        os.close(self._file)


def read_progress(file: BinaryIO, so_far: Progress) -> Progress:
    """Adds the records appended since the last call."""
    content = file.read()
    whole = len(content) // _RECORD.size * _RECORD.size
    file.seek(whole - len(content), os.SEEK_CUR)
    records = list(_RECORD.iter_unpack(content[:whole]))
    return Progress(
        so_far.clips + len(records),
        so_far.audio_s + sum(seconds for seconds, _ in records),
        so_far.dead + sum(dead for _, dead in records),
    )
