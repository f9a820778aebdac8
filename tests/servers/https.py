"""An HTTP or HTTPS server on loopback for files and for bad manners.

with https_server(folder) as server:
    server.add("/moved.wav", redirect("/there.wav"))
    fetch(server.url("/moved.wav"), ca=server.ca_path)
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tests.servers.faults import Fault, Faults
from tests.servers.serving import LOOPBACK, Answer, Request, Response, serving
from tests.servers.tls import authority

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
_PIECE = bytes(65536)


class WebServer:
    """What is served where.

    Attributes:
        port: Where it listens.
        ca_path: The root certificate that its own one chains to; None without TLS.
        requests: What was asked for so far.
    """

    def __init__(self, folder: Path | None, ca_path: Path | None) -> None:
        self.port = 0
        self.ca_path = ca_path
        self.requests: list[Request] = []
        self._folder = folder.resolve() if folder else None
        self._answers: dict[str, Answer] = {}
        self._faults = Faults()

    def url(self, path: str) -> str:
        """Return the URL of a path that starts with a slash."""
        return f"http{'s' if self.ca_path else ''}://{LOOPBACK}:{self.port}{path}"

    def add(self, path: str, answer: Answer) -> str:
        """Serve `path` (decoded, without query) with a function, and return its URL."""
        self._answers[path] = answer
        return self.url(path)

    def inject(self, **settings: object) -> Fault:
        """Let requests fail: `inject(path="a.wav", status=503, times=2)`; see `Fault`."""
        return self._faults.add(Fault(**settings))  # type: ignore[arg-type]

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        self.requests.append(request)
        fault = self._faults.claim(request)
        response = Response() if fault and fault.withholds else self._find(request)
        return fault.spoil(response) if fault else response

    def _find(self, request: Request) -> Response:
        path = unquote(request.path)
        if path in self._answers:
            return self._answers[path](request)
        file = (self._folder / path.lstrip("/")).resolve() if self._folder else None
        if file and self._folder and file.is_relative_to(self._folder) and file.is_file():
            return content(file.read_bytes(), mimetypes.guess_type(file.name)[0])(request)
        return Response(404, body=b"not found")


def content(data: bytes, media_type: str | None = None, *, ranges: bool = True) -> Answer:
    """Serve bytes, with an ETag, If-None-Match, If-Match, If-Range and (`ranges`) byte ranges."""
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = (
        ("ETag", etag),
        ("Content-Type", media_type or "application/octet-stream"),
        ("Accept-Ranges", "bytes" if ranges else "none"),
    )

    def answer(request: Request) -> Response:
        asked = request.headers
        if asked.get("If-None-Match") == etag:
            return Response(304, headers)
        if asked.get("If-Match", etag) not in (etag, "*"):
            return Response(412, headers)
        part = _RANGE.match(asked.get("Range", "")) if ranges else None
        if part is None or asked.get("If-Range", etag) != etag:
            return Response(200, headers, data)
        if part[1]:
            first, last = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
        else:  # the last so many bytes
            first, last = max(0, len(data) - int(part[2])), len(data) - 1
        if first > last:
            return Response(416, (*headers, ("Content-Range", f"bytes */{len(data)}")))
        covered = ("Content-Range", f"bytes {first}-{last}/{len(data)}")
        return Response(206, (*headers, covered), data[first : last + 1])

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    """Send the client elsewhere."""
    return lambda _: Response(status, (("Location", location),))


def endless(piece: bytes = _PIECE) -> Answer:
    """Send `piece` again and again, for as long as the client reads."""
    return lambda _: Response(body=iter(lambda: piece, None))


def slow(data: bytes, *, piece_bytes: int, pause_s: float) -> Answer:
    """Send bytes piece by piece, with a pause before each; their length is announced."""

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(data), piece_bytes):
            time.sleep(pause_s)
            yield data[at : at + piece_bytes]

    return lambda _: Response(200, (("Content-Length", str(len(data))),), pieces())


@contextlib.contextmanager
def https_server(folder: Path | None = None) -> Iterator[WebServer]:
    """Serve a folder, and whatever is added, over TLS at 127.0.0.1."""
    server = WebServer(folder, authority().ca_path)
    with serving(server.answer, authority().server_context(LOOPBACK)) as server.port:
        yield server


@contextlib.contextmanager
def http_server(folder: Path | None = None) -> Iterator[WebServer]:
    """Serve without TLS; as the end of an `egress.Route` it may have any https host name."""
    server = WebServer(folder, None)
    with serving(server.answer) as server.port:
        yield server
