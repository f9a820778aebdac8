"""The embed command: resolves the settings, runs the pipeline, reports what it did."""

import dataclasses
import datetime
import json
import time
from collections.abc import Sequence

from pipeline import report, resolve
from pipeline.options import EmbedOptions
from transforms import errors, model_store, runs, schemas, storage, warehouse

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3  # exit codes


def embed(options: EmbedOptions, beam_flags: Sequence[str] = ()) -> int:
    """Runs the pipeline and prints its summary; returns the exit code.

    Raises:
      RunError: the run cannot start or must not be committed.
    """
    resolve.check_inputs(options.input)
    options = dataclasses.replace(options, metadata_columns=resolve.metadata_columns(options))
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

    from pipeline.launch import launch  # with Beam: a run that is committed does not wait for it

    if not launch(options, beam_flags, model, directory):
        print(
            f"Run {run_id} goes on without this process; when it has ended, {directory}/{runs.MANIFEST_FILE} tells.\n"
            f"Then: yamnet-beam info {output}"
        )
        return DONE
    try:
        manifest = json.loads(storage.read_bytes(storage.join(directory, runs.MANIFEST_FILE)))
    except errors.NotFoundError as problem:
        raise errors.RunError(
            f"the job ended, and {directory} holds no manifest: workers write elsewhere. See --shared_filesystem"
        ) from problem
    print(report.summary(manifest, directory, time.monotonic() - started))
    return DONE if manifest["refused"] is None else REFUSED
