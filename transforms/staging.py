"""Owns the way of a run into BigQuery: prepare its tables, count, merge or delete rows, drop its own table."""

import datetime
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from transforms import bigquery as service
from transforms import errors, schemas, warehouse
from transforms.warehouse import WarehouseTable

STAGING_DAYS = 3  # after which the rows of an execution that died vanish
MAX_IDS = 50_000  # in one statement: 2 MB of the 10 that a request may have
ROLES = "(roles/bigquery.dataEditor on the dataset, roles/bigquery.jobUser on the project)"
JOBS = "bigquery.jobs.create, bigquery.tables.getData and .updateData"


def prepare(table: WarehouseTable) -> None:
    """Makes the target, its view and the table of this execution, where they are missing; adds missing columns.

    Raises:
      AccessError: names the table, the permission and the account.
      UsageError: there is no such dataset, or the target is a table of something else.
    """
    from google.cloud import bigquery

    with _connected(table) as client:
        with _explained(table.name, "bigquery.tables.create", client):
            target = bigquery.Table(table.name, _columns(table))
            row = {"clips": "clip", "patches": "patch of a clip"}[table.kind]
            target.description = f"YAMNet's embeddings and scores, the newest row of each {row}"
            target.time_partitioning = bigquery.TimePartitioning(field="processed_at")
            target.clustering_fields = ["clip_id"]
            target.labels = service.LABELS
            found = client.create_table(target, exists_ok=True, **service.patience())
        with _explained(table.name, "bigquery.tables.update", client):
            if added := _missing(table, found):
                found.schema = [*found.schema, *added]
                client.update_table(found, ["schema"], **service.patience())
        if table.view:
            with _explained(table.view, "bigquery.tables.create", client):
                view = bigquery.Table(table.view)
                view.view_query = warehouse.view_sql(table)
                view.description = f"One line for each clip and top class of {table.name}"
                view.labels = service.LABELS
                client.create_table(view, exists_ok=True, **service.patience())
        with _explained(table.staging, "bigquery.tables.create", client):
            staging = bigquery.Table(table.staging, _columns(table))
            staging.expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=STAGING_DAYS)
            staging.labels = service.LABELS
            client.create_table(staging, exists_ok=True, **service.patience())
        # Whoever may not run jobs shall hear it now, not when all clips are embedded.
        _query(client, table, warehouse.count_sql(table), dry_run=True)


def count(table: WarehouseTable) -> int:
    """Rows that this execution has loaded."""
    with _connected(table) as client:
        (row,) = _query(client, table, warehouse.count_sql(table))
        return int(row.num_rows)


def merge(table: WarehouseTable) -> None:
    """Brings the rows of this execution into the target; repeated, it changes nothing more."""
    with _connected(table) as client:
        _query(client, table, warehouse.merge_sql(table) if table.kind == "clips" else warehouse.replace_sql(table))


def delete(table: WarehouseTable, clip_ids: Sequence[str], started_at: datetime.datetime) -> None:
    """Deletes the rows of clips that have left the dataset, unless a run that began later has put them there."""
    from google.cloud import bigquery

    with _connected(table) as client:
        for first in range(0, len(clip_ids), MAX_IDS):
            _query(
                client,
                table,
                warehouse.delete_sql(table),
                query_parameters=[
                    bigquery.ArrayQueryParameter("clip_ids", "STRING", clip_ids[first : first + MAX_IDS]),
                    bigquery.ScalarQueryParameter("started_at", "TIMESTAMP", started_at),
                ],
            )


def drop_staging(table: WarehouseTable) -> None:
    """Drops the table of this execution."""
    with _connected(table) as client, _explained(table.staging, "bigquery.tables.delete", client):
        client.delete_table(table.staging, not_found_ok=True, **service.patience())


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


def _connected(table: WarehouseTable) -> AbstractContextManager[Any]:
    """A client whose jobs run in the table's project, where Beam's loads run too."""
    return service.connected(warehouse.split(table.name)[0])


def _explained(name: str, permission: str, client: Any) -> AbstractContextManager[None]:
    project, dataset, _ = warehouse.split(name)
    return service.explained(
        f"the BigQuery table {name}",
        client,
        needs=f"{permission} {ROLES}",
        if_missing=f"; make the dataset first: bq mk --dataset {project}:{dataset}",
    )


def _query(client: Any, table: WarehouseTable, sql: str, **config: Any) -> list[Any]:
    with _explained(table.name, JOBS, client):
        return list(service.query(client, sql, **config))
