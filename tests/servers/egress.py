"""The only way out: a CONNECT proxy that leads known hosts to loopback servers and refuses the rest.

Clients that obey the usual variables believe they talk to https://storage.googleapis.com: they meet a
certificate that their root certificates vouch for, and the server behind it is a test's own. So
product code runs unpatched, and whatever else it tries to reach is refused and listed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.servers.serving import LOOPBACK, abort
from tests.servers.tls import Authority, authority

_CHUNK = 65536
_DIRECT = "127.0.0.1,localhost,::1"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a host leads to: a server on loopback without TLS, and what it speaks (ALPN).

    gRPC wants `protocol="h2"`.
    """

    port: int
    protocol: str = "http/1.1"


class Egress:
    """The proxy.

    Attributes:
        port: Where it listens.
        routes: Host to route, or http://host to route where it is plain HTTP; may change.
        opened: The hosts that were let through, a line a connection.
        refused: The hosts that were not.
    """

    def __init__(self, routes: Mapping[str, Route], signer: Authority) -> None:
        self.port = 0
        self.routes = dict(routes)
        self.opened: list[str] = []
        self.refused: list[str] = []
        self._signer = signer
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def env(self) -> dict[str, str]:
        """The variables that send clients here and make them trust what they meet.

        Some are read once a process: HTTPLIB2_CA_CERTS when httplib2 is imported (Beam's BigQuery
        client), GRPC_DEFAULT_SSL_ROOTS_FILE_PATH at the first channel.
        """
        url = f"http://{LOOPBACK}:{self.port}"
        trust = "REQUESTS_CA_BUNDLE SSL_CERT_FILE CURL_CA_BUNDLE HTTPLIB2_CA_CERTS"
        trusted = (*trust.split(), "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        ways = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "grpc_proxy")
        return {
            **dict.fromkeys(ways, url),
            **dict.fromkeys(trusted, str(self._signer.ca_path)),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), _DIRECT),
        }

    def handle(self, client: socket.socket) -> None:
        """Serve one connection: read where it wants to go, and take it there or refuse."""
        with self._held(client):
            head = _read_head(client)
            method, goal, _ = head.decode("latin-1").split(" ", 2)
            tunnel = method == "CONNECT"
            host = urlsplit(f"//{goal}" if tunnel else goal).hostname or goal
            route = self.routes.get(host if tunnel else f"http://{host}")
            if route is None:
                self.refused.append(host)
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            self.opened.append(host)
            with self._held(_connect(route.port)) as server:
                if tunnel:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    self._tunnel(client, server, host, route)
                else:  # one request; the server may read its absolute target
                    server.sendall(head[:-2] + b"Connection: close\r\n\r\n")
                    _pump(client, server)

    def _tunnel(self, client: socket.socket, server: socket.socket, host: str, route: Route) -> None:
        context = self._signer.server_context(host, route.protocol)
        with self._held(context.wrap_socket(client, server_side=True)) as inside:
            _pump(inside, server)

    def hang_up(self) -> None:
        """End the connections that clients kept open."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # even under TLS

    @contextlib.contextmanager
    def _held(self, connection: socket.socket) -> Iterator[socket.socket]:
        with self._lock:
            self._open.add(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read_head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = client.recv(1)  # byte by byte: what follows is not for the proxy
        if not piece:
            raise ConnectionError("the client left before it said where to go")
        head += piece
    return head


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until one side ends; a reset on one side is a reset on the other."""
    while True:
        held = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if held else select.select([client, server], [], [])[0]
        for source, sink in ((client, server), (server, client)):
            if source not in ready:
                continue
            try:
                data = source.recv(_CHUNK)
                if source is client:
                    _acknowledge(client)
            except ConnectionResetError:
                abort(sink)
                return
            if not data:
                return
            sink.sendall(data)


def _acknowledge(connection: socket.socket) -> None:
    """Confirm what came at once: urllib3 leaves Nagle's algorithm on towards proxies.

    It sends a small body only once its headers are confirmed, which Linux puts off by 40 ms.
    """
    if sys.platform == "linux":  # the setting lasts until the kernel changes its mind
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True
    egress: Egress

    def finish_request(self, request: Any, _client_address: Any) -> None:
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # either side may go away at any time
            self.egress.handle(request)


@contextlib.contextmanager
def egress(routes: Mapping[str, Route], signer: Authority | None = None) -> Iterator[Egress]:
    """Run the proxy until the context ends."""
    proxy = Egress(routes, signer or authority())
    with _Server((LOOPBACK, 0), socketserver.BaseRequestHandler) as server:
        server.egress = proxy
        proxy.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
            proxy.hang_up()
