"""Owns the timing of stages, without Beam: steps report to whoever listens, and cost a microsecond if nobody does."""

import time
from collections.abc import Callable
from types import TracebackType

Observer = Callable[[str, float, int], None]
_observers: list[Observer] = []


def listen(observer: Observer) -> None:
    """Calls `observer(stage, seconds, num_bytes)` after every measured step, in the thread of the step."""
    if observer not in _observers:
        _observers.append(observer)


class measure:  # noqa: N801  reads as a statement: with measure("decode"): ...
    """Times one step of a stage; set `num_bytes` inside to say how much it handled."""

    __slots__ = ("_stage", "_started", "num_bytes")

    def __init__(self, stage: str, num_bytes: int = 0) -> None:
        self._stage = stage
        self.num_bytes = num_bytes

    def __enter__(self) -> "measure":
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        for observer in _observers:
            observer(self._stage, seconds, self.num_bytes)
