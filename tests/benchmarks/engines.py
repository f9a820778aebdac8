"""How much two and four workers on Flink do beside one process of the local runner, on the cores of this machine.

python tests/benchmarks/engines.py [--clips 256] [--repetitions 3]     # prints a table; it needs Java, Maven and Go

As in processes.py, clips are counted while all workers are at work, by the time that each row was made: the seconds
that Flink and its workers need to start stand apart, as the time of the whole command.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
    """

    clips_per_s: float
    seconds: float


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clips", type=int, default=256, help="of 10 s, FLAC, 44.1 kHz stereo (default 256)")
    parser.add_argument("--repetitions", type=int, default=3)
    settings = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as scratch:
        folder = clips.folder_of(Path(scratch), duration_s=10, file_format="flac", count=settings.clips)
        lines = table(folder, settings.repetitions)
    print(
        f"{machine.describe()['processor']}, {len(CORES)} cores, load {load:.1f} before; clips of 10 s, FLAC, 44.1 kHz"
    )
    print(f"stereo; {settings.repetitions} runs of {settings.clips}", end="\n\n")
    print("\n".join(lines))


def table(folder: Path, repetitions: int) -> list[str]:
    """The medians of every engine on the clips of a folder, and its throughput over that of one process."""
    found: dict[str, list[Run]] = {}
    for number in range(repetitions):
        for name, num_workers, cores, flags in engines():
            say(f"{name}, {number + 1} of {repetitions}")
            found.setdefault(name, []).append(embed(folder, num_workers, cores, flags))
    lines = ["| engine | clips/s | over one process | whole command |", "|---|---|---|---|"]
    one = statistics.median(run.clips_per_s for run in next(iter(found.values())))
    for name, runs in found.items():
        rate, seconds = map(statistics.median, zip(*runs, strict=True))
        lines.append(f"| {name} | {rate:.1f} | {rate / one:.2f} | {seconds:.0f} s |")
    return lines


def engines() -> Iterator[tuple[str, int, Sequence[int], list[str]]]:
    """(name, workers, cores, flags) of each engine; its cluster runs meanwhile."""
    yield "FnApiRunner, one process on one core", 1, ONE_CORE, [LOCAL]
    yield "FnApiRunner, two processes", 2, CORES, [LOCAL, *TWO_PROCESSES]
    for num_workers, words in ((1, "one worker"), (2, "two workers"), (4, "four workers")):
        with flink(task_managers=num_workers) as cluster:
            yield f"Flink, {words}", num_workers, CORES, cluster.flags("EXTERNAL")


def embed(folder: Path, num_workers: int, cores: Sequence[int], flags: Sequence[str]) -> Run:
    """Runs the command on the clips of a folder."""
    with tempfile.TemporaryDirectory(prefix="bench-output-") as output, pinned(cores):
        command = [sys.executable, "-m", "pipeline", "embed", f"--input={folder}/*", f"--output={output}"]
        started = time.monotonic()
        subprocess.run([*command, *flags], cwd=ROOT, env=environment(cores), check=True, stdout=subprocess.DEVNULL)
        return Run(steady_clips_per_s(ours.times(output), num_workers), time.monotonic() - started)


if __name__ == "__main__":
    main()
