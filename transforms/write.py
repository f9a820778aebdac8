"""WriteRows: rows in, the files that hold them out."""

import logging
import os
import time
import zlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms import logs, runs
from transforms.metrics import count
from transforms.records import Row
from transforms.wiring import Rows
from transforms.writers import MAX_FILE_ROWS, FileWriter, Table, WrittenFile

STAGE = "WriteRows"
LOGGED = ("clips", "patches")  # the other kinds' lines are for debugging


class WriteRows(beam.PTransform):
    """From one or more collections of rows to WrittenFile.

    Without shards every bundle writes its own file, and rows never leave the stage that made them.
    With shards they are shuffled by clip_id, and every shard is one file.
    """

    def __init__(self, table: Table, *, num_shards: int | None = None) -> None:
        """Writes `table` in `num_shards` files; None lets the runner's bundles decide."""
        super().__init__()
        self._table = table
        self._num_shards = num_shards

    def expand(self, sources: Rows) -> beam.PCollection[WrittenFile]:
        """Wires the transform."""
        if self._num_shards:
            return (
                tuple(sources)
                | "Merge" >> beam.Flatten()
                | "Shard" >> beam.WithKeys(shard_of, self._num_shards)
                | "Gather" >> beam.GroupByKey()
                | "WriteShard" >> beam.FlatMap(_write_shard, self._table)
            )
        written = [
            rows | f"WriteBundle{number}" >> beam.ParDo(_WriteBundleFn(self._table))
            for number, rows in enumerate(sources)
        ]
        return tuple(written) | "Files" >> beam.Flatten()


def shard_of(row: Row, num_shards: int) -> int:
    """The shard of a row: the same in every run and on every worker."""
    return zlib.crc32(row["clip_id"].encode()) % num_shards


def write(rows: Iterable[Row], table: Table) -> Iterator[WrittenFile]:
    """Writes rows to files of at most 50 000."""
    writer: FileWriter | None = None
    started = time.monotonic()
    for row in rows:
        count("write_rows_in")
        writer = writer or table.open()
        writer.write(row)
        if writer.num_rows >= MAX_FILE_ROWS:
            yield _closed(writer, table, started)
            writer = None
    if writer:
        yield _closed(writer, table, started)


def _closed(writer: FileWriter, table: Table, started: float) -> WrittenFile:
    file = writer.close()
    count("write_rows_out", file.num_rows)
    count("write_rows_files")
    logs.event(
        STAGE,
        "file written",
        run_id=runs.run_id_of(table.directory),
        severity=logging.INFO if table.kind in LOGGED else logging.DEBUG,
        file=os.path.basename(file.uri),
        rows=file.num_rows,
        bytes=file.num_bytes,
        seconds=time.monotonic() - started,  # since its bundle began
    )
    return file


def _write_shard(shard: tuple[int, Iterable[Row]], table: Table) -> Iterator[WrittenFile]:
    yield from write(shard[1], table)


class _WriteBundleFn(beam.DoFn):
    """Holds the open file of a bundle."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._writer: FileWriter | None = None

    def start_bundle(self) -> None:
        self._abandon()  # what a failed bundle has left
        self._started = time.monotonic()

    def process(self, row: Row) -> Iterator[WrittenFile]:
        count("write_rows_in")
        self._writer = self._writer or self._table.open()
        self._writer.write(row)
        if self._writer.num_rows >= MAX_FILE_ROWS:
            yield self._close(self._writer)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._writer:
            window = GlobalWindow()
            yield WindowedValue(self._close(self._writer), window.max_timestamp(), [window])

    def teardown(self) -> None:
        self._abandon()

    def _close(self, writer: FileWriter) -> WrittenFile:
        self._writer = None
        return _closed(writer, self._table, self._started)

    def _abandon(self) -> None:
        if self._writer:
            self._writer.abandon()
            self._writer = None
