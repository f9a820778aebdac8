"""How much two and four workers on Flink do beside one process of the local runner, on the cores of this machine.

python tests/benchmarks/engines.py [--clips 256] [--repetitions 3]     # prints a table; it needs Java, Maven and Go

As in processes.py, clips are counted while all workers are at work, by the time that each row was made: the seconds
that Flink and its workers need to start stand apart, as the time of the whole command. Processor time a clip is the
difference of two runs, of all clips and of an eighth of them: it tells what an engine costs on a machine that others
use meanwhile, too, where clips a second tell little.
"""

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import clips  # noqa: E402
import machine  # noqa: E402
import ours  # noqa: E402
from measure import CORES, ONE_CORE, environment, pinned, say  # noqa: E402
from processes import steady_clips_per_s  # noqa: E402

from tests.servers.flink import flink  # noqa: E402

LOCAL = "--runner=FnApiRunner"
TWO_PROCESSES = "--direct_running_mode=multi_processing", "--direct_num_workers=2"


class Run(NamedTuple):
    """What one run of the command took.

    Attributes:
      clips_per_s: while all workers were at work.
      seconds: of the whole command.
      cpu_s: of the command, the cluster and its workers.
    """

    clips_per_s: float
    seconds: float
    cpu_s: float


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clips", type=int, default=256, help="of 10 s, FLAC, 44.1 kHz stereo (default 256)")
    parser.add_argument("--repetitions", type=int, default=3)
    settings = parser.parse_args()
    sizes = settings.clips // 8, settings.clips
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as scratch:
        folders = [clips.folder_of(Path(scratch), duration_s=10, file_format="flac", count=size) for size in sizes]
        lines = table(folders, sizes[1] - sizes[0], settings.repetitions)
    print(
        f"{machine.describe()['processor']}, {len(CORES)} cores, load {load:.1f} before; clips of 10 s, FLAC, 44.1 kHz"
    )
    print(f"stereo; {settings.repetitions} runs of {sizes[1]}", end="\n\n")
    print("\n".join(lines))


def table(folders: Sequence[Path], num_more: int, repetitions: int) -> list[str]:
    """The medians of every engine, and its throughput over that of one process.

    Args:
      folders: of few and of many clips.
      num_more: how many more.
      repetitions: of each.
    """
    found: dict[str, list[tuple[Run, Run]]] = {}
    for number in range(repetitions):
        for name, num_workers, cores, flags, cluster_cpu_s in engines():
            say(f"{name}, {number + 1} of {repetitions}")
            few, many = (embed(folder, num_workers, cores, flags, cluster_cpu_s) for folder in folders)
            found.setdefault(name, []).append((few, many))
            say(f"{few}, {many}")
    lines = ["| engine | clips/s | over one process | processor ms a clip | whole command |", "|---|---|---|---|---|"]
    one = statistics.median(many.clips_per_s for _, many in next(iter(found.values())))
    for name, runs in found.items():
        rate, seconds = (statistics.median(many[index] for _, many in runs) for index in (0, 1))
        cpu_ms = statistics.median((many.cpu_s - few.cpu_s) * 1e3 / num_more for few, many in runs)
        lines.append(f"| {name} | {rate:.1f} | {rate / one:.2f} | {cpu_ms:.0f} | {seconds:.0f} s |")
    return lines


def engines() -> Iterator[tuple[str, int, Sequence[int], list[str], Callable[[], float]]]:
    """(name, workers, cores, flags, processor time of its cluster so far) of each engine; a cluster runs meanwhile."""
    yield "FnApiRunner, one process on one core", 1, ONE_CORE, [LOCAL], lambda: 0.0
    yield "FnApiRunner, two processes", 2, CORES, [LOCAL, *TWO_PROCESSES], lambda: 0.0
    for num_workers, words in ((1, "one worker"), (2, "two workers"), (4, "four workers")):
        with flink(task_managers=num_workers) as cluster:
            yield f"Flink, {words}", num_workers, CORES, cluster.flags("EXTERNAL"), cluster.cluster.programs.cpu_s


def embed(
    folder: Path, num_workers: int, cores: Sequence[int], flags: Sequence[str], cluster_cpu_s: Callable[[], float]
) -> Run:
    """Runs the command on the clips of a folder."""
    with tempfile.TemporaryDirectory(prefix="bench-output-") as output, pinned(cores):
        command = [sys.executable, "-m", "pipeline", "embed", f"--input={folder}/*", f"--output={output}"]
        started, cpu_s = time.monotonic(), _children_cpu_s() + cluster_cpu_s()
        environ = environment(cores)
        subprocess.run([*command, *flags], cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)
        seconds, cpu_s = time.monotonic() - started, _children_cpu_s() + cluster_cpu_s() - cpu_s
        return Run(_rate(output, num_workers), seconds, cpu_s)


def _rate(output: str, num_workers: int) -> float:
    try:
        return steady_clips_per_s(ours.times(output), num_workers)
    except RuntimeError:  # too few clips for all to be at work together
        return math.nan


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
