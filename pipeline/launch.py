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
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline import dataflow, dataflow_job, portable, report, resolve, runners
from pipeline.build import Job, build
from pipeline.dataflow_job import DataflowJob
from pipeline.options import EmbedOptions
from pipeline.runners import Runner
from transforms import engine, errors, logs, model_store
from transforms.commit import RunInfo
from transforms.embed import YamnetModelHandler
from transforms.precision import chosen_precision

STAGE = "launcher"  # of lines that this process writes


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
    beam_options = PipelineOptions(dataflow.with_profile(options.profile, beam_flags))
    runner = runners.prepare(options, beam_options)
    beam_options.view_as(SetupOptions).save_main_session = False  # which Beam else turns on for Dataflow
    num_threads = None if runner.is_one_process else 1  # of several processes, each has a core
    if options.precision == "auto":
        engine.configure(num_threads)
        options = dataclasses.replace(options, precision=chosen_precision("auto"))
    job = _job(options, beam_options, model, directory, num_threads=num_threads)
    logs.event(
        STAGE, "run started", run_id=job.run.run_id, runner=runner.name, input=" ".join(options.input),
        output=options.output, mode=job.policy.mode, precision=options.precision,
        model_version=job.run.model_version[:12], pipeline_version=job.run.pipeline_version,
    )  # fmt: skip
    if runner.log_level:
        logging.getLogger().setLevel(runner.log_level)
    dataflow.check_places(beam_options)
    for note in (*runner.notes, *dataflow.notes(options, beam_options)):
        print(note, flush=True)
    with _live_progress(options.progress if runner.is_local else "off") as progress_path:
        try:
            root = beam.Pipeline(options=beam_options)
            build(root, dataclasses.replace(job, progress_path=progress_path))
            result = root.run()
        except KeyboardInterrupt:
            if runner.is_portable:
                raise KeyboardInterrupt(portable.interrupted(options.run_id)) from None
            raise
        except Exception as problem:
            known = _ours(problem) or dataflow_job.refusal(problem) or portable.failure(problem, options.run_id)
            if known:
                raise known from problem
            raise
        return _ended(result, runner, options, beam_options)


def _ended(result: PipelineResult, runner: Runner, options: EmbedOptions, beam_options: PipelineOptions) -> bool:
    """Waits for a job, unless nobody is to; returns whether it has ended."""
    job = dataflow_job.submitted(beam_options, result)
    if location := dataflow_job.template(beam_options):
        print(f"The job of run {options.run_id} is at {location}, for the template service to launch.", flush=True)
        return False
    try:
        if job:
            print(f"Watch run {options.run_id} at {job.console}\nTo end it: {job.cancel}", flush=True)
        if not beam_options.view_as(StandardOptions).no_wait_until_finish:
            result.wait_until_finish()
        state = result.state
    except KeyboardInterrupt:
        if job:
            raise KeyboardInterrupt(
                f"This process stops waiting; the job goes on: {job.console}\nTo end it: {job.cancel}"
            ) from None
        if runner.is_portable:
            raise KeyboardInterrupt(portable.interrupted(options.run_id)) from None
        raise
    except Exception as problem:
        if job:
            ended = getattr(problem, "result", None)  # of Beam's DataflowRuntimeException
            raise _failure(job, ended.state if ended else None, str(problem), beam_options) from problem
        if known := _ours(problem) or portable.failure(problem, options.run_id):
            raise known from problem
        raise
    if PipelineState.is_terminal(state) and state != PipelineState.DONE:
        if job:
            raise _failure(job, state, "", beam_options)
        raise errors.RunError(
            f"the job ended as {state}: nothing of run {options.run_id} counts; run the command again"
        )
    return bool(PipelineState.is_terminal(state))


def _failure(job: DataflowJob, state: str | None, text: str, beam_options: PipelineOptions) -> errors.RunError:
    said = dataflow_job.complaints(job, beam_options) if state else []
    return dataflow_job.failure(job, state, said[-1] if said else text, _told("\n".join([text, *said])))


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
        run_id=run.run_id,
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
    return _told(str(problem))


def _told(text: str) -> errors.RunError | None:
    """The error of our own that a text quotes, if there is one."""
    for kind in (errors.ModelError, errors.AccessError, errors.CommitError, errors.UsageError):
        # Runners that work in other processes send errors home as text.
        name = f"{kind.__module__}.{kind.__qualname__}: "
        if name in text:
            return kind(text.rsplit(name, 1)[1].split(" [while running", 1)[0].strip().partition("\n")[0])
    return None
