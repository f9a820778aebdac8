"""The compact command: many committed runs become one, whole or not at all."""

import datetime
import os
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import report
from pipeline.dataset import Dataset
from transforms import errors, runs, schemas, storage
from transforms.runs import Done, Manifest
from transforms.writers import MAX_FILE_ROWS, Table, WrittenFile, outputs_of, parquet_writer


def command(uri: str, *, remove_old: bool) -> int:
    """Compacts a dataset, prints what was done, and returns the exit code.

    Raises:
      UsageError: there is nothing to compact.
    """
    dataset = Dataset.open(uri)
    if len(dataset.runs) < 2:
        raise errors.UsageError(f"{uri} has a single committed run; there is nothing to compact")
    manifest = compact(dataset)
    print(f"{len(dataset.runs)} runs are now one: {manifest['run_id']}, {manifest['embedded']:,} clips")
    if remove_old:
        num_bytes = sum(output["bytes"] for run in dataset.runs for output in run.manifest["outputs"])
        for run in dataset.runs:
            remove(run.directory)
        print(f"removed the old ones, {report.size(num_bytes)}")
    else:
        print("The old runs are still there, for who reads them now; compact with --remove_old to remove them.")
    return 0


def compact(dataset: Dataset) -> Manifest:
    """Writes the newest row of each clip, and what is known of the others, as one run, and commits it.

    A run that another process commits meanwhile loses nothing: every line of the index keeps its own time.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    run_id = f"{now:%Y%m%dT%H%M%S}-compacted-{uuid.uuid4().hex[:6]}"
    directory = runs.run_directory(dataset.uri, run_id)
    kinds = [kind for kind in ("clips", "patches") if any(runs.files(run, kind, "parquet") for run in dataset.runs)]
    files = [file for kind in kinds for file in _write_rows(dataset, kind, directory)]
    files.append(_write_index(dataset, directory))
    last = dataset.runs[-1].manifest
    status = [done.status for done in dataset.done.values()]
    manifest = {
        **last,
        "run_id": run_id,
        "attempt_id": uuid.uuid4().hex,
        "compacted": [run.manifest["run_id"] for run in dataset.runs],
        "listed": len(dataset),
        "embedded": len(dataset),
        "dead": 0,
        "unchanged": 0,
        "deleted": status.count(runs.DELETED),
        "dead_by_code": {},
        "num_patches": sum(run.manifest["num_patches"] for run in dataset.runs),
        "audio_hours": sum(run.manifest["audio_hours"] for run in dataset.runs),
        "outputs": outputs_of(files),
        "started_at": now.isoformat(timespec="milliseconds"),
        "finished_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
    }
    runs.publish(directory, manifest)
    return manifest


def remove(directory: str) -> None:
    """Removes a run: first what makes it count, then its files."""
    storage.delete([storage.join(directory, runs.SUCCESS_FILE)])
    storage.delete(storage.children(directory))
    if storage.is_local(directory):
        os.rmdir(directory)


def _write_rows(dataset: Dataset, kind: str, directory: str) -> Iterable[WrittenFile]:
    schema = _united_schema(dataset, kind)
    batches = (_fitted(batch, schema) for batch in dataset.batches(kind=kind))
    batch = next(batches, None)
    while batch is not None:
        uri = storage.join(directory, f"{kind}-{uuid.uuid4().hex[:12]}.parquet")
        num_rows = 0
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "part.parquet"
            with parquet_writer(str(path), schema) as writer:
                while batch is not None and num_rows < MAX_FILE_ROWS:
                    writer.write_batch(batch)
                    num_rows += batch.num_rows
                    batch = next(batches, None)
            num_bytes = path.stat().st_size
            storage.publish(str(path), uri)
        yield WrittenFile(kind, "parquet", uri, num_rows, num_bytes)


def _write_index(dataset: Dataset, directory: str) -> WrittenFile:
    writer = Table("index", "parquet", schemas.INDEX_FIELDS, directory).open()
    for clip_id, newest in dataset.done.items():
        writer.write(_index_row(newest))
        row = dataset.rows.get(clip_id, newest)
        if row != newest:  # a clip that died after it had a row: the row counts, and so does its death
            writer.write(_index_row(row))
    return writer.close()


def _index_row(done: Done) -> dict[str, Any]:
    row: dict[str, Any] = {
        **done._asdict(),
        "code": None,
        "as_of": done.committed_at,
        "num_patches": 0,
        "duration_s": 0.0,
    }
    return row


def _united_schema(dataset: Dataset, kind: str) -> pa.Schema:
    """The columns of all runs; those that some lack are null there."""
    newest = dataset.schema(kind=kind)
    fields = {field.name: field for field in newest}
    for run in reversed(dataset.runs):
        for file in runs.files(run, kind, "parquet"):
            with storage.open_binary(file) as source:
                for field in pq.read_schema(source):
                    fields.setdefault(field.name, field.with_nullable(True))
    return pa.schema(list(fields.values()), metadata=newest.metadata)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        batch.column(field.name) if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
