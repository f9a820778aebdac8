"""Prism for tests: the flags that send a job of the product to it; Beam starts and ends the program itself."""

from __future__ import annotations

from tests.servers.beam_programs import prism_program, unavailable

__all__ = ["flags", "unavailable"]


def flags() -> list[str]:
    """Return Beam's flags for a run on Prism, which is built on the first call on this machine (a minute)."""
    return ["--runner=PrismRunner", f"--prism_location={prism_program()}"]
