"""Owns what happens to clips without a row: every transform adds its letters here, and they are written once."""

from collections.abc import Iterator

import apache_beam as beam

from transforms import errors
from transforms.records import Clip, DeadLetter

DEAD = "dead"  # the output tag of letters in every transform


class Failures:
    """Gathers the letters of all stages of one pipeline while it is built."""

    def __init__(self) -> None:
        self._letters: list[beam.PCollection[DeadLetter]] = []

    def add(self, letters: beam.PCollection[DeadLetter]) -> None:
        """Adds the letters of one stage."""
        self._letters.append(letters)

    def __iter__(self) -> Iterator[beam.PCollection[DeadLetter]]:
        return iter(self._letters)


def letter(clip: Clip, stage: str, error: errors.ClipError) -> beam.pvalue.TaggedOutput:
    """An error as output of a stage."""
    return beam.pvalue.TaggedOutput(DEAD, DeadLetter.of(clip, stage, error))
