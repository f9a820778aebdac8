"""The embed command: resolves the settings, runs the pipeline, reports what it did."""

import dataclasses
import datetime
import json
import time
from collections.abc import Sequence
from typing import Any

from pipeline import report, resolve
from pipeline.options import EmbedOptions
from transforms import errors, logs, model_store, runs, schemas, storage, warehouse

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3  # exit codes


def embed(options: EmbedOptions, beam_flags: Sequence[str] = ()) -> int:
    """Runs the pipeline and prints its summary; returns the exit code.

    Raises:
      RunError: the run cannot start or must not be committed.
    """
    if options.log_format == "json":
        logs.write_json()
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
        done_at = manifest["finished_at"]
        _tell(run_id, f"Run {run_id} was committed at {done_at}; nothing to do.", "nothing to do", committed_at=done_at)
        return DONE
    options = dataclasses.replace(options, output=output, run_id=run_id, model=model_directory)

    from pipeline.launch import launch  # with Beam: a run that is committed does not wait for it

    if not launch(options, beam_flags, model, directory):
        told = f"{directory}/{runs.MANIFEST_FILE}"
        text = (
            f"Run {run_id} goes on without this process; when it has ended, {told} tells.\n"
            f"Then: yamnet-beam info {output}"
        )
        _tell(run_id, text, "launched", manifest=told)
        return DONE
    try:
        manifest = json.loads(storage.read_bytes(storage.join(directory, runs.MANIFEST_FILE)))
    except errors.NotFoundError as problem:
        raise errors.RunError(
            f"the job ended, and {directory} holds no manifest: workers write elsewhere. See --shared_filesystem"
        ) from problem
    seconds = time.monotonic() - started
    facts = {word: manifest[word] for word in ("refused", "listed", "embedded", "dead", "unchanged", "audio_hours")}
    _tell(run_id, report.summary(manifest, directory, seconds), "run ended", seconds=seconds, **facts)
    return DONE if manifest["refused"] is None else REFUSED


def _tell(run_id: str, text: str, message: str, **facts: Any) -> None:
    """Tells people on stdout, or with --log_format=json whoever reads the log."""
    if logs.writes_json():
        logs.event("launcher", message, run_id=run_id, **facts)
    else:
        print(text)
