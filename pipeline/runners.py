"""What each of Beam's runners asks of a run. What cannot work is refused before anything is sent, with the cure."""

import logging
from dataclasses import dataclass, replace

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)

from pipeline import dataflow, portable
from pipeline.options import EmbedOptions
from transforms import errors, manifests, model_store, storage

DEFAULT = "FnApiRunner"  # by the name DirectRunner, Beam first tries to download Prism
LOCAL = ("FnApiRunner", "DirectRunner", "PrismRunner")


@dataclass(frozen=True, slots=True)
class Runner:
    """Where a run goes.

    Attributes:
      name: of Beam's runner.
      is_local: the work is done on this machine, while this process waits.
      is_one_process: all work is done by one process.
      shares_files: a local path means the same file to every worker.
      has_image: workers run in a container image, which may carry the model.
      is_portable: it takes jobs at a job endpoint, as Flink does.
      notes: lines for the user, before the run starts.
    """

    name: str
    is_local: bool
    is_one_process: bool
    shares_files: bool
    has_image: bool
    is_portable: bool = False
    notes: tuple[str, ...] = ()

    @property
    def log_level(self) -> int | None:
        """Of this process, from which on what is logged says more than our own errors; None for Python's default."""
        if self.is_portable:
            return logging.CRITICAL  # workers' errors come home three times, with their stacks
        return logging.ERROR if self.is_local else None  # Beam warns about its own internals


def prepare(options: EmbedOptions, beam_options: PipelineOptions) -> Runner:
    """The runner of these options, after refusing what it cannot do; names the default one in `beam_options`.

    Raises:
      UsageError: names the flag and the cure.
    """
    standard = beam_options.view_as(StandardOptions)
    standard.runner = standard.runner or DEFAULT
    name = standard.runner.rsplit(".", 1)[-1]
    _refuse_what_never_works(name, beam_options)
    dataflow.prepare(options, beam_options)
    is_local = name in LOCAL
    environment = portable.environment(name, beam_options)
    if options.precision == "auto" and not is_local:
        raise errors.UsageError(
            f"--precision=auto measures this machine, and {name} works on others: "
            "take float32, or bfloat16 on machines with AMX or AVX512-BF16"
        )
    runner = Runner(
        name=name,
        is_local=is_local,
        is_one_process=is_local and beam_options.view_as(DirectOptions).direct_num_workers == 1,
        shares_files=is_local or environment == "LOOPBACK" or options.shared_filesystem,
        has_image=environment == "DOCKER",
        is_portable=name in portable.RUNNERS,
    )
    if not runner.shares_files:
        _refuse_local_paths(options, runner)
    if runner.is_portable:
        runner = replace(runner, notes=tuple(portable.prepare(name, options.run_id, beam_options)))
    return runner


def _refuse_what_never_works(name: str, beam_options: PipelineOptions) -> None:
    if name == "DaskRunner":
        raise errors.UsageError(
            "--runner=DaskRunner gives wrong results (it mixes tagged outputs up and loses last batches); "
            "use FnApiRunner on one machine, FlinkRunner or DataflowRunner on many"
        )
    if beam_options.view_as(SetupOptions).save_main_session:
        raise errors.UsageError("--save_main_session: workers import this package, there is no session; leave it out")
    if beam_options.view_as(StandardOptions).streaming:
        raise errors.UsageError("--streaming: a run has an end, at which it is committed; leave it out")


def _refuse_local_paths(options: EmbedOptions, runner: Runner) -> None:
    """Refuses what only this machine can read or write."""
    cure = "give a bucket (gs://...)"
    if runner.name != dataflow.RUNNER:
        cure += ", or --shared_filesystem if every worker has it under the same path"
    places = [("--output", options.output)]
    places += [("--input", text) for text in options.input if not text.startswith(manifests.QUERY)]
    for flag, place in places:
        if storage.is_local(storage.normalise(place.removeprefix(manifests.LIST))):
            raise errors.UsageError(f"{flag}={place} is on this machine, and {runner.name} works on others: {cure}")
    model = str(options.model)
    if storage.is_local(model) and not (runner.has_image and model == model_store.default_directory()):
        raise errors.UsageError(
            f"the model {model} is on this machine, and {runner.name} works on others: "
            "python -m pipeline model fetch --output gs://BUCKET/model, then --model gs://BUCKET/model"
        )
