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


def refused(scratch: Path, tiny: Contest, ours: Contestant, precisions: tuple[str, ...]) -> dict[str, str | None]:
    """Warms up every precision; by precision, why ours refuses it on this machine, or None."""
    reasons: dict[str, str | None] = {}
    for precision in precisions:
        try:
            ours.ask("ours.embed", folder=sizes(scratch, tiny).few, precision=precision)
            reasons[precision] = None
        except JobError as problem:
            reasons[precision] = str(problem)
    return reasons


def measure(
    folders: Sizes, contest: Contest, contestants: dict[str, tuple[Contestant, Figures]], beam: Figures
) -> dict[str, Any]:
    """Time a clip of all contestants in turns, and the ratios of the first's, the naive peer's, to the others'.

    Args:
      folders: of the clips.
      contest: the clips, and how often.
      contestants: by name, the process and the settings of its jobs.
      beam: Beam's milliseconds a clip.
    """
    found: dict[str, list[Figures]] = {name: [] for name in contestants}
    for number in range(contest.repetitions + 1):
        say(f"{contest.name}: {f'{number} of {contest.repetitions}' if number else 'warming up'}")
        for name, (process, job) in contestants.items():
            if number:
                found[name].append(process.per_clip(folders, **job))
            else:
                process.ask(**job, folder=folders.few)
    naive, *others = found
    results: dict[str, Any] = {who: {key: spread_of(runs, key) for key in TURNS} for who, runs in found.items()}
    for who in others:
        results[who] |= {
            "over_naive": ratios(found[naive], found[who]),
            "over_naive_by_cpu_time": ratios(found[naive], found[who], "cpu_ms"),
            "stages_ms": stages.medians(found[who]) | {"beam": beam},
        }
        results[who]["explained"] = stages.explained(results[who])
    return results


def beam(scratch: Path, tiny: Contest, ours: Contestant) -> Figures:
    """Milliseconds a clip that Beam and the wiring take."""
    say("Beam's share")
    folders = sizes(scratch, tiny)
    found = [ours.per_clip(folders, "ours.embed") for _ in range(tiny.repetitions)]
    return spread([figures["wall_ms"] - sum(figures["stages"].values()) for figures in found])


def growth(scratch: Path, runs: tuple[Contest, ...], ours: Contestant) -> Figures:
    """Milliseconds a clip of runs of few and of many clips, set-up off, and the ratio of the last to the first."""
    say("growth")
    wall_ms = {str(run.many - run.few): ours.per_clip(sizes(scratch, run), "ours.embed")["wall_ms"] for run in runs}
    first, *_, last = wall_ms.values()
    return {"wall_ms": wall_ms, "ratio": last / first}


def encoder(scratch: Path, contest: Contest, ours: Contestant) -> Figures:
    """Clips a second of the in-process API, one call for all against a call for each."""
    say("the in-process API")
    folders = sizes(scratch, contest)
    rates = {}
    for call in ("encode_in_a_loop", "bulk_encode", "encoder_embed"):
        ours.ask(f"ours.{call}", folder=folders.few)
        rates[call] = contest.many / ours.ask(f"ours.{call}", folder=folders.many)["seconds"]
    ratio = rates["bulk_encode"] / rates["encode_in_a_loop"]
    return {"clips": contest.name, "clips_per_s": rates, "bulk_over_loop": ratio}
