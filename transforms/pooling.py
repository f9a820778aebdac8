"""Owns pooling: means and maxima over a clip's patches, from parts that may arrive in any order.

Sums are kept in float64, so that the result does not depend on how a recording was cut.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.audio import AudioFacts
from transforms.records import Array, Clip, ClipEmbedding, DeadLetter, EmbeddedSegment


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Sums over some segments of one clip: what crosses the shuffle of a long recording, 17 kB.

    Attributes:
      num_segments, num_patches: summed here.
      embedding_sum: float64 [1024].
      score_sum: float64 [521].
      score_max: float32 [521].
      num_expected: segments of the clip, known by its last one.
      facts: known by its last one.
      letter: if the clip died on the way.
    """

    clip: Clip
    content_sha256: str
    num_segments: int
    num_patches: int
    embedding_sum: npt.NDArray[np.float64]
    score_sum: npt.NDArray[np.float64]
    score_max: Array
    num_expected: int | None
    facts: AudioFacts | None
    letter: DeadLetter | None

    @classmethod
    def of(cls, segment: EmbeddedSegment) -> "Part":
        """The sums of one segment."""
        return cls(
            clip=segment.clip,
            content_sha256=segment.content_sha256,
            num_segments=1,
            num_patches=len(segment.embeddings),
            embedding_sum=segment.embeddings.sum(0, dtype=np.float64),
            score_sum=segment.scores.sum(0, dtype=np.float64),
            score_max=segment.scores.max(0, initial=0),
            num_expected=segment.position + 1 if segment.facts else None,
            facts=segment.facts,
            letter=segment.letter,
        )

    def __add__(self, other: "Part") -> "Part":
        if self.letter or other.letter:
            return self if self.letter else other
        return Part(
            clip=self.clip,
            content_sha256=self.content_sha256,
            num_segments=self.num_segments + other.num_segments,
            num_patches=self.num_patches + other.num_patches,
            embedding_sum=self.embedding_sum + other.embedding_sum,
            score_sum=self.score_sum + other.score_sum,
            score_max=np.maximum(self.score_max, other.score_max),
            num_expected=self.num_expected or other.num_expected,
            facts=self.facts or other.facts,
            letter=None,
        )

    def finish(self) -> ClipEmbedding | DeadLetter:
        """The clip, once all its parts are added up.

        Raises:
          RuntimeError: parts are missing; a runner lost or repeated some, and a wrong mean must not leave.
        """
        if self.letter:
            return self.letter
        if self.facts is None or self.num_segments != self.num_expected:
            raise RuntimeError(f"{self.clip.uri}: {self.num_segments} segments arrived, {self.num_expected} were sent")
        return ClipEmbedding(
            clip=self.clip,
            facts=self.facts,
            content_sha256=self.content_sha256,
            num_patches=self.num_patches,
            embedding=(self.embedding_sum / self.num_patches).astype(np.float32),
            scores=(self.score_sum / self.num_patches).astype(np.float32),
            scores_max=self.score_max,
        )
