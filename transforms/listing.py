"""ListClips: inputs in, batches of clips out; nothing is ever held in the launcher."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import apache_beam as beam

from transforms import errors, manifests, storage
from transforms.manifests import LIST, QUERY, URI_COLUMN
from transforms.metrics import count, measure
from transforms.records import Batch, Clip
from transforms.stores.https_access import HttpsAccess

BATCH_CLIPS = 1000
STAT_THREADS = 16


class ListClips(beam.PTransform):
    """From nothing to batches of clips (lists of Clip), with the versions of their sources.

    The batches may name a clip twice: PlanWork keeps one.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        uri_column: str = URI_COLUMN,
        metadata_columns: Sequence[str] = (),
        http: HttpsAccess = storage.HTTPS_OFF,
    ) -> None:
        """Lists `inputs`.

        Args:
          inputs: each a URI, a glob, @ and the URI (or glob) of a list, or bq: and a query.
          uri_column: of lists that have columns.
          metadata_columns: of lists, to be carried to the rows.
          http: which web hosts may be asked.
        """
        super().__init__()
        self._inputs = list(inputs)
        self._columns = uri_column, tuple(metadata_columns)
        self._http = http

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Batch]:
        """Wires the transform."""
        return (
            root
            | "Inputs" >> beam.Create(self._inputs, reshuffle=False)
            | "Expand" >> beam.FlatMap(_counted_batches, *self._columns)
            | "Spread" >> beam.Reshuffle()  # one glob may list millions; stating them is for all workers
            | "Stat" >> beam.Map(_counted_with_versions, self._http)
        )


def clip_batches(source: str, uri_column: str = URI_COLUMN, metadata_columns: Sequence[str] = ()) -> Iterator[Batch]:
    """The clips of one input in batches of 1000; those not listed by a glob have no version yet."""
    clips = iter(_clips(source, uri_column, metadata_columns))
    while batch := Batch(itertools.islice(clips, BATCH_CLIPS)):
        yield batch


def _clips(source: str, uri_column: str, metadata_columns: Sequence[str]) -> Iterator[Clip]:
    lists = manifests.lists_of(source)
    if not lists and not source.startswith(LIST):
        yield from _expanded(source, source, (None,) * len(metadata_columns), may_be_glob=True)
    for name in lists:
        is_text = not name.startswith(QUERY) and not name.endswith((".csv", ".jsonl", ".ndjson", ".parquet"))
        for entry in manifests.entries(name, uri_column, metadata_columns):
            yield from _expanded(entry.uri, entry.listed_by or source, entry.metadata, may_be_glob=is_text)


def _expanded(uri: str, listed_by: str, metadata: tuple[str | None, ...], *, may_be_glob: bool) -> Iterator[Clip]:
    uri = storage.normalise(uri)
    if not may_be_glob or not storage.is_pattern(uri):
        yield Clip.of(uri, None, None, listed_by, metadata)
        return
    found = None
    for found in storage.matches(uri):
        yield Clip.of(found.uri, found.version, found.num_bytes, listed_by, metadata)
    if found is None and storage.exists(uri):  # "[live].wav" in a bucket: an object, after all
        yield Clip.of(uri, None, None, listed_by, metadata)


def with_versions(batch: Batch, http: HttpsAccess = storage.HTTPS_OFF) -> Batch:
    """The same clips with the versions that listing did not give; those that cannot be had die in reading."""
    if all(clip.source_version is not None for clip in batch):
        return Batch(batch)
    with concurrent.futures.ThreadPoolExecutor(STAT_THREADS) as pool:
        return Batch(pool.map(lambda clip: _with_version(clip, http), batch))


def _counted_batches(source: str, uri_column: str, metadata_columns: Sequence[str]) -> Iterator[Batch]:
    for batch in clip_batches(source, uri_column, metadata_columns):
        count("list_clips_in", len(batch))
        yield batch


def _counted_with_versions(batch: Batch, http: HttpsAccess) -> Batch:
    with measure("stat"):
        stated = with_versions(batch, http)
    count("list_clips_out", len(stated))
    return stated


def _with_version(clip: Clip, http: HttpsAccess) -> Clip:
    if clip.source_version is not None:
        return clip
    try:
        found = storage.stat(clip.uri, http)
    except errors.SourceError:
        return clip
    return dataclasses.replace(clip, source_version=found.version, num_bytes=found.num_bytes)
