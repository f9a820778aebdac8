"""What people see of a run: the live line and the table at its end."""

import os
import sys
import threading
import time
from collections.abc import Sequence

from transforms.metrics import Progress, read_progress
from transforms.runs import Manifest

REFRESH_S = 0.5
PACE_CLIPS = 20  # fewer say nothing of the pace


def summary(manifest: Manifest, directory: str, elapsed_s: float) -> str:
    """The table at the end of a run."""
    lines = [(name, f"{manifest[name]:,}") for name in ("listed", "embedded", "dead", "unchanged")]
    dead = [(f"  {code}", f"{count:,}") for code, count in manifest["dead_by_code"].items()]
    lines[3:3] = dead
    if manifest["unchanged_dead"]:
        lines.append(("  of them dead", f"{manifest['unchanged_dead']:,}"))
    if manifest["truncated"]:
        lines.insert(2, ("  truncated", f"{manifest['truncated']:,}"))
    audio_s = manifest["audio_hours"] * 3600
    lines.append(("audio", duration(audio_s)))
    lines.append(("patches", f"{manifest['num_patches']:,}"))
    lines.append(("took", f"{duration(elapsed_s)}, {audio_s / max(elapsed_s, 1e-9):,.0f} times real time"))
    parts = [table(lines, right=(1,))]
    if outputs := manifest["outputs"]:
        files = [(output["path"], f"{output['rows']:,} rows", size(output["bytes"])) for output in outputs]
        parts.append(f"{directory}/\n" + table(files, indent=2, right=(1, 2)))
    if manifest["refused"]:
        parts.append(f"NOT COMMITTED: {manifest['refused']}. See the dead letters in {directory}")
    elif not manifest["embedded"] and not manifest["dead"]:
        parts.append(
            "Nothing new: every clip is already in the dataset under these settings (--force embeds them again)."
        )
    return "\n\n".join(parts)


def table(rows: Sequence[Sequence[str]], indent: int = 0, right: Sequence[int] = ()) -> str:
    """Columns side by side; those numbered in `right` are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(num_bytes: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def progress_line(progress: Progress, elapsed_s: float) -> str:
    """How far a run is, how fast, and how long it will take at the pace so far."""
    clips, left = progress.clips, progress.planned - progress.clips
    if not clips:
        return f"{progress.planned:,} clips to do  {duration(elapsed_s)}" if left else f"listing  {duration(elapsed_s)}"
    parts = [f"{clips:,} of {progress.planned:,} clips" if left > 0 else f"{clips:,} clips"]
    parts += [f"{clips / elapsed_s:.1f} clips/s", f"{progress.audio_s / 3600:.2f} h of audio"]
    parts += [f"{progress.dead:,} dead", duration(elapsed_s)]
    if left > 0 and clips >= PACE_CLIPS:
        parts.append(f"about {duration(elapsed_s / clips * left)} left")
    return "  ".join(parts)


def show_progress(path: str, done: threading.Event) -> None:
    """Rewrites one line on stderr until `done`."""
    started = time.monotonic()
    progress = Progress()
    with open(path, "rb") as file:
        while True:
            last = done.wait(REFRESH_S)
            progress = read_progress(file, progress)
            line = progress_line(progress, time.monotonic() - started)
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if sys.stderr.isatty() else 120
            sys.stderr.write(f"\r{line[:width]:<{min(width, 79)}}" + ("\n" if last else ""))
            sys.stderr.flush()
            if last:
                return
