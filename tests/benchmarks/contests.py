"""What is measured on one core, in processes that stay: the naive peer and ours in turns, growth, and the API."""

from pathlib import Path
from typing import Any

import clips
import stages
from efforts import Contest
from measure import Contestant, Figures, JobError, Sizes, ratios, say, spread, spread_of

TURNS = ("wall_ms", "cpu_ms", "setup_s")


def sizes(scratch: Path, contest: Contest) -> Sizes:
    """The folders of a contest, made if need be."""
    small, large = (
        clips.folder_of(
            scratch,
            duration_s=contest.duration_s,
            file_format=contest.file_format,
            rate_hz=contest.rate_hz,
            count=count,
        )
        for count in (contest.few, contest.many)
    )
    return Sizes(small, large, contest.few, contest.many)


def measure(
    scratch: Path, contest: Contest, naive: Contestant, ours: Contestant, precisions: tuple[str, ...]
) -> dict[str, Any]:
    """The peer's and our time a clip, and their ratios pair by pair; a precision that ours refuses says why."""
    folders = sizes(scratch, contest)
    say(f"{contest.name}: warming up")
    naive.ask("naive.embed", folders.few)
    found: dict[str, list[Figures]] = {"naive": []}
    refused = {}
    for precision in precisions:
        try:
            ours.ask("ours.embed", folders.few, precision=precision)
            found[precision] = []
        except JobError as problem:
            refused[precision] = str(problem)
    for number in range(contest.repetitions):
        say(f"{contest.name}: {number + 1} of {contest.repetitions}")
        for who, runs in found.items():
            more = {} if who == "naive" else {"precision": who}
            runs.append(naive.per_clip(folders) if who == "naive" else ours.per_clip(folders, **more))
    results: dict[str, Any] = {who: {key: spread_of(runs, key) for key in TURNS} for who, runs in found.items()}
    for who in list(found)[1:]:
        results[who] |= {
            "over_naive": ratios(found["naive"], found[who]),
            "over_naive_by_cpu_time": ratios(found["naive"], found[who], "cpu_ms"),
            "stages_ms": stages.medians(found[who]),
        }
    return results | {"refused": refused}


def beam(scratch: Path, tiny: Contest, ours: Contestant) -> Figures:
    """Milliseconds a clip that Beam and the wiring take."""
    say("Beam's share")
    folders = sizes(scratch, tiny)
    ours.ask("ours.embed", folders.few)
    found = [ours.per_clip(folders) for _ in range(tiny.repetitions)]
    return spread([figures["wall_ms"] - sum(figures["stages"].values()) for figures in found])


def growth(scratch: Path, runs: tuple[Contest, ...], ours: Contestant) -> Figures:
    """Milliseconds a clip of runs of few and of many clips, set-up off, and the ratio of the last to the first."""
    say("growth")
    wall_ms = {str(run.many - run.few): ours.per_clip(sizes(scratch, run))["wall_ms"] for run in runs}
    first, *_, last = wall_ms.values()
    return {"wall_ms": wall_ms, "ratio": last / first}


def encoder(scratch: Path, contest: Contest, ours: Contestant) -> Figures:
    """Clips a second of the in-process API, one call for all against a call for each."""
    say("the in-process API")
    folders = sizes(scratch, contest)
    rates = {}
    for call in ("encode_in_a_loop", "bulk_encode", "encoder_embed"):
        ours.ask(f"ours.{call}", folders.few)
        rates[call] = contest.many / ours.ask(f"ours.{call}", folders.many)["seconds"]
    ratio = rates["bulk_encode"] / rates["encode_in_a_loop"]
    return {"clips": contest.name, "clips_per_s": rates, "bulk_over_loop": ratio}
