"""PoolClips: embedded segments in, one embedding a clip out.

A clip of one segment, which most are, is pooled where it was embedded. Only the parts of longer recordings cross a
shuffle, as sums of 17 kB. The two stay apart up to the files they are written to: flattening them would make the
local runner hold every row in memory.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import apache_beam as beam

from transforms.dead_letters import DEAD, Failures, Letter
from transforms.metrics import count, measure
from transforms.pooling import Part
from transforms.records import ClipEmbedding, DeadLetter, EmbeddedSegment
from transforms.wiring import Pooled

PartOfClip: TypeAlias = beam.pvalue.TaggedOutput[Literal["parts"], tuple[str, Part]]


class PoolClips(beam.PTransform):
    """From EmbeddedSegment to ClipEmbedding: (clips of one segment, recordings of several)."""

    def __init__(self, *, failures: Failures) -> None:
        """Letters that segments carry go to `failures`, one a clip."""
        super().__init__()
        self._failures = failures

    def expand(self, segments: beam.PCollection[EmbeddedSegment]) -> Pooled:
        """Wires the transform."""
        pooled = segments | "PoolWhole" >> beam.FlatMap(_pool_whole).with_outputs("parts", DEAD, main="clips")
        recordings = (
            pooled.parts
            | "AddParts" >> beam.CombinePerKey(_add_parts)
            | "Finish" >> beam.FlatMapTuple(lambda _, part: _finished(part)).with_outputs(DEAD, main="recordings")
        )
        self._failures.add(pooled[DEAD])
        self._failures.add(recordings[DEAD])
        return pooled.clips, recordings.recordings


def _pool_whole(segment: EmbeddedSegment) -> Iterator[ClipEmbedding | Letter | PartOfClip]:
    with measure("pool"):
        part = Part.of(segment)
    if segment.is_whole_clip:
        yield from _finished(part)
    else:
        yield PartOfClip("parts", (segment.clip.clip_id, part))


def _add_parts(parts: Iterable[Part | None]) -> Part | None:
    total = None
    for part in parts:
        total = part if total is None or part is None else total + part
    return total


def _finished(part: Part) -> Iterator[ClipEmbedding | Letter]:
    count("pool_clips_in")
    result = part.finish()
    if isinstance(result, DeadLetter):
        count("pool_clips_failed")
        yield Letter(DEAD, result)
    else:
        count("pool_clips_out")
        count("pool_clips_audio_milliseconds", round(result.facts.duration_s * 1e3))
        yield result
