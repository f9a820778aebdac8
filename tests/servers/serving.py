"""Loopback HTTP servers written as one function from a request to a response.

What goes wrong on a network (a late answer, a cut body, a reset connection) is a property of the
response, so that a faulty server is still one function.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LOOPBACK = "127.0.0.1"
# Headers that belong to one connection: neither forwarded nor repeated.
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "host",
    ]
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body read whole; `target` is the path with its query, still encoded."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query, still encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer and what becomes of it on the way.

    Attributes:
        body: Bytes, or an iterable of bytes that is sent piece by piece (chunked, unless
            `headers` gives a Content-Length).
        delay_s: Seconds to wait before answering.
        cut_bytes: Announce the whole body, send this many bytes of it, and close.
        reset: Send nothing and reset the connection.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    delay_s: float = 0.0
    cut_bytes: int | None = None
    reset: bool = False


Answer = Callable[[Request], Response]


def abort(connection: socket.socket) -> None:
    """Close with a reset (RST) in place of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _exchange(self) -> None:
        target = re.sub(r"^http://[^/]*", "", self.path)  # a proxy is asked for whole URLs
        request = Request(self.command, target, self.headers, self._body())
        self._send(self.server.answer(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _exchange  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self._read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self._line().split(b";")[0], 16):
            pieces.append(self._read(size))
            self._line()
        self._line()
        return b"".join(pieces)

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:  # half an upload must not pass for a whole one
            raise ConnectionError("the client left in the middle of its request")
        return data

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise ConnectionError("the client left in the middle of its request")
        return line

    def _send(self, response: Response) -> None:
        time.sleep(response.delay_s)
        if response.reset:
            self.close_connection = True
            abort(self.connection)
            return
        self.send_response_only(response.status)
        for name, value in response.headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        sized = any(name.lower() == "content-length" for name, _ in response.headers)
        body = response.body
        chunked = not sized and not isinstance(body, bytes)
        if isinstance(body, bytes) and not sized and response.status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if bodiless:
            return
        if response.cut_bytes is not None:
            self.close_connection = True
        pieces = [body[: response.cut_bytes]] if isinstance(body, bytes) else body
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, answer: Answer, context: ssl.SSLContext | None) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.answer = answer
        self.errors: list[BaseException] = []
        self._context = context
        self._open: dict[threading.Thread, socket.socket] = {}

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        me = threading.current_thread()
        try:
            if self._context:  # the handshake belongs to the connection's thread, not to accept()
                request = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self._open[me] = request
            if self._context:
                request.do_handshake()
            super().process_request_thread(request, client_address)
        except OSError:  # the client did not like our certificate, or went away
            self.shutdown_request(request)
        finally:
            self._open.pop(me, None)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error and not isinstance(error, OSError):  # clients may go away; the rest are our bugs
            self.errors.append(error)

    def hang_up(self) -> None:
        """End the connections that clients kept open, so that no socket outlives the server."""
        for thread, connection in list(self._open.items()):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # even under TLS
            thread.join(timeout=5)


@contextlib.contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve `answer` on loopback, over TLS where a context is given.

    Yields:
        The port.

    Raises:
        Exception: At the end, whatever `answer` raised: a bug in a test server fails the test.
    """
    server = _Server(answer, context)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.hang_up()
    for error in server.errors:
        raise error
