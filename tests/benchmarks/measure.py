"""How things are measured: processes pinned to cores, set-up taken off by the difference of two sizes, medians."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
ONE_CORE = CORES[-1:]
SINGLE_THREADED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"
)

Figures = dict[str, Any]


class Sizes(NamedTuple):
    """Two folders of the same clips, of `few` and of `many`: the difference of their times has no set-up in it."""

    few: Path
    many: Path
    num_few: int
    num_many: int


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Processes that start meanwhile may run on these cores only."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def environment(cores: Sequence[int], *, peer: bool = False) -> dict[str, str]:
    """For a process on `cores`, with the `peer`'s libraries or without: on one, all libraries use one thread.

    Compiled bytecode is kept, as pip leaves it: without it, TensorFlow takes four times as long to import.
    """
    found = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": ""}
    if not peer:
        found["PYTHONPATH"] = os.pathsep.join([str(HERE / "without_peer"), *found.get("PYTHONPATH", "").split()])
    return {**found, **(SINGLE_THREADED if len(cores) == 1 else {})}


EMBED = [sys.executable, "-m", "pipeline", "embed"]


class JobError(RuntimeError):
    """A job failed; the message is that of its error."""


def say(what: str) -> None:
    """Tells on stderr what is being measured."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


class Contestant:
    """A process that stays, so that imports and compilations happen once; see contestant.py."""

    def __init__(self, cores: Sequence[int] = ONE_CORE, *, peer: bool = False) -> None:
        """Starts it on `cores`; the `peer` with its libraries."""
        with pinned(cores):
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "contestant.py")],
                env=environment(cores, peer=peer),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # ends its input, and with it the process

    def ask(self, call: str, **job: Any) -> Figures:
        """Does one job, such as ours.embed.

        Raises:
          JobError: it failed.
          RuntimeError: the process died; its stderr has said why.
        """
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"call": call, **job}, default=str), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that measures died on {call} {job}")
        figures: Figures = json.loads(answer)
        if "error" in figures:
            raise JobError(figures["error"])
        return figures

    def per_clip(self, sizes: Sizes, call: str, **job: Any) -> Figures:
        """Milliseconds a clip without set-up: wall, processor and every stage; and the set-up's seconds."""
        few, many = (self.ask(call, folder=folder, **job) for folder in (sizes.few, sizes.many))
        num_clips = sizes.num_many - sizes.num_few
        wall, cpu = ((many[key] - few[key]) * 1e3 / num_clips for key in ("seconds", "cpu_seconds"))
        stages = {
            stage: (seconds - few["stages"].get(stage, 0.0)) * 1e3 / num_clips
            for stage, seconds in many.get("stages", {}).items()
        }
        setup_s = few["seconds"] - wall * sizes.num_few / 1e3
        return {"wall_ms": wall, "cpu_ms": cpu, "setup_s": setup_s, "stages": stages}


def spread(values: Sequence[float]) -> Figures:
    """Median, lowest and highest of some values, and the values."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": list(values)}


def spread_of(figures: Sequence[Figures], key: str) -> Figures:
    """`spread` of one key of several results."""
    return spread([figure[key] for figure in figures])


def ratios(numerators: Sequence[Figures], denominators: Sequence[Figures], key: str = "wall_ms") -> Figures:
    """`spread` of the ratios of pairs that were measured one after the other."""
    return spread([top[key] / bottom[key] for top, bottom in zip(numerators, denominators, strict=True)])
