"""Owns the file formats: a writer takes rows and leaves one file, which appears whole or not at all.

Every format writes a local file that is then published under its final, unique name. Nothing is ever renamed at commit:
the manifest names the files that count.
"""

import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import engine, schemas, storage
from transforms.records import Row
from transforms.schemas import Field
from transforms.stopwatch import measure

MAX_FILE_ROWS = 50_000  # of clips: 400 MB
GROUP_ROWS = 2048  # of a Parquet row group or an encoder call: 20 MB of clip rows


class WrittenFile(NamedTuple):
    """A finished file.

    Attributes:
      kind: of rows: clips, patches, dead_letters, index.
      file_format: parquet, tfrecord or jsonl.
      uri: its place.
      num_rows: in it.
      num_bytes: its size.
    """

    kind: str
    file_format: str
    uri: str
    num_rows: int
    num_bytes: int


def outputs_of(files: Iterable[WrittenFile]) -> list[dict[str, Any]]:
    """Files as a manifest lists them, by names relative to the run's directory."""
    return [
        {
            "path": os.path.basename(file.uri),
            "kind": file.kind,
            "format": file.file_format,
            "rows": file.num_rows,
            "bytes": file.num_bytes,
        }
        for file in sorted(files)
    ]


def parquet_writer(path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """Parquet with zstd and compliant nesting, as all of ours is."""
    # Random mantissas do not repeat: dictionaries would only cost time.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return pq.ParquetWriter(path, schema, compression="zstd", use_compliant_nested_type=True, use_dictionary=texts)


class Encoder(Protocol):
    """Appends groups of rows to a local file."""

    def write(self, rows: Sequence[Row]) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Completes the file."""


class ParquetEncoder:
    """Parquet with class names in the schema."""

    suffix = ".parquet"

    def __init__(self, path: str, fields: Sequence[Field], class_names: Sequence[str]) -> None:
        self._fields = fields
        self._schema = schemas.arrow_schema(fields, class_names)
        self._writer = parquet_writer(path, self._schema)

    def write(self, rows: Sequence[Row]) -> None:
        """Appends a row group."""
        self._writer.write_batch(schemas.record_batch(rows, self._fields, self._schema))

    def close(self) -> None:
        """Writes the footer."""
        self._writer.close()


class TFRecordEncoder:
    """tf.Example records, gzip, encoded from Arrow by tfx_bsl."""

    suffix = ".tfrecord.gz"

    def __init__(self, path: str, fields: Sequence[Field], class_names: Sequence[str]) -> None:  # noqa: ARG002
        tf = engine.tensorflow()
        from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

        self._fields = fields
        self._encode = RecordBatchToExamplesEncoder().encode
        # Level 1: float mantissas hardly shrink, higher levels only take longer.
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
        self._writer = tf.io.TFRecordWriter(path, options)

    def write(self, rows: Sequence[Row]) -> None:
        """Appends a record a row."""
        for record in self._encode(schemas.example_batch(rows, self._fields)):
            self._writer.write(record)

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


class JsonLinesEncoder:
    """One JSON object a line, UTF-8."""

    suffix = ".jsonl"

    def __init__(self, path: str, fields: Sequence[Field], class_names: Sequence[str]) -> None:  # noqa: ARG002
        self._names = [field.name for field in fields]
        self._file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def write(self, rows: Sequence[Row]) -> None:
        """Appends a line a row."""
        for row in rows:
            self._file.write(json.dumps({name: row[name] for name in self._names}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


ENCODERS: Mapping[str, Any] = {
    "parquet": ParquetEncoder,
    "tfrecord": TFRecordEncoder,
    "jsonl": JsonLinesEncoder,
}


class FileWriter:
    """Writes rows to one new file; a writer that is never closed leaves nothing behind."""

    def __init__(
        self,
        prefix: str,
        name: str,
        *,
        kind: str,
        file_format: str,
        fields: Sequence[Field],
        class_names: Sequence[str],
    ) -> None:
        """Starts the file `<prefix>/<name><suffix>`, in a scratch place until `close`."""
        encoder = ENCODERS[file_format]
        self._kind, self._format = kind, file_format
        self._uri = storage.join(prefix, name + encoder.suffix)
        self._scratch = tempfile.TemporaryDirectory(prefix="yamnet-beam-")
        self._path = Path(self._scratch.name) / f"part{encoder.suffix}"
        self._encoder: Encoder = encoder(str(self._path), fields, class_names)
        self._held: list[Row] = []
        self.num_rows = 0

    def write(self, row: Row) -> None:
        """Adds a row."""
        self._held.append(row)
        self.num_rows += 1
        if len(self._held) >= GROUP_ROWS:
            self._flush()

    def close(self) -> WrittenFile:
        """Completes and publishes the file; whatever happens, nothing is left on this machine."""
        with self._scratch:
            self._flush()
            with measure("encode"):
                self._encoder.close()
            num_bytes = self._path.stat().st_size
            with measure("publish", num_bytes):
                storage.publish(str(self._path), self._uri)
        return WrittenFile(self._kind, self._format, self._uri, self.num_rows, num_bytes)

    def _flush(self) -> None:
        if self._held:
            with measure("encode"):
                self._encoder.write(self._held)
            self._held = []

    def abandon(self) -> None:
        """Forgets the file."""
        self._encoder.close()
        self._scratch.cleanup()


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of row and how it is written.

    Attributes:
      kind: clips, patches, dead_letters or index; the files' names start with it.
      file_format: a key of `ENCODERS`.
      fields: its columns.
      directory: of the run.
      class_names: for the file's metadata.
    """

    kind: str
    file_format: str
    fields: Sequence[Field]
    directory: str
    class_names: Sequence[str] = ()

    def open(self) -> FileWriter:
        """Starts a file under a name of its own: a bundle that runs twice leaves two files and reports one."""
        name = f"{self.kind}-{uuid.uuid4().hex[:12]}"
        return FileWriter(
            self.directory,
            name,
            kind=self.kind,
            file_format=self.file_format,
            fields=self.fields,
            class_names=self.class_names,
        )
