"""What follows from the settings before anything runs: inputs that mean clips, columns, versions, tables, places."""

import concurrent.futures
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from pipeline.options import EmbedOptions
from transforms import errors, manifests, schemas, storage, warehouse
from transforms.warehouse import WarehouseTable

THREADS = 16
NUMERICS = 1  # raised by hand whenever the same settings would give other numbers or columns


def check_inputs(inputs: Sequence[str]) -> None:
    """Refuses inputs that cannot mean clips.

    Raises:
      UsageError: an input is a folder, or a list that is not there.
    """
    for text in inputs:
        if text.startswith(manifests.QUERY):
            continue
        uri = storage.normalise(text.removeprefix(manifests.LIST))
        if _is_folder(uri):
            raise errors.UsageError(
                f"--input={text} is a folder; name the files in it: --input='{text.rstrip('/')}/**'"
            )
        if text.startswith(manifests.LIST):
            lists = manifests.lists_of(text)
            if not lists or (lists == [uri] and not storage.exists(uri)):
                raise errors.UsageError(f"--input={text}: there is no list {uri}")


def metadata_columns(options: EmbedOptions) -> tuple[str, ...]:
    """The columns to carry: those named, or else all that the lists have besides the URI and our own.

    Raises:
      UsageError: a column has the name of one of ours.
    """
    ours = {field.name for field in (*schemas.CLIP_FIELDS, *schemas.DEAD_LETTER_FIELDS, *schemas.INDEX_FIELDS)}
    if options.metadata_columns:
        named = () if options.metadata_columns == ("none",) else options.metadata_columns
        if taken := ours & set(named):
            raise errors.UsageError(
                f"--metadata_columns: {', '.join(taken)} is a column of ours; rename it in the list"
            )
        return named
    lists = [name for text in options.input for name in manifests.lists_of(text)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:  # a year's dead letters are hundreds of lists
        found = [column for columns in pool.map(manifests.columns, lists) for column in columns]
    return tuple(dict.fromkeys(column for column in found if column not in ours | {options.uri_column}))


def pipeline_version(options: EmbedOptions, model_version: str) -> str:
    """Hash of all that changes the numbers or the columns of a row."""
    settings: dict[str, Any] = {
        "numerics": NUMERICS,
        "model_version": model_version,
        "precision": options.precision,
        "top_classes": options.top_classes,
        "rows": options.rows,
        "metadata_columns": options.metadata_columns,
        "sink": sorted(options.sink),
    }
    if options.bigquery_table is not None:  # another table lacks the rows that are unchanged here
        settings["bigquery_table"] = warehouse.split(options.bigquery_table)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def bigquery_tables(options: EmbedOptions, attempt_id: str) -> tuple[WarehouseTable, ...]:
    """The tables of --bigquery_table for one execution."""
    if options.bigquery_table is None:
        return ()
    fields: dict[str, Sequence[schemas.Field]] = {}
    if options.rows in ("clip", "both"):
        fields["clips"] = schemas.clip_fields(options.metadata_columns)
    if options.rows in ("patch", "both"):
        fields["patches"] = schemas.PATCH_FIELDS
    return tuple(warehouse.table(kind, options.bigquery_table, attempt_id, columns) for kind, columns in fields.items())


def load_location(options: EmbedOptions, temp_location: str | None, attempt_id: str) -> str | None:
    """Where the files that BigQuery loads are put: in a folder of this execution, below Beam's --temp_location.

    Raises:
      UsageError: neither that nor --output is in Google Cloud Storage, where BigQuery loads from.
    """
    if options.bigquery_table is None:
        return None
    if temp_location and temp_location.startswith("gs://"):
        return storage.join(temp_location, f"yamnet-beam-{attempt_id}")
    if options.output.startswith("gs://"):
        return storage.join(options.output, f".tmp-{attempt_id}")
    raise errors.UsageError(
        f"--sink=bigquery loads through Google Cloud Storage, and --output={options.output} is not there: "
        "add --temp_location=gs://BUCKET/tmp"
    )


def _is_folder(uri: str) -> bool:
    if storage.is_local(uri):
        return os.path.isdir(uri)
    return not storage.is_http(uri) and (uri.endswith("/") or uri.count("/") == 2)  # s3://bucket
