"""What slow storage costs: a bucket on loopback whose every object takes 50 ms, against one that answers at once.

    python tests/benchmarks/overlap.py

Both are measured in turns, in one process on one core; the bucket (tests/servers) has the others.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # for the servers

import clips
import ours
from measure import Contestant, Figures, Sizes, ratios, say, spread, spread_of

from pipeline.dataset import Dataset
from pipeline.options import EmbedOptions
from tests.servers.cloud import google_cloud

DELAY_S = 0.05  # of every object
BUCKET = "clips"


def measure(scratch: Path, *, few: int, many: int, repetitions: int, duration_s: float = 10) -> Figures:
    """Milliseconds a clip without and with the delay, and the ratio: the part of the throughput that is left."""
    folder = clips.folder_of(scratch, duration_s=duration_s, file_format="flac", count=many)
    found: dict[float, list[Figures]] = {0.0: [], DELAY_S: []}
    with google_cloud(BUCKET) as cloud, cloud.activate(), Contestant() as process:
        for number, clip in enumerate(sorted(folder.iterdir())):
            for name, count in (("few", few), ("many", many)):
                if number < count:
                    cloud.gcs.store.write(f"gs://{BUCKET}/{name}/{clip.name}", clip.read_bytes())
        sizes = Sizes(f"gs://{BUCKET}/few", f"gs://{BUCKET}/many", few, many)  # type: ignore[arg-type]
        for repetition in range(repetitions + 1):
            say(f"overlap: {f'{repetition} of {repetitions}' if repetition else 'warming up'}")
            if not repetition:
                process.ask("overlap.embed", folder=sizes.few)
                continue
            for delay_s, runs in found.items():
                cloud.gcs.clear()
                cloud.gcs.inject(path="alt=media", delay_s=delay_s, times=None)
                figures = process.per_clip(sizes, "overlap.embed")
                # What a clip takes where nobody disturbs: work, and waiting for bytes.
                figures["busy_ms"] = figures["cpu_ms"] + max(0.0, figures["stages"]["fetch"])
                runs.append(figures)
    fast, slow = found.values()
    return {
        "delay_ms": DELAY_S * 1e3,
        "fast_ms": spread_of(fast, "wall_ms"),
        "slow_ms": spread_of(slow, "wall_ms"),
        "fast_wait_ms": spread([figures["stages"]["fetch"] for figures in fast]),
        "slow_wait_ms": spread([figures["stages"]["fetch"] for figures in slow]),
        "throughput_ratio": ratios(fast, slow),
        "throughput_ratio_undisturbed": ratios(fast, slow, "busy_ms"),
    }


def embed(folder: str, output: str) -> dict[str, Any]:
    """Embeds all clips of a folder of a bucket; returns the number of rows and the seconds of every stage.

    Raises:
      RuntimeError: a clip has no row.
    """
    options = EmbedOptions(input=(f"{folder}/*",), output=output, progress="off")
    code, stages = ours.run_and_time(options, ["--runner=FnApiRunner"])
    dataset = Dataset.open(output)
    if code or dataset.runs[-1].manifest["dead"]:
        raise RuntimeError(f"exit code {code}, {dataset.runs[-1].manifest}")
    return {"rows": len(dataset), "stages": stages}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=16, metavar="N", help="clips of the smaller runs (default 16)")
    parser.add_argument("--many", type=int, default=112, metavar="N", help="clips of the larger runs (default 112)")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="of both, in turns (default 3)")
    parser.add_argument("--duration_s", type=float, default=10, metavar="S", help="of a clip (default 10)")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        print(json.dumps(measure(Path(scratch), **vars(parser.parse_args())), indent=1))


if __name__ == "__main__":
    main()
