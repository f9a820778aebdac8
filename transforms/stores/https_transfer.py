"""One transfer from an https server: its connections, redirects, repetitions and limits.

A host's name is resolved once per transfer, all its addresses must be public, the connection goes to an address that
was judged, and a redirect is judged like the first URL. Proxies (HTTPS_PROXY) are passed over on purpose: behind one,
the proxy would resolve the name, and no address could be judged. No cookies, no credentials, no connection kept between
transfers.
"""

import contextlib
import functools
import http.client
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urljoin

import certifi
import urllib3
from urllib3.connection import HTTPSConnection

from transforms import errors
from transforms.stores.https_access import HttpsAccess, host_and_port, is_allowed, judged, shown

MAX_REDIRECTS = 5
BLOCK_BYTES = 1 << 16
FRAMING_BYTES = 1 << 20  # for headers and chunk lines, beside once more the size of the body
PAUSE_S = 0.5  # at most, before the second attempt; doubled each time
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Resolver = Callable[..., Sequence[tuple[Any, ...]]]  # called, and answering, like socket.getaddrinfo
Result = TypeVar("Result")


class Transfer:
    """One call: its deadline, its addresses, and the URL at hand in the words of messages."""

    def __init__(self, uri: str, access: HttpsAccess, resolve: Resolver | None) -> None:
        self.access = access
        self.label = shown(uri)
        self._uri = uri
        self._resolve: Resolver = resolve or socket.getaddrinfo
        self._deadline = time.monotonic() + access.timeout_s
        self._addresses: dict[str, list[str]] = {}

    def persist(self, attempt: Callable[[], Result]) -> Result:
        """Repeats what fails for a moment, after growing random pauses or as long as the server asks."""
        tried = 0
        while True:
            try:
                return attempt()
            except _TransientError as trouble:
                tried += 1
                if tried == self.access.max_attempts:
                    raise errors.UnreadableError(f"{trouble} (tried {tried} times)") from trouble
                pause_s = max(trouble.wait_s, random.uniform(0, PAUSE_S * 2 ** (tried - 1)))
                if time.monotonic() + pause_s >= self._deadline:
                    raise self._too_slow(f"{trouble}; another attempt was to come in {pause_s:.0f} s") from trouble
                time.sleep(pause_s)

    @contextlib.contextmanager
    def answer(self, method: str, headers: Mapping[str, str] | None = None) -> Iterator[urllib3.HTTPResponse]:
        """The answer at the end of all redirects, its body still to be read."""
        uri, self.label = self._uri, shown(self._uri)
        for _ in range(MAX_REDIRECTS + 1):
            with self._exchange(uri, method, headers or {}) as response:
                location = response.headers.get("Location") if response.status in REDIRECTS else None
                if location is None:
                    yield response
                    return
            try:
                uri = urljoin(uri, location)
            except ValueError as problem:
                raise errors.UnreadableError(f"{self.label} redirects to what is no URL: {problem}") from problem
            self.label = f"{shown(self._uri)}, redirected to {shown(uri)}"
        raise errors.UnreadableError(f"{self.label}: more than {MAX_REDIRECTS} redirects")

    def blocks(self, response: urllib3.HTTPResponse) -> Iterator[bytes]:
        """The body, decoded, piece by piece."""
        with self._explained():
            yield from response.stream(BLOCK_BYTES, decode_content=True)

    def refusal(self, response: urllib3.HTTPResponse) -> Exception:
        """What an answer without the object means."""
        said = f"{self.label}: the server answered {response.status}"
        if response.status in (404, 410):
            return errors.NotFoundError(said)
        if response.status in (408, 429) or response.status >= 500:
            return _TransientError(said, _retry_after_s(response))
        if response.status in (401, 403):
            return errors.UnreadableError(f"{said}; only what needs no login can be read, or a URL that is signed")
        return errors.UnreadableError(said)

    @contextlib.contextmanager
    def _exchange(self, uri: str, method: str, headers: Mapping[str, str]) -> Iterator[urllib3.HTTPResponse]:
        """Sends one request to one judged address."""
        url = judged(uri, self.label, self.access)
        host, port = host_and_port(url)
        addresses = self._judged_addresses(host, port)
        with contextlib.ExitStack() as open_things:
            with self._explained():
                connection = self._connect(host, port, addresses)
                open_things.callback(connection.close)
                connection.request(
                    method,
                    url.request_uri,
                    headers={
                        "Host": str(url.host if port == 443 else url.netloc),
                        "Accept-Encoding": "identity",
                        "User-Agent": "yamnet-beam",
                        **headers,
                    },
                    preload_content=False,
                )
                response = connection.getresponse()
            open_things.callback(response.close)
            yield response

    def _judged_addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a host, resolved once and kept, so that a name cannot change its mind after the check."""
        if host in self._addresses:
            return self._addresses[host]
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as problem:
            said = f"{self.label}: {host} cannot be resolved: {problem.strerror}"
            if problem.errno == socket.EAI_AGAIN:
                raise _TransientError(said) from problem
            raise errors.UnreadableError(said) from problem
        except UnicodeError as problem:  # a label of more than 63 letters
            raise errors.UnreadableError(f"{self.label}: {host} is no name of a host: {problem}") from problem
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not is_allowed(address, self.access.allowed_networks):
                raise errors.UnsupportedSchemeError(
                    f"{self.label}: {host} has the address {address}, which is not public; --allow_http_host={host} "
                    "allows public addresses only (--allow_http_network=NETWORK allows one of your own)"
                )
        self._addresses[host] = addresses
        return addresses

    def _connect(self, host: str, port: int, addresses: list[str]) -> HTTPSConnection:
        """Connects to the first address that takes the call, and expects the certificate of the host."""
        problem: Exception = OSError(f"{host} has no address")
        for address in addresses:
            connection = HTTPSConnection(
                address,
                port,
                timeout=min(self.access.connect_timeout_s, max(0.001, self._deadline - time.monotonic())),
                server_hostname=host,
                ssl_context=_tls(_ca_file(self.access)),
            )
            try:
                connection.connect()
            except (OSError, urllib3.exceptions.HTTPError) as failure:
                connection.close()
                problem = failure
                continue
            assert isinstance(connection.sock, _LimitedSocket)  # the context makes no others
            connection.sock.limit(self._deadline, 2 * self.access.max_bytes + FRAMING_BYTES)
            return connection
        raise problem

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Translates what the network raises into our errors."""
        try:
            yield
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as problem:
            if isinstance(problem, ssl.SSLCertVerificationError):
                raise errors.UnreadableError(
                    f"{self.label}: its certificate is not trusted: {problem.verify_message}; "
                    "SSL_CERT_FILE names the certificates to trust"
                ) from problem
            if isinstance(problem, urllib3.exceptions.DecodeError):
                raise errors.UnreadableError(f"{self.label}: {problem.args[0]}") from problem
            if time.monotonic() >= self._deadline:
                raise self._too_slow(f"{self.label}: not read whole") from problem
            raise _TransientError(f"{self.label}: {type(problem).__name__}: {problem}") from problem

    def _too_slow(self, said: str) -> errors.SlowSourceError:
        return errors.SlowSourceError(f"{said}; a transfer may take {self.access.timeout_s:g} s")


class _TransientError(Exception):
    """What another attempt may mend; ends in `Transfer.persist`."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class _LimitedSocket(ssl.SSLSocket):
    """A TLS socket on which no answer outlasts a deadline or outgrows a budget, headers and drops included."""

    deadline = 0.0
    budget_bytes = 0

    def limit(self, deadline: float, budget_bytes: int) -> None:
        """Sets the limits, and takes an end without TLS's own for a cut (RFC 9112, 9.8)."""
        self.deadline, self.budget_bytes = deadline, budget_bytes
        self.suppress_ragged_eofs = False

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receives within what is left of time and bytes."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the deadline has passed")
        self.settimeout(left_s)
        received = super().recv_into(buffer, nbytes, flags)
        self.budget_bytes -= received
        if self.budget_bytes < 0:
            raise errors.TooLargeError("headers and chunk lines outgrow --max_bytes: this is no object but a flood")
        return received


def _retry_after_s(response: urllib3.HTTPResponse) -> float:
    try:
        return urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _ca_file(access: HttpsAccess) -> str:
    given = access.ca_file or os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return given or certifi.where()


@functools.cache
def _tls(ca_file: str) -> ssl.SSLContext:
    """Made once for a process: reading 140 certificates takes 80 ms."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as problem:
        raise errors.AccessError(f"cannot read the certificates to trust in {ca_file}: {problem}") from problem
    context.sslsocket_class = _LimitedSocket
    return context
