"""Reading a dataset: of all committed runs, the newest row of each clip. And rewriting many runs as one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from transforms import errors, runs, storage
from transforms.runs import Done, Run


@dataclass(frozen=True)
class Dataset:
    """The committed runs of a dataset, as they were when it was opened.

    dataset = Dataset.open("gs://bucket/birds")
    for batch in dataset.batches(["clip_id", "embedding"]):
        ...
    table = dataset.table(["uri", "top_classes"])
    """

    uri: str
    runs: tuple[Run, ...]
    done: dict[str, Done]  # by clip_id, the newest that was done of it
    rows: dict[str, Done]  # by clip_id, what was done when its newest row was made; clips without a row are left out
    run_of: dict[str, str]  # by clip_id, the run_id that holds that row

    @classmethod
    def open(cls, uri: str) -> "Dataset":
        """Reads manifests and indexes, not rows.

        Raises:
          UsageError: no committed run is there.
        """
        uri = storage.normalise(uri)
        found = tuple(runs.committed(uri))
        if not found:
            raise errors.UsageError(f"{uri} holds no committed run: give the --output of one")
        done: dict[str, Done] = {}
        rows: dict[str, Done] = {}
        run_of: dict[str, str] = {}
        for run in found:
            for item in _index(run):
                if not _is_older(item, done):
                    done[item.clip_id] = item
                if item.status == runs.EMBEDDED and not _is_older(item, rows):
                    rows[item.clip_id] = item
                    run_of[item.clip_id] = run.manifest["run_id"]
        for clip_id in [clip_id for clip_id in rows if done[clip_id].status == runs.DROPPED]:
            del rows[clip_id], run_of[clip_id]
        return cls(uri, found, done, rows, run_of)

    def __len__(self) -> int:
        """Clips with a row."""
        return len(self.rows)

    def batches(
        self, columns: list[str] | None = None, *, kind: str = "clips", batch_rows: int = 4096
    ) -> Iterator[pa.RecordBatch]:
        """The newest rows, run by run, in bounded memory.

        Args:
          columns: to read; None for all.
          kind: clips or patches.
          batch_rows: rows read at a time.

        Raises:
          UsageError: a run has no Parquet rows of that kind.
        """
        for run in self.runs:
            run_id = run.manifest["run_id"]
            wanted = pa.array([clip for clip, newest in self.run_of.items() if newest == run_id], pa.string())
            if not len(wanted):
                continue
            files = runs.files(run, kind, "parquet")
            if not files:
                raise errors.UsageError(
                    f"run {run_id} has no Parquet rows of {kind}: embed with --sink=parquet and --rows=both"
                )
            for file in files:
                yield from _newest_rows(file, wanted, columns, batch_rows)

    def table(self, columns: list[str] | None = None, *, kind: str = "clips") -> pa.Table:
        """The newest rows as one table in memory."""
        return pa.Table.from_batches(list(self.batches(columns, kind=kind)), self.schema(columns, kind=kind))

    def schema(self, columns: list[str] | None = None, *, kind: str = "clips") -> pa.Schema:
        """The columns of the newest run that has rows, with the class names as metadata."""
        for run in reversed(self.runs):
            for file in runs.files(run, kind, "parquet"):
                with storage.open_binary(file) as source:
                    schema = pq.read_schema(source)
                chosen = [schema.field(name) for name in columns or schema.names]
                return pa.schema(chosen, metadata=schema.metadata)
        raise errors.UsageError(f"{self.uri} holds no Parquet rows of {kind}")

    def info(self) -> dict[str, Any]:
        """Counts and versions, for people."""
        newest = set(self.run_of.values())
        last = self.runs[-1].manifest
        with_rows = [run.manifest for run in self.runs if run.manifest["run_id"] in newest]
        return {
            "dataset": self.uri,
            "clips": len(self),
            "committed_runs": len(self.runs),
            "runs_with_newest_rows": len(newest),
            "newest_run": last["run_id"],
            "committed_at": last["finished_at"],
            "bytes": sum(output["bytes"] for run in self.runs for output in run.manifest["outputs"]),
            "model_versions": sorted({manifest["model_version"] for manifest in with_rows}),
            "pipeline_versions": sorted({manifest["pipeline_version"] for manifest in with_rows}),
        }


def _index(run: Run) -> Iterator[Done]:
    for file in runs.files(run, "index"):
        for batch in runs.read_index((run.manifest["finished_at"], file)):
            yield from batch


def _is_older(item: Done, than: dict[str, Done]) -> bool:
    held = than.get(item.clip_id)
    return held is not None and item.committed_at < held.committed_at


def _newest_rows(file: str, wanted: pa.Array, columns: list[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
    with storage.open_binary(file) as source:
        parquet = pq.ParquetFile(source)
        read = None if columns is None else list(dict.fromkeys([*columns, "clip_id"]))
        for batch in parquet.iter_batches(batch_rows, columns=read):
            kept = batch.filter(pa.compute.is_in(batch.column("clip_id"), wanted))
            if kept.num_rows:
                yield kept if columns is None else kept.select(columns)
