"""Measures the pipeline against what one writes without it, and what it needs: `make bench`.

    python tests/benchmarks/run.py [--quick | --full] [--output DIR] [--peer_model MODEL]

Prints a Markdown report, and leaves it with all figures in DIR: results.json, results.md. Bars that are missed are
reported, and the exit code is 0 all the same: on a machine that others use, too, bars are missed.
"""

import argparse
import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import clips
import contests
import machine
import memory
import overlap
import planning
import processes
import report
import stages
from efforts import EFFORTS, Effort
from measure import Contestant, say


def main() -> int:
    """Measures, prints and writes; always 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    effort = parser.add_mutually_exclusive_group()
    for name, text in {"quick": "under 3 minutes", "full": "about 40 minutes", "tiny": "only to test this"}.items():
        effort.add_argument(f"--{name}", dest="effort", action="store_const", const=name, help=text)
    parser.set_defaults(effort="default")
    parser.add_argument("--output", type=Path, default=Path("build/bench"), metavar="DIR", help="for the results")
    parser.add_argument(
        "--peer_model",
        default="published",
        metavar="MODEL",
        help="for the peer: published, TF-Hub's (default); export, ours, with batch norm folded; or a SavedModel",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        results = measure(Path(scratch), EFFORTS[arguments.effort], arguments.peer_model)
    results |= {"effort": arguments.effort, "bars": report.bars(results)}
    text = report.markdown(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps(results, indent=1))
    (arguments.output / "results.md").write_text(text)
    print(text)
    return 0


def measure(scratch: Path, effort: Effort, peer_model: str) -> dict[str, Any]:
    """All figures of an effort."""
    started = datetime.datetime.now(datetime.timezone.utc)
    results: dict[str, Any] = {
        "started_at": started.isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "peer_model": peer_model,
        **_on_one_core(scratch, effort, peer_model),
    }
    ten_seconds = clips.folder_of(scratch, duration_s=10, file_format="flac", count=effort.process_clips or 8)
    say("start-up")
    results["start_up"] = processes.start_up(ten_seconds)
    if effort.process_clips:
        say("two processes")
        results["processes"] = processes.measure(ten_seconds, repetitions=effort.process_repetitions)
    if effort.recordings:
        say("memory")
        recordings = {
            name: clips.recording(scratch, duration_s=seconds, rate_hz=rate_hz, num_channels=num_channels)
            for name, seconds, rate_hz, num_channels in effort.recordings
        }
        results["memory"] = memory.measure(ten_seconds, recordings, processes=bool(effort.process_clips))
    if effort.overlap:
        few, many, repetitions = effort.overlap
        results["overlap"] = overlap.measure(scratch, few=few, many=many, repetitions=repetitions)
    results["planning"] = [planning.measure(num_clips) for num_clips in effort.planning_clips]
    results["took_s"] = (datetime.datetime.now(datetime.timezone.utc) - started).total_seconds()
    return results


def _on_one_core(scratch: Path, effort: Effort, peer_model: str) -> dict[str, Any]:
    """What two processes on the same core are asked in turns: the naive peer, and ours."""
    results: dict[str, Any] = {}
    with Contestant() as ours, Contestant(peer=True) as naive:
        say("ceilings")
        results["gflops"] = ours.ask("machine.ceilings")["gflops"]
        model = peer_model
        if model in ("export", "published"):
            model = ours.ask(f"ours.{model}_model", to=scratch / "model")["model"]
        results["refused"] = contests.refused(scratch, effort.tiny, ours, effort.precisions)
        beam = contests.beam(scratch, effort.tiny, ours)
        contestants = {"naive": (naive, {"call": "naive.embed", "model": model})}
        for precision, reason in results["refused"].items():
            if not reason:
                contestants[precision] = (ours, {"call": "ours.embed", "precision": precision})
        results["contests"] = {
            contest.name: contests.measure(contests.sizes(scratch, contest), contest, contestants, beam)
            for contest in effort.contests
        }
        results["encoder"] = contests.encoder(scratch, effort.contests[0], ours)
        if effort.growth:
            results["growth"] = contests.growth(scratch, effort.growth, ours)
        if "bfloat16" in contestants:
            say("accuracy of bfloat16")
            results["accuracy"] = ours.ask("accuracy.compare")["accuracy"]
    results["network"] = {
        precision: stages.network(figures, precision, results["gflops"])
        for precision, figures in results["contests"].get(stages.NETWORK_CLIPS, {}).items()
        if precision != "naive"
    }
    return results


if __name__ == "__main__":
    sys.exit(main())
