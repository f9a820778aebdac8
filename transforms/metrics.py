"""Owns what can be watched while a job runs: the metrics of `metric_names`, and the progress of local runs.

Counts and times are Beam metrics, which every runner adds up and shows. A count costs
0.2 microseconds, a time 1 to 1.4.

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
from transforms.tally import Tally
from transforms.wiring import Letters, Nothing, Rows, Tallies


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

_RECORD = struct.Struct("<dB")  # a number and what it is: small enough to be appended at once
_AUDIO_S, _DEAD, _PLANNED = range(3)


class Progress(NamedTuple):
    """How far a run has come.

    Attributes:
      clips: done, dead or alive.
      audio_s: seconds embedded.
      dead: of `clips`.
      planned: clips to do, as far as is known.
    """

    clips: int = 0
    audio_s: float = 0.0
    dead: int = 0
    planned: int = 0


class ReportProgress(beam.PTransform):
    """From collections of rows, dead letters or PlanWork's counts to nothing: appends a record for each to a file."""

    def __init__(self, path: str) -> None:
        """Reports to the local file at `path`."""
        super().__init__()
        self._path = path

    def expand(self, done: Rows | Letters | Tallies) -> Nothing:
        """Wires the transform."""
        return tuple(each | f"Report{n}" >> beam.ParDo(_ReportFn(self._path)) for n, each in enumerate(done))


class _ReportFn(beam.DoFn):
    """Holds the file open."""

    def __init__(self, path: str) -> None:
        self._path = path

    def setup(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def process(self, done: Row | DeadLetter | Tally) -> None:
        record: tuple[float, int]
        if isinstance(done, DeadLetter):
            record = 1, _DEAD
        elif "duration_s" in done:
            record = done["duration_s"], _AUDIO_S
        else:
            record = done["listed"] - done.get("unchanged", 0), _PLANNED
        os.write(self._file, _RECORD.pack(*record))

    def teardown(self) -> None:
        os.close(self._file)


def read_progress(file: BinaryIO, so_far: Progress) -> Progress:
    """Adds the records appended since the last call."""
    content = file.read()
    whole = len(content) // _RECORD.size * _RECORD.size
    file.seek(whole - len(content), os.SEEK_CUR)
    records = list(_RECORD.iter_unpack(content[:whole]))
    numbers = {word: [number for number, kind in records if kind == word] for word in (_AUDIO_S, _DEAD, _PLANNED)}
    return Progress(
        so_far.clips + len(numbers[_AUDIO_S]) + len(numbers[_DEAD]),
        so_far.audio_s + sum(numbers[_AUDIO_S]),
        so_far.dead + len(numbers[_DEAD]),
        so_far.planned + int(sum(numbers[_PLANNED])),
    )
