"""AccountClips: rows and letters in; for each a line of the index and its share of the run's counts."""

import dataclasses

import apache_beam as beam

from transforms.metric_names import DEAD_PREFIX as DEAD_METRIC
from transforms.metrics import count
from transforms.records import DeadLetter, Row
from transforms.runs import DEAD, EMBEDDED
from transforms.tally import DEAD_PREFIX, Tally
from transforms.wiring import Letters, Rows, RowsAndLetters, Tallies


class IndexRows(beam.PTransform):
    """From (rows of clips, letters) to the lines of the index, one collection for each that comes in."""

    def __init__(self, pipeline_version: str) -> None:
        """Writes `pipeline_version` beside the dead, too."""
        super().__init__()
        self._pipeline_version = pipeline_version

    def expand(self, done: RowsAndLetters) -> Rows:
        """Wires the transform."""
        rows, letters = done
        return (
            *(clips | f"Rows{n}" >> beam.Map(of_row) for n, clips in enumerate(rows)),
            *(dead | f"Letters{n}" >> beam.Map(of_letter, self._pipeline_version) for n, dead in enumerate(letters)),
        )


class TallyClips(beam.PTransform):
    """From (rows of clips, letters) to what they add to the run's counts."""

    def expand(self, done: RowsAndLetters) -> Tallies:
        """Wires the transform."""
        rows, letters = done
        return (
            *(clips | f"Rows{n}" >> beam.Map(tally_of_row) for n, clips in enumerate(rows)),
            *(dead | f"Letters{n}" >> beam.Map(tally_of_letter) for n, dead in enumerate(letters)),
        )


class LetterRows(beam.PTransform):
    """From letters to the lines of the dead-letter files."""

    def __init__(self, run_id: str) -> None:
        """Writes `run_id` into each."""
        super().__init__()
        self._run_id = run_id

    def expand(self, letters: Letters) -> Rows:
        """Wires the transform."""
        return tuple(dead | f"Letters{n}" >> beam.Map(letter_row, self._run_id) for n, dead in enumerate(letters))


def of_row(row: Row) -> Row:
    """The index line of an embedded clip: the columns of `schemas.INDEX_FIELDS`."""
    same = ("clip_id", "uri", "source_version", "listed_by", "pipeline_version", "num_patches", "duration_s")
    embedded = {"status": EMBEDDED, "code": None, "retryable": None, "attempt": 1, "as_of": None}
    return {name: row[name] for name in same} | embedded


def of_letter(letter: DeadLetter, pipeline_version: str) -> Row:
    """The index line of a dead clip: the columns of `schemas.INDEX_FIELDS`."""
    same = ("clip_id", "uri", "source_version", "listed_by", "code", "retryable", "attempt")
    dead = {
        "pipeline_version": pipeline_version,
        "status": DEAD,
        "as_of": None,
        "num_patches": 0,
        "duration_s": 0.0,
    }
    return {name: getattr(letter, name) for name in same} | dead


def letter_row(letter: DeadLetter, run_id: str) -> Row:
    """The line of a dead letter: the columns of `schemas.DEAD_LETTER_FIELDS`."""
    return {**dataclasses.asdict(letter), "run_id": run_id}


def tally_of_row(row: Row) -> Tally:
    """What an embedded clip adds to the run's counts."""
    return {
        "embedded": 1,
        "truncated": int(row["truncated"]),
        "num_patches": row["num_patches"],
        "audio_s": row["duration_s"],
    }


def tally_of_letter(letter: DeadLetter) -> Tally:
    """What a dead clip adds to the run's counts."""
    count(DEAD_METRIC + letter.code)
    return {"dead": 1, DEAD_PREFIX + letter.code: 1}
