"""Where the time of a clip goes: the product's own stage metrics, and Beam's share measured where all else is small.

Beam's share is the time of clips of 0.1 s less the time of their stages: what the runner and the wiring take for an
element does not depend on how long it sounds. So no line of the table is defined as the rest, and time that nothing
explains shows in the sum.
"""

from typing import Any

from measure import Figures, spread

STAGES = ("fetch", "read", "decode", "downmix", "health", "resample", "log_mel", "network", "pool", "encode")
MULTIPLIES_PER_PATCH = 69_165_056
NETWORK_CLIPS, PATCHES = "10 s FLAC", 20  # the clips that tell the network's speed


def medians(runs: list[Figures]) -> dict[str, Figures]:
    """Milliseconds a clip of every stage, in the order in which a clip meets them."""
    others = sorted({name for run in runs for name in run["stages"]} - set(STAGES))
    return {name: spread([run["stages"].get(name, 0.0) for run in runs]) for name in (*STAGES, *others)}


def explained(ours: dict[str, Any]) -> float:
    """How much of the wall time the stages add up to, Beam among them."""
    return sum(stage["median"] for stage in ours["stages_ms"].values()) / ours["wall_ms"]["median"]


def network(ours: dict[str, Any], precision: str, ceilings: dict[str, float]) -> Figures:
    """GFLOP/s of the network on NETWORK_CLIPS, a multiply with its addition, and the part of the machine's GEMM."""
    seconds = ours["stages_ms"]["network"]["median"] / 1e3
    reached = 2 * MULTIPLIES_PER_PATCH * PATCHES / seconds / 1e9
    ceiling = max(gflops for name, gflops in ceilings.items() if name.endswith(precision))
    return {"gflops": reached, "ceiling_gflops": ceiling, "of_ceiling": reached / ceiling}
