"""Owns the columns: one list of fields, from which Arrow, tf.Example and BigQuery schemas follow.

A row is a dict by column name; optional columns may hold None.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from transforms import engine
from transforms.records import Row
from transforms.weights import EMBEDDING_SIZE, NUM_CLASSES

Kind = Literal["string", "int", "float", "bool", "timestamp", "vector", "classes"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Attributes:
      kind: `float` is double precision; `vector` is float32 [size]; `classes` a list of (index, mid, name, score).
      description: for people and for BigQuery.
      optional: whether None is allowed.
      size: of a vector.
    """

    name: str
    kind: Kind
    description: str
    optional: bool = False
    size: int = 0


_CLIP_ID = Field("clip_id", "string", "first 32 hex digits of the URI's sha256")
_VERSIONS = (
    Field("model_version", "string", "sha256 over the network's weights"),
    Field(
        "pipeline_version",
        "string",
        "hash of every setting that changes the numbers or the columns",
    ),
    Field("run_id", "string", "run that made the row"),
    Field("processed_at", "timestamp", "when the row was made (UTC)"),
)
_SOURCE = (
    Field("uri", "string", "where the clip is"),
    Field(
        "source_version",
        "string",
        "which bytes: size and time of modification, or the store's generation",
        optional=True,
    ),
)

_LISTED_BY = Field("listed_by", "string", "the input that named the clip", optional=True)

CLIP_FIELDS = (
    _CLIP_ID,
    *_SOURCE,
    Field("content_sha256", "string", "of the clip's bytes"),
    Field("duration_s", "float", "seconds really decoded"),
    Field("sample_rate_hz", "int", "of the source"),
    Field("num_channels", "int", "of the source"),
    Field("truncated", "bool", "the source promised more sound than it holds"),
    Field("num_patches", "int", "patches of 0.975 s, one every 0.48 s"),
    Field("embedding", "vector", "mean over patches", size=EMBEDDING_SIZE),
    Field(
        "scores",
        "vector",
        "mean over patches of 521 independent sigmoids, not probabilities",
        size=NUM_CLASSES,
    ),
    Field("scores_max", "vector", "maximum over patches", size=NUM_CLASSES),
    Field("top_classes", "classes", "highest mean scores, best first"),
    Field("peak", "float", "largest absolute sample; 1 is full scale"),
    Field(
        "rms_db",
        "float",
        "level of the 16 kHz mono waveform, dBFS; none for digital silence",
        optional=True,
    ),
    Field("clipped_fraction", "float", "of samples at full scale"),
    Field("silent_fraction", "float", "of 32 ms frames below -60 dBFS"),
    Field("bandwidth_hz", "float", "highest frequency within 60 dB of the strongest", optional=True),
    *_VERSIONS,
)


def clip_fields(metadata_columns: Sequence[str] = ()) -> tuple[Field, ...]:
    """The columns of a clip row, those of the run's lists last."""
    carried = (Field(name, "string", "carried from the list of clips", optional=True) for name in metadata_columns)
    return (*CLIP_FIELDS, *carried)


PATCH_FIELDS = (
    _CLIP_ID,
    Field("patch_index", "int", "0, 1, 2 ... in the clip"),
    Field("start_s", "float", "where the patch starts in the clip: 0.48 patch_index"),
    Field("valid_fraction", "float", "of the patch that is sound, not appended zeros"),
    Field("embedding", "vector", "of the patch", size=EMBEDDING_SIZE),
    Field("scores", "vector", "of the patch: 521 independent sigmoids", size=NUM_CLASSES),
    *_VERSIONS,
)

DEAD_LETTER_FIELDS = (
    _CLIP_ID,
    *_SOURCE,
    _LISTED_BY,
    Field("stage", "string", "transform the clip died in"),
    Field("code", "string", "kind of trouble, a stable word"),
    Field("message", "string", "what happened and what to do"),
    Field("retryable", "bool", "whether the next run tries it again"),
    Field("attempt", "int", "how often it was tried"),
    Field("run_id", "string", "run it died in"),
)

INDEX_FIELDS = (
    _CLIP_ID,
    *_SOURCE,
    _LISTED_BY,
    Field("pipeline_version", "string", "settings it was processed with"),
    Field("status", "string", "embedded, dead, deleted (its source is gone, its row stays) or dropped"),
    Field("code", "string", "of the dead letter", optional=True),
    Field("retryable", "bool", "of the dead letter", optional=True),
    Field("attempt", "int", "how often it was tried"),
    Field("as_of", "string", "when the line was first committed, if another run did that", optional=True),
    Field("num_patches", "int", "of the row; 0 for the dead"),
    Field("duration_s", "float", "of the row; 0 for the dead"),
)

_CLASS_STRUCT = pa.struct(
    [
        pa.field("index", pa.int32(), nullable=False),
        pa.field("mid", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
_ARROW_TYPES: dict[Kind, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "classes": pa.list_(_CLASS_STRUCT),
}
_BIGQUERY_CLASS = (
    ("index", "INTEGER", "of the class, 0 to 520"),
    ("mid", "STRING", "AudioSet's identifier of the class"),
    ("name", "STRING", "of the class"),
    ("score", "FLOAT", "mean over patches"),
)
_BIGQUERY_TYPES: dict[Kind, str] = {  # the names that BigQuery answers with; FLOAT is FLOAT64, INTEGER INT64
    "string": "STRING",
    "int": "INTEGER",
    "float": "FLOAT",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "vector": "FLOAT",
}


def arrow_schema(fields: Sequence[Field], class_names: Sequence[str] = ()) -> pa.Schema:
    """The Arrow schema; class names and descriptions go into its metadata."""
    columns = [
        pa.field(
            field.name,
            _arrow_type(field),
            nullable=field.optional,
            metadata={"description": field.description},
        )
        for field in fields
    ]
    return pa.schema(columns, metadata={"class_names": json.dumps(list(class_names))} if class_names else None)


def record_batch(rows: Sequence[Row], fields: Sequence[Field], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as one Arrow batch with the columns of `fields`; vectors are stacked without copying number by number."""
    arrays = [_arrow_array([row[field.name] for row in rows], field) for field in fields]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def example_batch(rows: Sequence[Row], fields: Sequence[Field]) -> pa.RecordBatch:
    """Rows as the lists of int64, float and bytes that tfx_bsl encodes as tf.Example.

    None is an empty list, a bool 0 or 1, a timestamp microseconds, and top_classes the four features
    top_classes/index, top_classes/mid, top_classes/name and top_classes/score.
    """
    columns: dict[str, pa.Array] = {}
    for field in fields:
        values = [row[field.name] for row in rows]
        if field.kind == "classes":
            for part, kind in (
                ("index", "int"),
                ("mid", "string"),
                ("name", "string"),
                ("score", "float"),
            ):
                lists = [[found[part] for found in row] for row in values]
                columns[f"{field.name}/{part}"] = _lists(lists, kind)  # type: ignore[arg-type]
        elif field.kind == "vector":
            flat = np.concatenate(values).astype(np.float32, copy=False)
            offsets = np.arange(0, len(flat) + 1, field.size, dtype=np.int32)
            columns[field.name] = pa.ListArray.from_arrays(offsets, flat)
        else:
            columns[field.name] = _lists([[] if value is None else [value] for value in values], field.kind)
    return pa.RecordBatch.from_pydict(columns)


def example_spec(fields: Sequence[Field]) -> dict[str, Any]:
    """What tf.io.parse_example needs to read the records of `fields`."""
    tf = engine.tensorflow()
    kinds = {"string": tf.string, "float": tf.float32, "vector": tf.float32}
    spec: dict[str, Any] = {}
    for field in fields:
        kind = kinds.get(field.kind, tf.int64)
        if field.kind == "classes":
            parts = {"index": tf.int64, "mid": tf.string, "name": tf.string, "score": tf.float32}
            for part, part_kind in parts.items():
                spec[f"{field.name}/{part}"] = tf.io.RaggedFeature(part_kind)
        elif field.optional:
            spec[field.name] = tf.io.RaggedFeature(kind)
        else:
            spec[field.name] = tf.io.FixedLenFeature([field.size] if field.kind == "vector" else [], kind)
    return spec


def bigquery_schema(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """The columns as BigQuery's interface names them; vectors are repeated FLOAT64, which never hold null."""
    return [_bigquery_column(field) for field in fields]


def _bigquery_column(field: Field) -> dict[str, Any]:
    if field.kind == "classes":
        parts = [
            {"name": name, "type": kind, "mode": "REQUIRED", "description": description}
            for name, kind, description in _BIGQUERY_CLASS
        ]
        return {
            "name": field.name,
            "type": "RECORD",
            "mode": "REPEATED",
            "description": field.description,
            "fields": parts,
        }
    return {
        "name": field.name,
        "type": _BIGQUERY_TYPES[field.kind],
        "mode": "REPEATED" if field.kind == "vector" else "NULLABLE" if field.optional else "REQUIRED",
        "description": field.description,
    }


def _lists(lists: list[list[Any]], kind: Kind) -> pa.Array:
    match kind:
        case "string":
            return pa.array([[text.encode() for text in texts] for texts in lists], pa.list_(pa.binary()))
        case "timestamp":
            micros = [[round(time.timestamp() * 1e6) for time in times] for times in lists]
            return pa.array(micros, pa.list_(pa.int64()))
        case "float":
            return pa.array(lists, pa.list_(pa.float32()))
        case _:
            return pa.array([[int(number) for number in numbers] for numbers in lists], pa.list_(pa.int64()))


def _arrow_type(field: Field) -> pa.DataType:
    # The inner field is nullable because several readers refuse to read it otherwise; no value is null.
    return pa.list_(pa.float32(), field.size) if field.kind == "vector" else _ARROW_TYPES[field.kind]


def _arrow_array(values: list[Any], field: Field) -> pa.Array:
    if field.kind == "vector":
        flat = np.concatenate(values).astype(np.float32, copy=False) if values else np.empty(0, np.float32)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), field.size)
    return pa.array(values, _arrow_type(field))
