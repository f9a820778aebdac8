"""PlanWork: the clips that need work, by joining the listing with the index of committed runs."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import apache_beam as beam

from transforms import runs
from transforms.records import Clip
from transforms.tally import Tally
from transforms.wiring import Plan

NUM_PARTITIONS = 256  # of the join; one holds 4000 of a million clips
Decided: TypeAlias = beam.pvalue.TaggedOutput[Literal["tally"], Tally]
MAX_ATTEMPTS = 3  # runs in which a retryable clip is tried


class PlanWork(beam.PTransform):
    """From batches of listed clips to (clips that need work, each once; counts of what was decided)."""

    def __init__(self, dataset: str, *, pipeline_version: str, force: bool = False) -> None:
        """Plans against the committed runs of `dataset`; `force` takes every clip."""
        super().__init__()
        self._dataset = dataset
        self._pipeline_version = pipeline_version
        self._force = force

    def expand(self, batches: beam.PCollection[list[Clip]]) -> Plan:
        """Wires the transform."""
        listed = batches | "PartitionListed" >> beam.FlatMap(partitioned)
        done = (
            batches.pipeline
            | "Dataset" >> beam.Create([self._dataset], reshuffle=False)
            | "IndexFiles" >> beam.FlatMap(runs.index_files)
            | "SpreadIndex" >> beam.Reshuffle()
            | "ReadIndex" >> beam.FlatMap(runs.read_index)
            | "PartitionDone" >> beam.FlatMap(partitioned)
        )
        planned = (
            {"listed": listed, "done": done}
            | "Join" >> beam.CoGroupByKey()
            | "Decide" >> beam.FlatMap(_decide, self._pipeline_version, self._force).with_outputs("tally", main="clips")
        )
        return planned.clips, planned.tally


def partitioned(batch: Iterable[Clip | runs.Done]) -> Iterator[tuple[int, list[Clip | runs.Done]]]:
    """Splits a batch by clip_id, so that a clip and what was done of it meet in one partition."""
    parts: dict[int, list[Clip | runs.Done]] = {}
    for item in batch:
        parts.setdefault(int(item.clip_id[:4], 16) % NUM_PARTITIONS, []).append(item)
    yield from parts.items()


def decision(clip: Clip, done: runs.Done | None, pipeline_version: str) -> str:
    """What to do with a listed clip, given the newest that was done of it: new, changed, stale, retry or unchanged."""
    if done is None:
        return "new"
    if done.pipeline_version != pipeline_version:
        return "stale"
    if done.source_version != clip.source_version:
        return "changed"
    if done.status == "dead" and done.retryable and done.attempt < MAX_ATTEMPTS:
        return "retry"
    return "unchanged"


def _decide(
    partition: tuple[int, dict[str, Iterable[list[Any]]]], pipeline_version: str, force: bool
) -> Iterator[Clip | Decided]:
    _, joined = partition
    done = runs.newest(item for batch in joined["done"] for item in batch)
    counts: Counter[str] = Counter()
    for clip in {clip.clip_id: clip for batch in joined["listed"] for clip in batch}.values():
        before = done.get(clip.clip_id)
        verdict = decision(clip, before, pipeline_version)
        if force and verdict == "unchanged":
            verdict = "forced"
        counts.update(["listed", verdict])
        if verdict == "retry" and before is not None:
            yield dataclasses.replace(clip, attempt=before.attempt + 1)
        elif verdict != "unchanged":
            yield clip
        elif before is not None and before.status == "dead":
            counts["unchanged_dead"] += 1
    yield Decided("tally", dict(counts))
