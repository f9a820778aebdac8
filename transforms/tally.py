"""Owns the counting of a run: plain dicts of word to number, added up; every word that adds up is named here.

listed = embedded + dead + unchanged
listed = new + changed + stale + retry + forced + unchanged
deleted = listed before by one of the inputs, and no longer
"""

from collections import Counter
from collections.abc import Iterable

Tally = dict[str, float]

DEAD_PREFIX = "dead:"  # dead:<code> counts the letters of one code


def add(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    total: Counter[str] = Counter()
    for tally in tallies:
        total.update(tally)
    return dict(total)


def is_conserved(tally: Tally) -> bool:
    """Whether every listed clip is accounted for."""
    return tally.get("listed", 0) == sum(tally.get(word, 0) for word in ("embedded", "dead", "unchanged"))


def dead_by_code(tally: Tally) -> dict[str, int]:
    """Counts of dead letters by their code, largest first."""
    counts = {word.removeprefix(DEAD_PREFIX): int(n) for word, n in tally.items() if word.startswith(DEAD_PREFIX)}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
