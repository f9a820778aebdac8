"""Owns what a dataset looks like on disk: runs, their manifests, and the index of what was done.

    <dataset>/run=<run_id>/_SUCCESS        the manifest; written last, once, by whoever commits first
                           manifest.json   the same for people and tools; also there when the gate refused the run
                           clips-*  patches-*  dead_letters-*  index-*
Without _SUCCESS a run does not exist for readers.
"""

import concurrent.futures
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from transforms import errors, storage
from transforms.records import Batch, Row

SUCCESS_FILE, MANIFEST_FILE = "_SUCCESS", "manifest.json"
THREADS = 16  # that read manifests: a run a night makes hundreds in a year

Manifest = dict[str, Any]

EMBEDDED, DEAD, DELETED, DROPPED = "embedded", "dead", "deleted", "dropped"  # status in the index
GONE = (DELETED, DROPPED)


class Run(NamedTuple):
    """A committed run; its manifest names files relative to its directory, so that a dataset can be moved."""

    directory: str
    manifest: Manifest


class Done(NamedTuple):
    """What a committed run says of a clip.

    Attributes:
      committed_at: by the run that did it; the newest counts.
      the others: as in the index.
    """

    committed_at: str
    clip_id: str
    uri: str
    listed_by: str | None
    source_version: str | None
    pipeline_version: str
    status: str
    retryable: bool | None
    attempt: int


def run_directory(dataset: str, run_id: str) -> str:
    """Where a run keeps its files."""
    return storage.join(dataset, f"run={run_id}")


def run_id_of(directory: str) -> str:
    """The run that keeps its files in `directory`."""
    return directory.rstrip("/").rpartition("/run=")[2]


def manifest_of(directory: str) -> Manifest | None:
    """The manifest of a committed run; None if it is not committed."""
    try:
        manifest: Manifest = json.loads(storage.read_bytes(storage.join(directory, SUCCESS_FILE)))
    except errors.NotFoundError:
        return None
    return manifest


def publish(directory: str, manifest: Manifest) -> Manifest:
    """Commits a run: from now on it exists. A repetition by the same attempt changes nothing.

    Returns:
      The manifest that is committed.

    Raises:
      CommitError: another attempt has committed this run_id.
    """
    storage.create_exclusively(storage.join(directory, SUCCESS_FILE), _content(manifest))
    held = _held(directory, manifest) or manifest
    storage.write_bytes(storage.join(directory, MANIFEST_FILE), _content(held))
    return held


def refuse(directory: str, manifest: Manifest) -> None:
    """Leaves the manifest of a run that must not be committed, for people and tools.

    Raises:
      CommitError: another attempt has committed this run_id.
    """
    _held(directory, manifest)
    storage.write_bytes(storage.join(directory, MANIFEST_FILE), _content(manifest))


def committed(dataset: str) -> list[Run]:
    """All committed runs, oldest first."""
    found = storage.matches(storage.join(storage.literal(dataset), "run=*", SUCCESS_FILE))
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        runs = list(pool.map(_read, [success.uri for success in found]))
    return sorted(runs, key=lambda run: (run.manifest["finished_at"], run.manifest["run_id"]))


def files(run: Run, kind: str, file_format: str | None = None) -> list[str]:
    """URIs of a run's files of one kind."""
    return [
        storage.join(run.directory, output["path"])
        for output in run.manifest["outputs"]
        if output["kind"] == kind and file_format in (None, output["format"])
    ]


def index_files(dataset: str) -> Iterator[tuple[str, str]]:
    """(committed_at, URI) of every index file of the committed runs."""
    for run in committed(dataset):
        for uri in files(run, "index"):
            yield run.manifest["finished_at"], uri


def read_index(file: tuple[str, str]) -> Iterator[Batch]:
    """The contents of one index file, in batches."""
    committed_at, uri = file
    columns = [*Done._fields[1:], "as_of"]
    with storage.open_binary(uri) as source:
        for batch in pq.ParquetFile(source).iter_batches(batch_size=10_000, columns=columns):
            values = [batch.column(name).to_pylist() for name in columns]
            yield Batch(Done(as_of or committed_at, *row) for *row, as_of in zip(*values, strict=True))


def newest(done: Iterable[Done]) -> dict[str, Done]:
    """By clip_id, what the newest run says."""
    latest: dict[str, Done] = {}
    for item in done:
        held = latest.get(item.clip_id)
        if held is None or item.committed_at > held.committed_at:
            latest[item.clip_id] = item
    return latest


def gone_row(done: Done, *, dropped: bool) -> Row:
    """The index line of a clip whose source is gone: the columns of `schemas.INDEX_FIELDS`."""
    return {
        "clip_id": done.clip_id,
        "uri": done.uri,
        "source_version": done.source_version,
        "listed_by": done.listed_by,
        "pipeline_version": done.pipeline_version,
        "status": DROPPED if dropped else DELETED,
        "code": None,
        "retryable": None,
        "attempt": done.attempt,
        "as_of": None,
        "num_patches": 0,
        "duration_s": 0.0,
    }


def _read(success: str) -> Run:
    return Run(success.removesuffix(f"/{SUCCESS_FILE}"), json.loads(storage.read_bytes(success)))


def _held(directory: str, manifest: Manifest) -> Manifest | None:
    """The manifest under which this attempt has committed the run; None if nobody has."""
    held = manifest_of(directory)
    if held is not None and held["attempt_id"] != manifest["attempt_id"]:
        raise errors.CommitError(
            f"run_id {held['run_id']} was committed by another execution at {held['finished_at']}; "
            "nothing of this one counts. Leave --run_id out, or choose another"
        )
    return held


def _content(manifest: Manifest) -> bytes:
    return json.dumps(manifest, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
