"""Hands the pipeline to a runner, and translates what comes back."""

import contextlib
import dataclasses
import datetime
import logging
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipeline import portable, report, resolve, runners
from pipeline.build import Job, build
from pipeline.options import EmbedOptions
from transforms import errors, model_store
from transforms.commit import RunInfo
from transforms.embed import YamnetModelHandler


def launch(options: EmbedOptions, beam_flags: Sequence[str], model: dict[str, Any], directory: str) -> bool:
    """Runs the pipeline; returns whether it has ended, which a run that nobody waits for has not.

    Args:
      options: resolved: with run_id and the model directory.
      beam_flags: Beam's own.
      model: description of the model.
      directory: of the run.

    Raises:
      UsageError: the runner cannot do this; says what it lacks.
      RunError: the run failed.
    """
    beam_options = PipelineOptions(list(beam_flags))
    runner = runners.prepare(options, beam_options)
    job = _job(options, beam_options, model, directory, num_threads=None if runner.is_one_process else 1)
    if runner.log_level:
        logging.getLogger().setLevel(runner.log_level)
    for note in runner.notes:
        print(note, flush=True)
    with _live_progress(options.progress if runner.is_local else "off") as progress_path:
        try:
            with beam.Pipeline(options=beam_options) as root:
                build(root, dataclasses.replace(job, progress_path=progress_path))
        except KeyboardInterrupt:
            if runner.is_portable:
                raise KeyboardInterrupt(portable.interrupted(options.run_id)) from None
            raise
        except Exception as problem:
            if known := _ours(problem) or portable.failure(problem, options.run_id):
                raise known from problem
            raise
    state = root.result.state
    if PipelineState.is_terminal(state) and state != PipelineState.DONE:
        raise errors.RunError(
            f"the job ended as {state}: nothing of run {options.run_id} counts; run the command again"
        )
    return bool(PipelineState.is_terminal(state))


def _job(
    options: EmbedOptions,
    beam_options: PipelineOptions,
    model: dict[str, Any],
    directory: str,
    *,
    num_threads: int | None,
) -> Job:
    attempt_id = uuid.uuid4().hex
    temp_location = beam_options.view_as(GoogleCloudOptions).temp_location
    run = RunInfo(
        run_id=str(options.run_id),
        attempt_id=attempt_id,
        directory=directory,
        started_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
        model_version=model["fingerprint"],
        pipeline_version=resolve.pipeline_version(options, model["fingerprint"]),
        settings=dataclasses.asdict(options) | {"beam": beam_options.get_all_options(drop_default=True)},
        max_failure_ratio=options.max_failure_ratio,
        clip_formats=options.sink if options.rows != "patch" else (),
        patch_formats=options.sink if options.rows != "clip" else (),
        tables=resolve.bigquery_tables(options, attempt_id),
        temp_location=resolve.load_location(options, temp_location, attempt_id),
    )
    handler = YamnetModelHandler(
        str(options.model),
        model["fingerprint"],
        precision=options.precision,
        batch_segments=options.batch_segments,
        num_threads=num_threads,
    )
    return Job(options=options, run=run, handler=handler, classes=model_store.classes(str(options.model)))


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
