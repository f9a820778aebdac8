"""PlanWork: the clips that need work, by joining the listing with the index of committed runs."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal, TypeAlias

import apache_beam as beam

from transforms import logs, runs, tally
from transforms.metrics import count
from transforms.records import Batch, Clip, Row
from transforms.tally import Tally
from transforms.wiring import Plan

STAGE = "PlanWork"
NUM_PARTITIONS = 256  # of the join; one holds 4000 of a million clips
MAX_ATTEMPTS = 3  # runs in which a retryable clip is tried

Mode: TypeAlias = Literal["refresh", "only_new", "retry", "force"]
Decided: TypeAlias = beam.pvalue.TaggedOutput[Literal["tally"], Tally]
Gone: TypeAlias = beam.pvalue.TaggedOutput[Literal["gone"], Row]


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What PlanWork goes by.

    Attributes:
      pipeline_version: of this run; rows made under another are stale.
      inputs: of this run; a clip that one of them listed before and no longer lists is deleted.
      mode: refresh does what is new, changed, stale or worth another try; only_new what was never seen; retry what is
        dead, however often it was tried; force everything.
      drop_deleted: whether the rows of deleted clips leave the dataset.
    """

    pipeline_version: str
    inputs: Collection[str] = ()
    mode: Mode = "refresh"
    drop_deleted: bool = False


class PlanWork(beam.PTransform):
    """From batches of listed clips to (clips that need work, each once; index lines of those gone; counts)."""

    def __init__(self, dataset: str, policy: Policy) -> None:
        """Plans against the committed runs of `dataset`."""
        super().__init__()
        self._dataset = dataset
        self._policy = policy

    def expand(self, batches: beam.PCollection[Batch]) -> Plan:
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
            | "Decide" >> beam.FlatMap(_decide, self._policy).with_outputs("tally", "gone", main="clips")
        )
        return planned.clips, planned.gone, planned.tally


class LogPlan(beam.PTransform):
    """From the counts of PlanWork to nothing: one line for the operator, once all is planned."""

    def __init__(self, run_id: str) -> None:
        """Writes `run_id` into the line."""
        super().__init__()
        self._run_id = run_id

    def expand(self, planned: beam.PCollection[Tally]) -> beam.PCollection[None]:
        """Wires the transform."""
        return (
            planned
            | "Sum" >> beam.CombineGlobally(tally.add).without_defaults()
            | "Log" >> beam.Map(_log, self._run_id)
        )


def _log(counts: Tally, run_id: str) -> None:
    facts: dict[str, Any] = {**counts}
    logs.event(STAGE, "plan made", run_id=run_id, **facts)


def partitioned(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """Splits a batch by clip_id, so that a clip and what was done of it meet in one partition."""
    parts: dict[int, Batch] = {}
    for item in batch:
        parts.setdefault(int(item.clip_id[:4], 16) % NUM_PARTITIONS, Batch()).append(item)
    yield from parts.items()


def decision(clip: Clip, done: runs.Done | None, policy: Policy) -> str:
    """What to do with a listed clip, given the newest that was done of it: a word of `tally`."""
    verdict = _verdict(clip, done, policy.pipeline_version)
    is_dead = done is not None and done.status == runs.DEAD
    if policy.mode == "force" and verdict == "unchanged":
        return "forced"
    if policy.mode == "only_new" and verdict != "new":
        return "unchanged"
    if policy.mode == "retry":
        return "retry" if is_dead else "unchanged"
    return verdict


def _verdict(clip: Clip, done: runs.Done | None, pipeline_version: str) -> str:
    if done is None or done.status in runs.GONE:
        return "new"
    if done.pipeline_version != pipeline_version:
        return "stale"
    if done.source_version != clip.source_version:
        return "changed"
    if done.status == runs.DEAD and done.retryable and done.attempt < MAX_ATTEMPTS:
        return "retry"
    return "unchanged"


def _decide(partition: tuple[int, dict[str, Iterable[Batch]]], policy: Policy) -> Iterator[Clip | Decided | Gone]:
    _, joined = partition
    done = runs.newest(item for batch in joined["done"] for item in batch)
    clips = [clip for batch in joined["listed"] for clip in batch]
    listed = {clip.clip_id: clip for clip in clips}
    counts: Counter[str] = Counter()
    for clip in listed.values():
        before = done.get(clip.clip_id)
        verdict = decision(clip, before, policy)
        counts.update(["listed", verdict])
        if verdict == "retry" and before is not None:
            yield dataclasses.replace(clip, attempt=before.attempt + 1)
        elif verdict != "unchanged":
            yield clip
        elif before is not None and before.status == runs.DEAD:
            counts["unchanged_dead"] += 1
    for before in done.values():
        if before.clip_id not in listed and _goes(before, policy):
            counts["deleted"] += 1
            yield Gone("gone", runs.gone_row(before, dropped=policy.drop_deleted))
    count("plan_work_in", len(clips))
    count("plan_work_out", counts["listed"] - counts["unchanged"])
    count("plan_work_unchanged", counts["unchanged"])
    count("plan_work_repeated", len(clips) - len(listed))
    count("plan_work_deleted", counts["deleted"])
    yield Decided("tally", dict(counts))


def _goes(done: runs.Done, policy: Policy) -> bool:
    """Whether a clip that is not listed is to be recorded as gone: once, and once more to drop it after all."""
    recorded = runs.GONE if not policy.drop_deleted else (runs.DROPPED,)
    return done.listed_by in policy.inputs and done.status not in recorded
