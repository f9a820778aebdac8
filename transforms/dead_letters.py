"""Owns what happens to clips without a row: every transform adds its letters here, and they are written once."""

from typing import Literal, TypeAlias

import apache_beam as beam

from transforms import errors
from transforms.records import Clip, DeadLetter

DEAD = "dead"  # the output tag of letters in every transform
Letter: TypeAlias = beam.pvalue.TaggedOutput[Literal["dead"], DeadLetter]


class Failures:
    """Gathers the letters of all stages of one pipeline while it is built."""

    def __init__(self) -> None:
        self._letters: list[beam.PCollection[DeadLetter]] = []

    def add(self, letters: beam.PCollection[DeadLetter]) -> None:
        """Adds the letters of one stage."""
        self._letters.append(letters)

    @property
    def letters(self) -> tuple[beam.PCollection[DeadLetter], ...]:
        """The letters of every stage, each in a collection of its own."""
        return tuple(self._letters)


def letter(clip: Clip, stage: str, error: errors.ClipError) -> Letter:
    """An error as output of a stage."""
    return Letter(DEAD, DeadLetter.of(clip, stage, error))
