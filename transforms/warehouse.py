"""Owns what a dataset is in BigQuery: its tables, their rows, and the SQL that brings a run into them.

    <table>              the newest row of each clip          day partitions of processed_at, clustered by clip_id
    <table>_patches      the rows of its patches, if asked for
    <table>_top_classes  a view: one line for each clip and top class
    <table>_of_<attempt> the rows of one execution, until its commit; expires by itself

Rows are loaded into the table of their execution first, so that a target changes only by one atomic statement, at the
commit, which may be repeated: a clip's row gives way to a newer one, never to its like or to an older one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms import errors
from transforms.records import Row
from transforms.schemas import Field

FORMAT = "bigquery"  # in --sink and in manifests

_NAME = re.compile(r"(?P<project>[a-z][a-z0-9.:-]*)[:.](?P<dataset>\w+)\.(?P<table>[A-Za-z0-9_-]+)", re.ASCII)
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_")


@dataclass(frozen=True, slots=True)
class WarehouseTable:
    """One kind of row in BigQuery.

    Attributes:
      kind: clips or patches.
      name: project.dataset.table.
      staging: name of the table that this execution loads.
      fields: its columns.
    """

    kind: str
    name: str
    staging: str
    fields: Sequence[Field]

    @property
    def view(self) -> str | None:
        """Name of the view of top classes."""
        return f"{self.name}_top_classes" if self.kind == "clips" else None

    @property
    def reference(self) -> str:
        """The staging table as Beam spells it."""
        return "{}:{}.{}".format(*split(self.staging))


def table(kind: str, name: str, attempt_id: str, fields: Sequence[Field]) -> WarehouseTable:
    """The table of `kind` for --bigquery_table=`name` and one execution."""
    full = ".".join(split(name)) + ("_patches" if kind == "patches" else "")
    return WarehouseTable(kind, full, f"{full}_of_{attempt_id}", fields)


def split(name: str) -> tuple[str, str, str]:
    """Project, dataset and table.

    Raises:
      UsageError: the name has another form.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise errors.UsageError(f"--bigquery_table={name}: write PROJECT:DATASET.TABLE, as in my-project:audio.clips")
    return parts["project"], parts["dataset"], parts["table"]


def check_columns(fields: Sequence[Field]) -> None:
    """Refuses names that BigQuery would not take as columns.

    Raises:
      UsageError: names the column and the cure.
    """
    seen: set[str] = set()
    cure = "rename it in the list, or choose others with --metadata_columns"
    for field in fields:
        low = field.name.lower()
        if not _COLUMN.fullmatch(field.name) or low.startswith(_RESERVED):
            raise errors.UsageError(f"BigQuery takes no column {field.name!r}: {cure}")
        if low in seen:
            raise errors.UsageError(f"BigQuery has one column {field.name!r}, in upper and lower case alike: {cure}")
        seen.add(low)


def checked(row: Row, fields: Sequence[Field]) -> Row:
    """The row as Beam loads it: just our columns, vectors as lists of floats.

    Raises:
      CommitError: a value that must not be there, which is a bug; names the clip.
    """
    return {field.name: _checked(row.get(field.name), field, row) for field in fields}


def merge_sql(table: WarehouseTable) -> str:
    """Brings the rows of clips into their table; those there that are as new stay."""
    names = [f"`{field.name}`" for field in table.fields]
    updates = ", ".join(f"{name} = s.{name}" for name in names)
    return (
        f"MERGE `{table.name}` AS t USING `{table.staging}` AS s ON t.clip_id = s.clip_id\n"
        f"WHEN MATCHED AND s.processed_at > t.processed_at THEN UPDATE SET {updates}\n"
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({', '.join(f's.{name}' for name in names)})"
    )


def replace_sql(table: WarehouseTable) -> str:
    """Brings the patches of clips into their table in place of all older ones of the same clips, in one transaction."""
    names = ", ".join(f"`{field.name}`" for field in table.fields)
    newest = "SELECT clip_id, MAX(processed_at) AS made_at FROM `{}` GROUP BY clip_id"
    return (
        "BEGIN TRANSACTION;\n"
        f"DELETE FROM `{table.name}` WHERE clip_id IN (\n"
        f"  SELECT s.clip_id FROM ({newest.format(table.staging)}) AS s\n"
        f"  JOIN ({newest.format(table.name)}) AS t ON t.clip_id = s.clip_id WHERE s.made_at > t.made_at);\n"
        f"INSERT INTO `{table.name}` ({names}) SELECT {names} FROM `{table.staging}`\n"
        f"  WHERE clip_id NOT IN (SELECT clip_id FROM `{table.name}`);\n"
        "COMMIT TRANSACTION;"
    )


def delete_sql(table: WarehouseTable) -> str:
    """Deletes rows of the clips @clip_ids, unless they were made after @started_at."""
    return f"DELETE FROM `{table.name}` WHERE clip_id IN UNNEST(@clip_ids) AND processed_at <= @started_at"


def count_sql(table: WarehouseTable) -> str:
    """Counts what an execution has loaded."""
    return f"SELECT COUNT(*) AS num_rows FROM `{table.staging}`"


def view_sql(table: WarehouseTable) -> str:
    """One line for each clip and top class, rank 1 the best."""
    return (
        "SELECT c.clip_id, c.uri, c.processed_at, position + 1 AS class_rank, best.index AS class_index, best.mid,\n"
        "  best.name AS class_name, best.score\n"
        f"FROM `{table.name}` AS c, UNNEST(c.top_classes) AS best WITH OFFSET AS position"
    )


def _checked(value: Any, field: Field, row: Row) -> Any:
    trouble = None
    if field.kind == "vector":
        vector = np.asarray(value, np.float64)
        if vector.shape != (field.size,):
            trouble = f"has the shape {list(vector.shape)}, not [{field.size}]"
        elif not np.isfinite(vector).all():
            trouble = "has numbers that are not finite"
        value = vector.tolist()
    elif value is None:
        trouble = None if field.optional else "is missing"
    elif (field.kind == "float" and not np.isfinite(value)) or (
        field.kind == "classes" and not all(np.isfinite(found["score"]) for found in value)
    ):
        trouble = "is not finite"
    if trouble:
        raise errors.CommitError(
            f"the row of clip {row.get('clip_id')} ({row.get('uri', 'a patch')}) cannot be stored: {field.name} "
            f"{trouble}. That is a bug; --sink=parquet keeps the row for a look at it"
        )
    return value
