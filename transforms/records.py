"""Owns the records that travel between the transforms: frozen, small, and picklable."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms import errors
from transforms.audio import AudioFacts
from transforms.segments import Waveform

Array = npt.NDArray[np.float32]


def clip_id(uri: str) -> str:
    """The first 32 hex digits of the URI's sha256; in SQL: SUBSTR(TO_HEX(SHA256(uri)), 1, 32)."""
    return hashlib.sha256(uri.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Clip:
    """One audio object, before anything is read of it.

    Attributes:
      clip_id: from the URI.
      uri: where it is.
      source_version: which bytes are meant; None where they could not be stated.
      num_bytes: size as listed; None where it could not be stated.
      attempt: 1, or one more than that of the run in which it died with a retryable error.
      listed_by: the input that named it.
      metadata: what a list said of it, in the order of the run's metadata columns.
    """

    clip_id: str
    uri: str
    source_version: str | None = None
    num_bytes: int | None = None
    attempt: int = 1
    listed_by: str | None = None
    metadata: tuple[str | None, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles by position: millions cross a shuffle, and the default looks every field up by name."""
        fields = (
            self.clip_id,
            self.uri,
            self.source_version,
            self.num_bytes,
            self.attempt,
            self.listed_by,
            self.metadata,
        )
        return Clip, fields

    @classmethod
    def of(
        cls,
        uri: str,
        source_version: str | None = None,
        num_bytes: int | None = None,
        listed_by: str | None = None,
        metadata: tuple[str | None, ...] = (),
    ) -> "Clip":
        """A clip by its URI."""
        return cls(clip_id(uri), uri, source_version, num_bytes, 1, listed_by, metadata)


class Batch(list[Any]):
    """Records that travel as one element: Beam's coders would pickle those of a plain list one by one."""


@dataclass(frozen=True, slots=True)
class FetchedClip:
    """A clip with its bytes: in memory if they are few, else in a local file.

    Attributes:
      clip: with the source_version that was read.
      data: the whole object, or None.
      path: of the local file, where there is no `data`.
      is_temporary: whether that file goes when the clip is decoded.
      content_sha256: of the bytes.
    """

    clip: Clip
    data: bytes | None
    path: str | None
    is_temporary: bool
    content_sha256: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a clip has no row.

    Attributes:
      stage: the transform it died in.
      code: stable word, see `errors`.
      message: for people: the value, the bound, the cure.
      retryable: whether a later run should try it again.
    """

    clip_id: str
    uri: str
    source_version: str | None
    stage: str
    code: str
    message: str
    retryable: bool
    attempt: int
    listed_by: str | None = None

    @classmethod
    def of(cls, clip: Clip, stage: str, error: errors.ClipError) -> "DeadLetter":
        """The letter of an error."""
        return cls(
            clip_id=clip.clip_id,
            uri=clip.uri,
            source_version=clip.source_version,
            stage=stage,
            code=error.code,
            message=str(error),
            retryable=error.retryable,
            attempt=clip.attempt,
            listed_by=clip.listed_by,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Up to 64 consecutive patches of a clip: the bounded element between decoding and the network.

    Attributes:
      clip: whose.
      position: 0, 1, 2 ... in the clip.
      first_patch: index in the clip of its first patch.
      waveform: float32 [num_samples] at 16 kHz; empty beside a letter.
      content_sha256: of the clip's bytes.
      facts: of the whole clip, in its last segment.
      letter: in the last segment of a clip that died after its first segments had left.
    """

    clip: Clip
    position: int
    first_patch: int
    waveform: Waveform
    content_sha256: str
    facts: AudioFacts | None
    letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSegment:
    """A segment after the network.

    Attributes:
      clip, position, first_patch, content_sha256, facts: as in Segment.
      embeddings: float32 [num_patches, 1024].
      scores: float32 [num_patches, 521].
      letter: why the clip is dead; then the arrays are empty.
    """

    clip: Clip
    position: int
    first_patch: int
    content_sha256: str
    facts: AudioFacts | None
    embeddings: Array
    scores: Array
    letter: DeadLetter | None = None

    @property
    def is_whole_clip(self) -> bool:
        """Whether the clip has no other segment."""
        return self.position == 0 and self.facts is not None


@dataclass(frozen=True, slots=True, eq=False)
class ClipEmbedding:
    """A whole clip after the network.

    Attributes:
      num_patches: pooled over.
      embedding: float32 [1024], mean over patches.
      scores: float32 [521], mean over patches.
      scores_max: float32 [521], maximum over patches.
    """

    clip: Clip
    facts: AudioFacts
    content_sha256: str
    num_patches: int
    embedding: Array
    scores: Array
    scores_max: Array


Row = dict[str, Any]  # one row of the output, by column name: see `schemas`
