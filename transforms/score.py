"""ScoreClips: clip embeddings in, finished rows out, with the names of their highest classes."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from transforms.metrics import count
from transforms.records import Array, ClipEmbedding, EmbeddedSegment, Row
from transforms.segments import PATCH_HOP_S, valid_fraction
from transforms.wiring import Letters, Pooled, Rows
from transforms.yamnet import Classes


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every row says of how it came about.

    Attributes:
      model_version: fingerprint of the weights.
      pipeline_version: hash of the settings.
      run_id: of the run.
      metadata_columns: names of what the clips carry from their lists.
    """

    model_version: str
    pipeline_version: str
    run_id: str
    metadata_columns: Sequence[str] = ()

    def columns(self) -> Row:
        """As columns, with the time."""
        return {
            "model_version": self.model_version,
            "pipeline_version": self.pipeline_version,
            "run_id": self.run_id,
            "processed_at": datetime.datetime.now(datetime.timezone.utc),
        }


class ScoreClips(beam.PTransform):
    """From ClipEmbedding to the row of a clip, for each of the collections that PoolClips gives."""

    def __init__(self, classes: Classes, provenance: Provenance, *, top_classes: int = 5) -> None:
        """Names the `top_classes` highest mean scores of each clip."""
        super().__init__()
        self._settings = classes, provenance, top_classes

    def expand(self, pooled: Pooled) -> Rows:
        """Wires the transform."""
        return tuple(clips | f"Score{n}" >> beam.Map(_counted_row, *self._settings) for n, clips in enumerate(pooled))


class PatchRows(beam.PTransform):
    """From EmbeddedSegment to one row a patch: (of clips of one segment, of recordings of several)."""

    def __init__(self, provenance: Provenance, *, letters: Letters) -> None:
        """Stamps the rows with `provenance`; recordings named in `letters` leave none."""
        super().__init__()
        self._provenance = provenance
        self._letters = letters

    def expand(self, segments: beam.PCollection[EmbeddedSegment]) -> Rows:
        """Wires the transform."""
        whole, parts = segments | "SplitWhole" >> beam.Partition(
            lambda segment, _: 0 if segment.is_whole_clip else 1, 2
        )
        # A recording may die after its first segments were embedded, so its patches wait for the verdict.
        dead = (
            tuple(self._letters) | beam.Flatten() | "DeadIds" >> beam.Map(lambda letter: (letter.clip_id, letter.code))
        )
        return (
            whole | "OfClips" >> beam.FlatMap(patch_rows, self._provenance),
            parts
            | "OfRecordings" >> beam.FlatMap(patch_rows, self._provenance)
            | "Living" >> beam.Filter(lambda row, dead: row["clip_id"] not in dead, beam.pvalue.AsDict(dead)),
        )


def clip_row(clip: ClipEmbedding, classes: Classes, provenance: Provenance, top_classes: int = 5) -> Row:
    """The row of a clip: the columns of `schemas.CLIP_FIELDS`."""
    facts, health = clip.facts, clip.facts.health
    return {
        "clip_id": clip.clip.clip_id,
        "uri": clip.clip.uri,
        "source_version": clip.clip.source_version,
        "content_sha256": clip.content_sha256,
        "duration_s": facts.duration_s,
        "sample_rate_hz": facts.sample_rate_hz,
        "num_channels": facts.num_channels,
        "truncated": facts.truncated,
        "num_patches": clip.num_patches,
        "embedding": clip.embedding,
        "scores": clip.scores,
        "scores_max": clip.scores_max,
        "top_classes": top(clip.scores, classes, top_classes),
        **health._asdict(),
        **provenance.columns(),
        **dict(zip(provenance.metadata_columns, clip.clip.metadata, strict=True)),
        "listed_by": clip.clip.listed_by,  # for the index alone
    }


def _counted_row(clip: ClipEmbedding, classes: Classes, provenance: Provenance, top_classes: int) -> Row:
    count("score_clips_in")
    row = clip_row(clip, classes, provenance, top_classes)
    count("score_clips_out")
    return row


def top(scores: Array, classes: Classes, count: int) -> Sequence[Row]:
    """The `count` classes of the highest scores [521], best first."""
    best = np.argsort(-scores, kind="stable")[:count]
    return [
        {
            "index": int(i),
            "mid": classes.mids[i],
            "name": classes.names[i],
            "score": float(scores[i]),
        }
        for i in best
    ]


def patch_rows(segment: EmbeddedSegment, provenance: Provenance) -> list[Row]:
    """The rows of a segment's patches: the columns of `schemas.PATCH_FIELDS`."""
    columns = provenance.columns()
    rows = []
    for offset, (embedding, scores) in enumerate(zip(segment.embeddings, segment.scores, strict=True)):
        index = segment.first_patch + offset
        num_samples = segment.facts.num_samples if segment.facts else None
        rows.append(
            {
                "clip_id": segment.clip.clip_id,
                "patch_index": index,
                "start_s": index * PATCH_HOP_S,
                "valid_fraction": 1.0 if num_samples is None else valid_fraction(index, num_samples),
                "embedding": embedding,
                "scores": scores,
                **columns,
            }
        )
    return rows
