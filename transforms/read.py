"""ReadClips: clips in, their bytes out; what cannot be read is a dead letter."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import apache_beam as beam

from transforms import errors, storage
from transforms.dead_letters import DEAD, Failures, Letter, letter
from transforms.metrics import measure
from transforms.records import Clip, FetchedClip

STAGE = "ReadClips"
STREAMED_BYTES = 64 << 20  # larger objects are streamed into the decoder instead of held


class ReadClips(beam.PTransform):
    """From Clip to FetchedClip."""

    def __init__(self, *, failures: Failures, max_bytes: int | None = None) -> None:
        """Reads clips of at most `max_bytes`; letters go to `failures`."""
        super().__init__()
        self._failures = failures
        self._max_bytes = max_bytes

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[FetchedClip]:
        """Wires the transform."""
        fetched = (
            clips
            | "Spread" >> beam.Reshuffle()  # only URIs cross it; all that follows is one fused stage
            | "Fetch" >> beam.FlatMap(_fetch_or_letter, self._max_bytes).with_outputs(DEAD, main="fetched")
        )
        self._failures.add(fetched[DEAD])
        return fetched.fetched


def fetch(clip: Clip, max_bytes: int | None = None) -> FetchedClip:
    """Reads a clip, or leaves it to be streamed if it is large.

    Raises:
      SourceError: it is gone, has changed since it was listed, is too large, or cannot be read.
    """
    found = storage.stat(clip.uri)
    if clip.source_version is not None and found.version != clip.source_version:
        raise errors.SourceChangedError(
            f"{clip.uri} was replaced after it had been listed ({clip.source_version}, now {found.version})"
        )
    if max_bytes is not None and found.num_bytes > max_bytes:
        raise errors.TooLargeError(
            f"{found.num_bytes:,} bytes, more than --max_bytes={max_bytes}; raise it to embed the clip"
        )
    clip = replace(clip, source_version=found.version, num_bytes=found.num_bytes)
    if found.num_bytes > STREAMED_BYTES:
        return FetchedClip(clip, None, None)
    data = storage.read_bytes(clip.uri)
    return FetchedClip(clip, data, hashlib.sha256(data).hexdigest())


def _fetch_or_letter(clip: Clip, max_bytes: int | None) -> Iterator[FetchedClip | Letter]:
    try:
        with measure("fetch") as step:
            fetched = fetch(clip, max_bytes)
            step.num_bytes = fetched.clip.num_bytes or 0
        yield fetched
    except errors.ClipError as error:
        yield letter(clip, STAGE, error)
