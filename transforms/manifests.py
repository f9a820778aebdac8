"""Owns the lists that name clips: text, CSV, JSON lines, Parquet and BigQuery queries, with columns to carry on."""

import contextlib
import csv
import io
import json
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

from transforms import bigquery, errors, storage

LIST = "@"  # begins an input that is a list
QUERY = "bq:"  # begins one that is a BigQuery query
URI_COLUMN = "uri"
LISTED_BY = "listed_by"  # a column of dead letters


class Entry(NamedTuple):
    """One line of a list.

    Attributes:
      uri: of a clip; in a text file also a glob.
      metadata: the columns asked for, as text, in their order.
      listed_by: in a dead letter, the input that had named the clip.
    """

    uri: str
    metadata: tuple[str | None, ...] = ()
    listed_by: str | None = None


def entries(source: str, uri_column: str = URI_COLUMN, metadata_columns: Sequence[str] = ()) -> Iterator[Entry]:
    """The lines of a list, while they are read.

    Args:
      source: URI of a .csv, .jsonl, .parquet or text file, or bq: and a query.
      uri_column: the column that names clips; a text file has no columns.
      metadata_columns: columns to carry; missing ones are None.

    Raises:
      UsageError: the list has no such column, or is not what its suffix says.
    """
    for row in _rows(source):
        if isinstance(row, str):
            yield Entry(row, (None,) * len(metadata_columns))
            continue
        uri = row.get(uri_column)
        if not isinstance(uri, str) or not uri:
            raise errors.UsageError(
                f"{source}: a line has no text in the column {uri_column!r}, only in {', '.join(map(str, row))}; "
                "name the column that holds URIs: --uri_column=NAME"
            )
        yield Entry(uri, tuple(_text(row.get(name)) for name in metadata_columns), _text(row.get(LISTED_BY)))


def lists_of(source: str) -> list[str]:
    """The lists that an input names: itself if it is a query, the file or files behind @, else none."""
    if source.startswith(QUERY):
        return [source]
    if not source.startswith(LIST):
        return []
    uri = storage.normalise(source.removeprefix(LIST))
    return sorted(found.uri for found in storage.matches(uri)) if storage.is_pattern(uri) else [uri]


def columns(source: str) -> list[str]:
    """The names of a list's columns; none of a text file."""
    if source.startswith(QUERY):
        return bigquery.columns(source.removeprefix(QUERY))
    with contextlib.closing(_rows(source)) as rows:
        first = next(rows, {})
    return [] if isinstance(first, str) else list(first)


def _rows(source: str) -> Generator[dict[str, Any] | str, None, None]:
    if source.startswith(QUERY):
        yield from bigquery.rows(source.removeprefix(QUERY))
        return
    with storage.open_binary(storage.normalise(source)) as file:
        if source.endswith(".parquet"):
            yield from _parquet_rows(file, source)
            return
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        if source.endswith(".csv"):
            yield from csv.DictReader(lines)
        elif source.endswith((".jsonl", ".ndjson")):
            yield from _json_rows(lines, source)
        else:
            stripped = (line.strip() for line in lines)
            yield from (line for line in stripped if line and not line.startswith("#"))
        lines.detach()


def _json_rows(lines: io.TextIOWrapper, source: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as problem:
                raise errors.UsageError(f"{source}, line {number}: not JSON ({problem})") from problem
            if not isinstance(row, dict):
                raise errors.UsageError(f"{source}, line {number}: not a JSON object")
            yield row


def _parquet_rows(file: Any, source: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches(10_000):
            yield from batch.to_pylist()
    except pa.ArrowInvalid as problem:
        raise errors.UsageError(f"{source} is not Parquet: {problem}") from problem


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str)
