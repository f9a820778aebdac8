"""The embed command: resolves the settings, runs the pipeline, reports what it did."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import report
from pipeline.options import EmbedOptions
from transforms import errors, manifests, model_store, runs, schemas, storage, warehouse
from transforms.warehouse import WarehouseTable

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3  # exit codes
NUMERICS = 1  # raised by hand whenever the same settings would give other numbers or columns
LOCAL_RUNNERS = ("FnApiRunner", "DirectRunner", "PrismRunner")


def embed(options: EmbedOptions, beam_flags: Sequence[str] = ()) -> int:
    """Runs the pipeline and prints its summary; returns the exit code.

    Raises:
      RunError: the run cannot start or must not be committed.
    """
    check_inputs(options.input)
    options = dataclasses.replace(options, metadata_columns=metadata_columns(options))
    if options.bigquery_table is not None:
        warehouse.check_columns(schemas.clip_fields(options.metadata_columns))
    started = time.monotonic()
    model_directory = model_store.resolve(options.model)
    model = model_store.describe(model_directory)
    run_id = options.run_id or datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
    output = storage.normalise(options.output)
    directory = runs.run_directory(output, run_id)
    if manifest := runs.manifest_of(directory):
        print(f"Run {run_id} was committed at {manifest['finished_at']}; nothing to do.")
        return DONE
    options = dataclasses.replace(options, output=output, run_id=run_id, model=model_directory)
    _run(options, beam_flags, model, directory)
    manifest = json.loads(storage.read_bytes(storage.join(directory, runs.MANIFEST_FILE)))
    print(report.summary(manifest, directory, time.monotonic() - started))
    return DONE if manifest["refused"] is None else REFUSED


def check_inputs(inputs: Sequence[str]) -> None:
    """Refuses inputs that cannot mean clips.

    Raises:
      UsageError: an input is a folder, or a list that is not there.
    """
    for text in inputs:
        if text.startswith(manifests.QUERY):
            continue
        uri = storage.normalise(text.removeprefix(manifests.LIST))
        if storage.is_local(uri) and os.path.isdir(uri):
            raise errors.UsageError(
                f"--input={text} is a folder; name the files in it: --input='{text.rstrip('/')}/**'"
            )
        if text.startswith(manifests.LIST):
            lists = manifests.lists_of(text)
            if not lists or not all(map(storage.exists, lists)):
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
    found = [column for name in lists for column in manifests.columns(name)]
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


def _run(options: EmbedOptions, beam_flags: Sequence[str], model: dict[str, Any], directory: str) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions, StandardOptions

    from pipeline.build import Job, build
    from transforms.commit import RunInfo
    from transforms.embed import YamnetModelHandler

    beam_options = PipelineOptions(list(beam_flags))
    standard = beam_options.view_as(StandardOptions)
    # By the name DirectRunner, Beam first tries to download Prism.
    standard.runner = standard.runner or "FnApiRunner"
    attempt_id = uuid.uuid4().hex
    run = RunInfo(
        run_id=str(options.run_id),
        attempt_id=attempt_id,
        directory=directory,
        started_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
        model_version=model["fingerprint"],
        pipeline_version=pipeline_version(options, model["fingerprint"]),
        settings=dataclasses.asdict(options) | {"beam": beam_options.get_all_options(drop_default=True)},
        max_failure_ratio=options.max_failure_ratio,
        clip_formats=options.sink if options.rows != "patch" else (),
        patch_formats=options.sink if options.rows != "clip" else (),
        tables=bigquery_tables(options, attempt_id),
        temp_location=load_location(options, beam_options.view_as(GoogleCloudOptions).temp_location, attempt_id),
    )
    local = standard.runner in LOCAL_RUNNERS
    alone = local and beam_options.view_as(DirectOptions).direct_num_workers == 1
    if local:
        logging.getLogger().setLevel(logging.ERROR)  # Beam warns about its own internals
    with _live_progress(options.progress if local else "off") as progress_path:
        job = Job(
            options=options,
            run=run,
            handler=YamnetModelHandler(
                str(options.model),
                precision=options.precision,
                batch_segments=options.batch_segments,
                num_threads=None if alone else 1,  # of several processes, each has a core
            ),
            classes=model_store.classes(str(options.model)),
            progress_path=progress_path,
        )
        try:
            with beam.Pipeline(options=beam_options) as root:
                build(root, job)
        except Exception as problem:
            if known := _ours(problem):
                raise known from problem
            raise


@contextlib.contextmanager
def _live_progress(wanted: str) -> Iterator[str | None]:
    """A file for workers to report to, and a thread that shows it; None where nobody looks."""
    if wanted == "off" or (wanted == "auto" and not sys.stderr.isatty()):
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="yamnet-beam-progress-") as file:
        done = threading.Event()
        thread = threading.Thread(target=report.show_progress, args=(file.name, done), daemon=True)
        thread.start()
        try:
            yield file.name
        finally:
            done.set()
            thread.join()


def _ours(problem: BaseException) -> errors.RunError | None:
    """The error of our own that a runner has wrapped, if there is one."""
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, errors.RunError):
            return seen
        seen = seen.__cause__ or seen.__context__
    text = str(problem)
    for kind in (errors.ModelError, errors.AccessError, errors.CommitError, errors.UsageError):
        # Runners that work in other processes send errors home as text.
        name = f"{kind.__module__}.{kind.__qualname__}: "
        if name in text:
            return kind(text.rsplit(name, 1)[1].split(" [while running", 1)[0].strip())
    return None
