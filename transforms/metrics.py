"""Owns what can be watched while a job runs: the metrics of `metric_names`, and the progress of local runs.

Counts and times are Beam metrics, which every runner adds up and shows; a count costs 0.2 microseconds, a time 1.4.

A file works in every mode of the local runner: threads and processes append to it, the launcher reads its end.
"""

import functools
import os
import struct
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms import metric_names, stopwatch
from transforms.metric_names import NAMESPACE
from transforms.records import DeadLetter, Row
from transforms.wiring import Letters, Nothing, Rows


@functools.cache
def _counter(name: str) -> Any:
    return Metrics.counter(NAMESPACE, metric_names.checked(name, "counter")).inc


@functools.cache
def _distribution(name: str) -> Any:
    return Metrics.distribution(NAMESPACE, metric_names.checked(name, "distribution")).update


def count(name: str, number: int = 1) -> None:
    """Adds to a counter of `metric_names`; outside of a pipeline, to nothing."""
    _counter(name)(number)


def observe(name: str, value: int) -> None:
    """Adds a value to a distribution of `metric_names`; outside of a pipeline, to nothing."""
    _distribution(name)(value)


def _report_step(step: str, seconds: float, num_bytes: int) -> None:
    microseconds, handled = _step(step)
    microseconds(round(seconds * 1e6))
    if num_bytes:
        handled(num_bytes)


@functools.cache
def _step(step: str) -> tuple[Any, Any]:
    return _distribution(f"{step}_microseconds"), functools.partial(count, f"{step}_bytes")


# Verbs take `measure` from here, so that every process that runs them has its steps as Beam metrics.
measure = stopwatch.measure
stopwatch.listen(_report_step)

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
