"""How long a night takes on which nothing has changed, and how much memory: `embed` over a bucket on loopback.

    python tests/benchmarks/planning.py --clips 200000

The bucket (tests/servers) has that many objects, the dataset an index that knows them all. The command lists the
bucket page by page, joins the listing with the index, finds nothing to do, and commits; it has one core, the bucket the
others.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # for the servers

import memory
from measure import EMBED, Figures, say

from pipeline import resolve
from pipeline.options import EmbedOptions
from tests.servers import gcs_generated
from tests.servers.cloud import google_cloud
from transforms import model_store, records, runs, schemas
from transforms.account import of_row
from transforms.writers import MAX_FILE_ROWS, Table, outputs_of

BUCKET, GENERATION = "planned", 1
PATTERN = f"gs://{BUCKET}/**"


def measure(num_clips: int) -> Figures:
    """Seconds, processor seconds and peak MB of a command that finds `num_clips` clips unchanged.

    Raises:
      RuntimeError: it found anything else.
    """
    say(f"planning {num_clips:,} clips")
    names = [f"day {number // 10_000:03}/ü {number:07}.wav" for number in range(num_clips)]
    with tempfile.TemporaryDirectory(prefix="bench-planning-") as scratch, google_cloud() as cloud:
        cloud.gcs.generate(BUCKET, names, generation=GENERATION)
        write_dataset(scratch, names)
        command = [*EMBED, f"--input={PATTERN}", f"--output={scratch}", "--run_id=night", "--progress=off"]
        busy, started = _cpu_seconds(), time.perf_counter()
        with cloud.activate():
            peaks = memory.peak_mb(command)
        seconds = time.perf_counter() - started
        manifest = json.loads(Path(scratch, "run=night", runs.SUCCESS_FILE).read_text())
    found = {word: manifest[word] for word in ("listed", "unchanged", "embedded", "dead", "deleted")}
    if found != {"listed": num_clips, "unchanged": num_clips, "embedded": 0, "dead": 0, "deleted": 0}:
        raise RuntimeError(f"not a night without changes: {found}")
    return {"clips": num_clips, "seconds": seconds, "cpu_seconds": _cpu_seconds() - busy, "peak_mb": peaks[0]}


def write_dataset(dataset: str, names: list[str]) -> None:
    """A dataset with one committed run, of which only the index is there: all that planning reads."""
    model = model_store.describe(model_store.resolve(None))["fingerprint"]
    options = EmbedOptions(input=(PATTERN,), output=dataset)
    same: dict[str, Any] = {
        "listed_by": PATTERN,
        "pipeline_version": resolve.pipeline_version(options, model),
        "num_patches": 20,
        "duration_s": 10.0,
    }
    directory = runs.run_directory(dataset, "before")
    files = []
    for first in range(0, len(names), MAX_FILE_ROWS):
        writer = Table("index", "parquet", schemas.INDEX_FIELDS, directory).open()
        for name in names[first : first + MAX_FILE_ROWS]:
            uri = f"gs://{BUCKET}/{name}"
            version = f"{GENERATION}-{gcs_generated.crc32c(name.encode())}"
            writer.write(of_row({**same, "clip_id": records.clip_id(uri), "uri": uri, "source_version": version}))
        files.append(writer.close())
    manifest = {
        "run_id": "before",
        "attempt_id": "before",
        "finished_at": "2026-01-01T00:00:00.000+00:00",
        "outputs": outputs_of(files),
    }
    runs.publish(directory, manifest)


def _cpu_seconds() -> float:
    """Of the children that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200_000, metavar="N", help="in the bucket (default 200000)")
    figures = measure(parser.parse_args().clips)
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
