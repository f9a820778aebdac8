"""How much memory a worker needs: the highest resident size of every process of a command, read while it runs."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from measure import CORES, EMBED, ONE_CORE, Figures, environment, pinned

POLL_S = 0.05
LONGEST_S = 40_000  # for --max_duration_s: 10 hours and some


def peak_mb(command: Sequence[str], cores: Sequence[int] = ONE_CORE) -> list[float]:
    """Runs a command; the peaks of it and of the processes it starts, the command's own first, in MB (1e6).

    VmHWM belongs to a process' present image, so a small child does not inherit the peak of the process that forked it,
    as it does with getrusage.

    Raises:
      CalledProcessError: it failed.
    """
    peaks: dict[int, float] = {}
    with pinned(cores):
        process = subprocess.Popen(command, env=environment(cores), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    drained = threading.Thread(target=_drain, args=(process,), daemon=True)
    drained.start()
    while process.poll() is None:
        for pid in _family(process.pid):
            peaks[pid] = max(peaks.get(pid, 0.0), _high_water_mb(pid))
        time.sleep(POLL_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    own = peaks.pop(process.pid)
    return [own, *sorted(peaks.values(), reverse=True)]


def of_import(statement: str) -> float:
    """Peak of a process that only executes an import, in MB."""
    return peak_mb([sys.executable, "-c", f"{statement}; import time; time.sleep({4 * POLL_S})"])[0]


def of_embedding(folder: Path, *flags: str, cores: Sequence[int] = ONE_CORE) -> list[float]:
    """Peaks of `embed` over a folder, in MB."""
    with _scratch() as output:
        command = [*EMBED, f"--input={folder}/*", f"--output={output}", "--progress=off"]
        return peak_mb([*command, f"--max_duration_s={LONGEST_S}", *flags], cores)


def measure(ten_seconds: Path, recordings: dict[str, Path], *, processes: bool) -> Figures:
    """The figures of memory, in MB.

    Args:
      ten_seconds: folder of many clips of 10 s.
      recordings: folders with one long recording each, by name.
      processes: whether to look at the workers of a run of two processes as well.
    """
    figures: Figures = {
        "python_mb": of_import("pass"),
        "tensorflow_import_mb": of_import("import tensorflow"),
        "clips_of_10_s_mb": of_embedding(ten_seconds)[0],
        "recordings_mb": {name: of_embedding(folder)[0] for name, folder in recordings.items()},
    }
    figures["over_tensorflow_mb"] = figures["clips_of_10_s_mb"] - figures["tensorflow_import_mb"]
    figures["recording_adds_mb"] = {
        name: mb - figures["clips_of_10_s_mb"] for name, mb in figures["recordings_mb"].items()
    }
    if processes:
        flags = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
        launcher, *workers = of_embedding(ten_seconds, *flags, cores=CORES)
        figures["two_processes_mb"] = {"launcher": launcher, "workers": workers[:2]}
    return figures


def _high_water_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _drain(process: "subprocess.Popen[bytes]") -> None:
    assert process.stderr
    process.stderr.read()


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="bench-output-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
