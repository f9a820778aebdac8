"""How much two and four workers on Flink do beside one process of the local runner, on the cores of this machine.

python tests/benchmarks/engines.py [--clips 256] [--repetitions 3]     # prints a table; it needs Java, Maven and Go

As in processes.py, clips are counted while all workers are at work, by the time that each row was made: the seconds
that Flink and its workers need to start stand apart, as the time of the whole command.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

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


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clips", type=int, default=256, help="of 10 s, FLAC, 44.1 kHz stereo (default 256)")
    parser.add_argument("--repetitions", type=int, default=3)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as scratch:
        folder = clips.folder_of(Path(scratch), duration_s=10, file_format="flac", count=settings.clips)
        print(table(folder, settings.repetitions), flush=True)


def table(folder: Path, repetitions: int) -> str:
    """The medians of every engine, and its throughput over that of one process."""
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(repetitions):
        for name, num_workers, cores, flags in engines():
            say(f"{name}, {number + 1} of {repetitions}")
            found.setdefault(name, []).append(embed(folder, num_workers, cores, flags))
    rates = {name: statistics.median(rate for rate, _ in values) for name, values in found.items()}
    one = next(iter(rates.values()))
    processor = machine.describe()["processor"]
    lines = [
        f"{processor}, {len(CORES)} cores; clips of 10 s, FLAC, 44.1 kHz stereo; {repetitions} runs",
        "",
        "| engine | clips/s | over one process | whole command |",
        "|---|---|---|---|",
    ]
    for name, values in found.items():
        low, high = (pick(rate for rate, _ in values) for pick in (min, max))
        whole_s = statistics.median(seconds for _, seconds in values)
        lines.append(
            f"| {name} | {rates[name]:.1f} ({low:.1f} to {high:.1f}) | {rates[name] / one:.2f} | {whole_s:.0f} s |"
        )
    return "\n".join(lines)


def engines() -> Iterator[tuple[str, int, Sequence[int], list[str]]]:
    """(name, workers, cores, flags) of each; a cluster runs as long as it is measured."""
    yield "FnApiRunner, one process on one core", 1, ONE_CORE, [LOCAL]
    yield "FnApiRunner, two processes", 2, CORES, [LOCAL, *TWO_PROCESSES]
    for num_workers, words in ((1, "one worker"), (2, "two workers"), (4, "four workers")):
        with flink(task_managers=num_workers) as cluster:
            yield f"Flink, {words}", num_workers, CORES, cluster.flags("EXTERNAL")


def embed(folder: Path, num_workers: int, cores: Sequence[int], flags: Sequence[str]) -> tuple[float, float]:
    """Clips a second while all workers are at work, and seconds of the whole command."""
    with tempfile.TemporaryDirectory(prefix="bench-output-") as output, pinned(cores):
        command = [
            sys.executable,
            "-m",
            "pipeline",
            "embed",
            f"--input={folder}/*",
            f"--output={output}",
            "--progress=off",
        ]
        started = time.monotonic()
        subprocess.run([*command, *flags], cwd=ROOT, env=environment(cores), check=True, stdout=subprocess.DEVNULL)
        return steady_clips_per_s(ours.times(output), num_workers), time.monotonic() - started


if __name__ == "__main__":
    main()
