"""DecodeClips: bytes in, segments of the 16 kHz waveform out; never a whole recording in memory."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

import apache_beam as beam
import numpy as np

from transforms import errors, segments
from transforms.audio import Decoder
from transforms.dead_letters import DEAD, Failures, Letter, letter
from transforms.metrics import count
from transforms.records import DeadLetter, FetchedClip, Segment

STAGE = "DecodeClips"


class DecodeClips(beam.PTransform):
    """From FetchedClip to Segment."""

    def __init__(
        self,
        *,
        failures: Failures,
        max_duration_s: float | None = None,
        max_patches: int = segments.MAX_PATCHES,
    ) -> None:
        """Decodes clips of at most `max_duration_s` into segments of `max_patches`; letters go to `failures`."""
        super().__init__()
        self._failures = failures
        self._max_duration_s = max_duration_s
        self._max_patches = max_patches

    def expand(self, fetched: beam.PCollection[FetchedClip]) -> beam.PCollection[Segment]:
        """Wires the transform."""
        decoded = fetched | "Decode" >> beam.FlatMap(
            _segments_or_letter, self._max_duration_s, self._max_patches
        ).with_outputs(DEAD, main="segments")
        self._failures.add(decoded[DEAD])
        return decoded.segments


def segments_of(
    fetched: FetchedClip,
    max_duration_s: float | None = None,
    max_patches: int = segments.MAX_PATCHES,
) -> Iterator[Segment]:
    """Decodes a clip while its segments are taken.

    Raises:
      ClipError: before the first segment. Later trouble is the letter of a last segment.
    """
    clip = fetched.clip
    position = 0
    try:
        with _opened(fetched) as source:
            decoder = Decoder(source, max_duration_s=max_duration_s)
            for cut in segments.cut(decoder, max_patches):
                facts = decoder.facts if cut.is_last else None
                yield Segment(clip, position, cut.first_patch, cut.waveform, fetched.content_sha256, facts)
                position += 1
    except errors.ClipError as error:
        if position == 0:
            raise
        end = DeadLetter.of(clip, STAGE, error)
        yield Segment(clip, position, 0, np.empty(0, np.float32), fetched.content_sha256, None, letter=end)


@contextlib.contextmanager
def _opened(fetched: FetchedClip) -> Iterator[BinaryIO]:
    if fetched.path is None:
        yield io.BytesIO(fetched.data or b"")
        return
    try:
        with open(fetched.path, "rb") as source:
            yield source
    finally:
        if fetched.is_temporary:
            os.unlink(fetched.path)


def _segments_or_letter(
    fetched: FetchedClip, max_duration_s: float | None, max_patches: int
) -> Iterator[Segment | Letter]:
    count("decode_clips_in")
    try:
        for segment in segments_of(fetched, max_duration_s, max_patches):
            count("decode_clips_out", segment.position == 0)
            count("decode_clips_segments", segment.letter is None)
            yield segment
    except errors.ClipError as error:
        count("decode_clips_failed")
        yield letter(fetched.clip, STAGE, error)
