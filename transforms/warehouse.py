"""Owns what a dataset is in BigQuery: its tables, the SQL that merges a run into them, and who may do what.

    <table>              the newest row of each clip          day partitions of processed_at, clustered by clip_id
    <table>_patches      the rows of its patches, if asked for
    <table>_top_classes  a view: one line for each clip and top class
    <table>_of_<attempt> the rows of one execution, until its commit; expires by itself

Rows are loaded into the table of their execution first, so that a target changes only by one atomic statement, at the
commit, which may be repeated: a clip's row gives way to a newer one, never to its like or to an older one.
"""

import contextlib
import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms import errors, schemas
from transforms.records import Row
from transforms.schemas import Field

FORMAT = "bigquery"  # in --sink and in manifests
STAGING_DAYS = 3  # after which the rows of an execution that died vanish
DEADLINE_S = 600.0  # of one call, the library's retries included
TIMEOUT_S = 60.0  # of one attempt
MAX_IDS = 50_000  # in one statement: 2 MB of the 10 that a request may have
LABELS = {"made_by": "yamnet-beam"}

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


def prepare(table: WarehouseTable) -> None:
    """Makes the target, its view and the table of this execution, where they are missing; adds missing columns.

    Raises:
      AccessError: names the table, the permission and the account.
      UsageError: there is no such dataset, or the target is a table of something else.
    """
    from google.cloud import bigquery

    with _client(table) as client:
        with _explained(table.name, "bigquery.tables.create", client):
            target = bigquery.Table(table.name, _columns(table))
            row = {"clips": "clip", "patches": "patch of a clip"}[table.kind]
            target.description = f"YAMNet's embeddings and scores, the newest row of each {row}"
            target.time_partitioning = bigquery.TimePartitioning(field="processed_at")
            target.clustering_fields = ["clip_id"]
            target.labels = LABELS
            found = client.create_table(target, exists_ok=True, **_patience())
        with _explained(table.name, "bigquery.tables.update", client):
            if added := _missing(table, found):
                found.schema = [*found.schema, *added]
                client.update_table(found, ["schema"], **_patience())
        if table.view:
            with _explained(table.view, "bigquery.tables.create", client):
                view = bigquery.Table(table.view)
                view.view_query = view_sql(table)
                view.description = f"One line for each clip and top class of {table.name}"
                view.labels = LABELS
                client.create_table(view, exists_ok=True, **_patience())
        with _explained(table.staging, "bigquery.tables.create", client):
            staging = bigquery.Table(table.staging, _columns(table))
            staging.expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=STAGING_DAYS)
            staging.labels = LABELS
            client.create_table(staging, exists_ok=True, **_patience())
        # Whoever may not run jobs shall hear it now, not when all clips are embedded.
        _query(client, table, count_sql(table), dry_run=True)


def count(table: WarehouseTable) -> int:
    """Rows that this execution has loaded."""
    with _client(table) as client:
        (row,) = _query(client, table, count_sql(table))
        return int(row.num_rows)


def merge(table: WarehouseTable) -> None:
    """Brings the rows of this execution into the target; repeated, it changes nothing more."""
    with _client(table) as client:
        _query(client, table, merge_sql(table) if table.kind == "clips" else replace_sql(table))


def delete(table: WarehouseTable, clip_ids: Sequence[str], started_at: datetime.datetime) -> None:
    """Deletes the rows of clips that have left the dataset, unless a run that began later has put them there."""
    from google.cloud import bigquery

    with _client(table) as client:
        for first in range(0, len(clip_ids), MAX_IDS):
            _query(
                client,
                table,
                delete_sql(table),
                query_parameters=[
                    bigquery.ArrayQueryParameter("clip_ids", "STRING", clip_ids[first : first + MAX_IDS]),
                    bigquery.ScalarQueryParameter("started_at", "TIMESTAMP", started_at),
                ],
            )


def drop_staging(table: WarehouseTable) -> None:
    """Drops the table of this execution."""
    with _client(table) as client, _explained(table.staging, "bigquery.tables.delete", client):
        client.delete_table(table.staging, not_found_ok=True, **_patience())


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


def _columns(table: WarehouseTable) -> list[Any]:
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr(column) for column in schemas.bigquery_schema(table.fields)]


def _missing(table: WarehouseTable, found: Any) -> list[Any]:
    """The columns that an older table lacks, to be added as optional ones."""
    from google.cloud import bigquery

    there = {column.name.lower(): column for column in found.schema}
    missing = []
    for column in _columns(table):
        older = there.get(column.name.lower())
        if older is None:
            mode = "REPEATED" if column.mode == "REPEATED" else "NULLABLE"
            missing.append(bigquery.SchemaField.from_api_repr(column.to_api_repr() | {"mode": mode}))
        elif (older.field_type, older.mode == "REPEATED") != (column.field_type, column.mode == "REPEATED"):
            raise errors.UsageError(
                f"--bigquery_table: {table.name} is a table of something else: its column {older.name} is "
                f"{older.mode} {older.field_type}, not {column.mode} {column.field_type}; name another table"
            )
    if missing and "clip_id" not in there:
        raise errors.UsageError(
            f"--bigquery_table: {table.name} is a table of something else: it has no column clip_id; name another table"
        )
    return missing


def _query(client: Any, table: WarehouseTable, sql: str, **config: Any) -> Any:
    from google.cloud import bigquery

    with _explained(table.name, "bigquery.jobs.create, bigquery.tables.getData and .updateData", client):
        job = client.query(sql, job_config=bigquery.QueryJobConfig(labels=LABELS, **config), **_patience())
        return [] if config.get("dry_run") else list(job.result(retry=_patience()["retry"]))


def _patience() -> dict[str, Any]:
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return {"retry": DEFAULT_RETRY.with_timeout(DEADLINE_S), "timeout": TIMEOUT_S}


@contextlib.contextmanager
def _client(table: WarehouseTable) -> Iterator[Any]:
    """A client whose jobs run in the table's project, where Beam's loads run too."""
    import google.auth.exceptions
    from google.cloud import bigquery

    try:
        client = bigquery.Client(project=split(table.name)[0])
    except google.auth.exceptions.GoogleAuthError as problem:
        raise errors.AccessError(
            f"no usable Google credentials for BigQuery ({problem}); try: gcloud auth application-default login"
        ) from problem
    with contextlib.closing(client):
        yield client


@contextlib.contextmanager
def _explained(name: str, permission: str, client: Any) -> Iterator[None]:
    """Translates the client's errors into ours."""
    from google.api_core import exceptions as api

    try:
        yield
    except (api.Forbidden, api.Unauthorized) as problem:
        account = getattr(client._credentials, "service_account_email", None) or "the account of these credentials"
        raise errors.AccessError(
            f"{account} may not use the BigQuery table {name}: it needs {permission} "
            "(roles/bigquery.dataEditor on the dataset, roles/bigquery.jobUser on the project) "
            f"({problem.message})"
        ) from problem
    except api.NotFound as problem:
        project, dataset, _ = split(name)
        raise errors.UsageError(
            f"BigQuery knows no {name} ({problem.message}); make the dataset first: bq mk --dataset {project}:{dataset}"
        ) from problem
