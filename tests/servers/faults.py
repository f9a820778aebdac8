"""Faults: which requests shall go wrong, how, and how often."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field, replace

from tests.servers.serving import Request, Response


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule; the first live one that matches a request is applied to it.

    Attributes:
        path: Regular expression searched for in the request target (path and query, encoded).
        method: HTTP method; None for any.
        after: Let this many matches pass first.
        times: Apply it to this many; None for every one.
        status: Answer with this status in place of the true answer.
        retry_after_s: Seconds for the Retry-After header that goes with `status`.
        reset: Reset the connection in place of the answer.
        cut_bytes: Announce the whole answer, send this many bytes of its body, and close.
        delay_s: Seconds to wait before answering.
        applied: Whether the request takes effect all the same: with `status` or `reset`, only
            its answer is lost, as when a network fails after the write.
        fired: How often it was applied.
    """

    path: str = ""
    method: str | None = None
    after: int = 0
    times: int | None = 1
    status: int | None = None
    retry_after_s: int | None = None
    reset: bool = False
    cut_bytes: int | None = None
    delay_s: float = 0.0
    applied: bool = False
    fired: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)

    @property
    def withholds(self) -> bool:
        """Whether the request shall not reach the service at all."""
        return (self.reset or self.status is not None) and not self.applied

    def matches(self, request: Request) -> bool:
        """Tell whether the rule is about this request, and count it if so."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.method not in (None, request.method) or not re.search(self.path, request.target):
            return False
        self._seen += 1
        return self._seen > self.after

    def spoil(self, response: Response) -> Response:
        """Return what the client gets in place of `response`."""
        if self.status is not None:
            response = error(self.status, "injected", retry_after_s=self.retry_after_s)
        return replace(response, delay_s=self.delay_s, cut_bytes=self.cut_bytes, reset=self.reset)


class Faults:
    """The rules in force, in the order of their injection."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """Lift every rule."""
        with self._lock:
            self._rules.clear()

    def claim(self, request: Request) -> Fault | None:
        """Return the rule that this request falls to, having counted it."""
        with self._lock:
            for fault in self._rules:
                if fault.matches(request):
                    fault.fired += 1
                    return fault
        return None


def error(status: int, message: str, *, retry_after_s: int | None = None) -> Response:
    """Make an error in the form that Google's JSON interfaces have."""
    details = {"code": status, "message": message, "errors": [{"message": message}]}
    headers = [("Content-Type", "application/json; charset=UTF-8")]
    if retry_after_s is not None:
        headers.append(("Retry-After", str(retry_after_s)))
    return Response(status, tuple(headers), json.dumps({"error": details}).encode())
