"""How well processes add up, and how long one takes to its first row.

A run in several processes takes many seconds to start, and its wall time tells little. But each row says when it was
made: clips are counted while all workers are at work, from the first row of the last to start to the last row of the
first to end; and in the same way for one process.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import ours
from measure import CORES, EMBED, ONE_CORE, Contestant, Figures, environment, pinned, ratios, spread_of


def steady_clips_per_s(times: list[list[float]], num_workers: int) -> float:
    """Clips a second while each of `num_workers` files was growing, one for each worker.

    Raises:
      RuntimeError: there are fewer files than workers, or they never grew together.
    """
    busy = sorted(times, key=len, reverse=True)[:num_workers]
    start, stop = max(file[0] for file in busy), min(file[-1] for file in busy)
    if len(busy) < num_workers or stop <= start:
        raise RuntimeError(
            f"{num_workers} processes were never at work together; rows by file: {list(map(len, times))}"
        )
    return sum(start < moment <= stop for file in busy for moment in file) / (stop - start)


def measure(folder: Path, *, repetitions: int, num_workers: int = 2) -> Figures:
    """Clips a second of one process and of `num_workers`, in turns, and the ratios of the pairs."""
    one, several = [], []
    cores = CORES[:num_workers]
    with Contestant() as alone, Contestant(cores) as together:
        for _ in range(repetitions):
            for contestant, expected, found in ((alone, 1, one), (together, num_workers, several)):
                answer = contestant.ask("ours.embed", folder=folder, num_workers=expected)
                rate = steady_clips_per_s(answer["times"], expected)
                found.append({"clips_per_s": rate, "seconds": answer["seconds"]})
    return {
        "one_clips_per_s": spread_of(one, "clips_per_s"),
        "two_clips_per_s": spread_of(several, "clips_per_s"),
        "two_run_s": spread_of(several, "seconds"),
        "ratio": ratios(several, one, "clips_per_s"),
    }


def start_up(folder: Path) -> Figures:
    """Seconds from starting the command on one clip, on one core, to its row and to its end."""
    with tempfile.TemporaryDirectory(prefix="bench-output-") as output, pinned(ONE_CORE):
        clip = min(folder.iterdir())
        command = [*EMBED, f"--input={clip}", f"--output={output}", "--progress=off"]
        started = time.time()
        subprocess.run(command, env=environment(ONE_CORE), check=True, stdout=subprocess.DEVNULL)
        return {"end_s": time.time() - started, "first_row_s": ours.times(output)[0][0] - started}
