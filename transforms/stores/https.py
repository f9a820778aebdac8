"""Owns reading from https servers: which hosts and addresses may be asked, and how long and how much they may answer.

Lists of URIs come from anywhere, and a worker sits in a network where an address can be worth a password: a cloud's
metadata server hands its credentials to whoever asks. So a host is asked only if it was named beforehand, its name is
resolved once per transfer, all its addresses must be public, the connection goes to an address that was judged, and a
redirect is judged like the first URL. Proxies (HTTPS_PROXY) are passed over on purpose: behind one, the proxy would
resolve the name, and no address could be judged. No cookies, no credentials, no connection kept between transfers.
"""

import contextlib
import functools
import hashlib
import http.client
import ipaddress
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import urljoin

import certifi
import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.util import Url, parse_url

from transforms import errors

MAX_REDIRECTS = 5
BLOCK_BYTES = 1 << 16
FRAMING_BYTES = 1 << 20  # for headers and chunk lines, beside once more the size of the body
PAUSE_S = 0.5  # at most, before the second attempt; doubled each time
REDIRECTS = frozenset({301, 302, 303, 307, 308})
ENCODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: how IPv6-only networks reach IPv4

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[..., Sequence[tuple[Any, ...]]]  # called, and answering, like socket.getaddrinfo
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsAccess:
    """What may be asked, and the limits of an answer.

    Attributes:
      hosts: names that may be asked, at port 443 or at the one given: "a.org", "a.org:8443"; "*.a.org" means all names
        below a.org, not itself. Without any, https is off.
      max_bytes: of an object, as stored and as decoded from gzip or deflate.
      timeout_s: of a whole transfer, redirects and repetitions included; resolving a name has the system's limit.
      connect_timeout_s: to connect to one address, and again for TLS.
      max_attempts: of a transfer that fails for a moment.
      allowed_networks: networks whose addresses may be asked though they are not public, such as "10.1.0.0/16".
      ca_file: the certificates to trust (PEM); without it SSL_CERT_FILE, REQUESTS_CA_BUNDLE, or certifi's.
    """

    hosts: tuple[str, ...] = ()
    max_bytes: int
    timeout_s: float = 300.0
    connect_timeout_s: float = 10.0
    max_attempts: int = 5
    allowed_networks: tuple[str, ...] = ()
    ca_file: str | None = None

    def __post_init__(self) -> None:
        """Refuses settings that cannot work.

        Raises:
          UsageError: a host, a network or a limit is none.
        """
        for entry in self.hosts:
            _host_rule(entry)
        for network in self.allowed_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as problem:
                raise errors.UsageError(
                    f"--allow_http_network={network}: {problem}; give a network such as 10.1.0.0/16"
                ) from problem
        for name in ("max_bytes", "timeout_s", "connect_timeout_s", "max_attempts"):
            if not getattr(self, name) > 0:
                raise errors.UsageError(f"{name}={getattr(self, name)} must be more than 0")


def stat(uri: str, access: HttpsAccess, *, resolve: Resolver = socket.getaddrinfo) -> tuple[int | None, str | None]:
    """Size and version of an object, without its bytes.

    Returns:
      The bytes that `download` would write, None where the server does not say or compresses them; and a version that
      changes with the bytes: ETag and size, else Last-Modified and size, None where the server tells neither.

    Raises:
      UnsupportedSchemeError: the URI, or where it redirects to, may not be asked.
      SourceError: the server does not answer, or not well.
      AccessError: the certificates to trust cannot be read.
    """
    transfer = _Transfer(uri, access, resolve)
    return transfer.persist(lambda: _stat(transfer))


def download(
    uri: str,
    target: BinaryIO,
    access: HttpsAccess,
    *,
    version: str | None = None,
    resolve: Resolver = socket.getaddrinfo,
) -> str:
    """Writes the bytes of an object to a seekable file, from its position on, and cuts off what was behind.

    Returns:
      The version of these very bytes, as `stat` tells it; their SHA-256 and number where the server tells none.

    Raises:
      SourceChangedError: `version` is given, and the object is another.
      TooLargeError: there are more bytes than `access.max_bytes`, announced or not.
      SlowSourceError: they did not arrive within `access.timeout_s`.
      UnsupportedSchemeError, SourceError, AccessError: as `stat`.
    """
    transfer = _Transfer(uri, access, resolve)
    start = target.tell()

    def attempt() -> str:
        target.seek(start)
        target.truncate()
        return _download(transfer, target, version)

    return transfer.persist(attempt)


def is_allowed(address: str, networks: Sequence[str] = ()) -> bool:
    """Whether an IP address is public, or within one of the networks; IPv4 inside IPv6 is judged as IPv4."""
    meant = _unwrapped(ipaddress.ip_address(address))
    if any(meant in ipaddress.ip_network(network) for network in networks):
        return True
    is_special = meant.is_multicast or meant.is_reserved or getattr(meant, "is_site_local", False)
    return meant.is_global and not is_special


class _TransientError(Exception):
    """What another attempt may mend; ends in `_Transfer.persist`."""

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


class _Transfer:
    """One call: its deadline, its addresses, and the URL at hand in the words of messages."""

    def __init__(self, uri: str, access: HttpsAccess, resolve: Resolver) -> None:
        self.access = access
        self.label = _shown(uri)
        self._uri = uri
        self._resolve = resolve
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
        uri, self.label = self._uri, _shown(self._uri)
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
            self.label = f"{_shown(self._uri)}, redirected to {_shown(uri)}"
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
        url = _judged(uri, self.label, self.access)
        host, port = _host_and_port(url)
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


def _stat(transfer: _Transfer) -> tuple[int | None, str | None]:
    with transfer.answer("HEAD") as head:
        if head.status == 200 and _stored_bytes(head):
            return _num_bytes(head), _version(head)
        # 200: an answer to HEAD may lack a size, or say 0. Others: HEAD is unknown, or the URL is not signed for it.
        if head.status not in (200, 403, 405, 501):
            raise transfer.refusal(head)
    with transfer.answer("GET", {"Range": "bytes=0-0"}) as first:
        if first.status not in (200, 206, 416):  # 416: there is no first byte
            raise transfer.refusal(first)
        return _num_bytes(first), _version(first)


def _download(transfer: _Transfer, target: BinaryIO, version: str | None) -> str:
    max_bytes = transfer.access.max_bytes
    with transfer.answer("GET") as response:
        if response.status != 200:
            raise transfer.refusal(response)
        if _encoding(response) not in ENCODINGS:
            raise errors.UnreadableError(f"{transfer.label}: sent as {_encoding(response)}, which was not asked for")
        found = _version(response)
        _expect(version, found, transfer.label)
        announced = _stored_bytes(response)
        if announced is not None and announced > max_bytes:
            raise errors.TooLargeError(
                f"{transfer.label}: {announced:,} bytes, more than --max_bytes={max_bytes}; raise it to embed the clip"
            )
        num_bytes, digest = 0, hashlib.sha256()
        for block in transfer.blocks(response):
            num_bytes += len(block)
            if num_bytes > max_bytes:
                raise errors.TooLargeError(
                    f"{transfer.label}: still sending after --max_bytes={max_bytes}; raise it to embed the clip"
                )
            target.write(block)
            if found is None:
                digest.update(block)
    found = found or f"{digest.hexdigest()}-{num_bytes}"
    _expect(version, found, transfer.label)
    return found


def _expect(version: str | None, found: str | None, label: str) -> None:
    if version is not None and found is not None and version != found:
        raise errors.SourceChangedError(f"{label} was replaced after it had been listed ({version}, now {found})")


def _encoding(response: urllib3.HTTPResponse) -> str:
    return str(response.headers.get("Content-Encoding") or "identity").strip().lower()


def _stored_bytes(response: urllib3.HTTPResponse) -> int | None:
    """The size of the whole object as the server sends it, compressed or not."""
    headers = response.headers
    said = re.search(r"/(\d+)$", headers.get("Content-Range", "")) if response.status in (206, 416) else None
    if said is None and response.status == 200:
        said = re.fullmatch(r"(\d+)", headers.get("Content-Length", "").strip())
    return int(said[1]) if said else None


def _num_bytes(response: urllib3.HTTPResponse) -> int | None:
    return _stored_bytes(response) if _encoding(response) == "identity" else None


def _version(response: urllib3.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag", "").strip().removeprefix("W/").strip('"')
    mark = etag or response.headers.get("Last-Modified", "").strip()
    size = _stored_bytes(response)
    return (mark if size is None else f"{mark}-{size}") if mark else None


def _retry_after_s(response: urllib3.HTTPResponse) -> float:
    try:
        return urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except urllib3.exceptions.InvalidHeader:
        return 0.0


class _HostRule(NamedTuple):
    """One entry of `HttpsAccess.hosts`."""

    host: str
    port: int
    below: bool  # names below the host, in place of itself

    def fits(self, host: str) -> bool:
        return host.endswith(f".{self.host}") if self.below else host == self.host


def _host_rule(entry: str) -> _HostRule:
    try:
        url = parse_url(f"https://{entry.removeprefix('*.')}")
    except urllib3.exceptions.LocationParseError:
        url = Url()
    if not url.host or "*" in url.host or url.auth or url.path or url.query or url.fragment:
        raise errors.UsageError(
            f"--allow_http_host={entry} is no host; give a name such as example.org, example.org:8443 or *.example.org"
        )
    return _HostRule(*_host_and_port(url), entry.startswith("*."))


def _judged(uri: str, label: str, access: HttpsAccess) -> Url:
    """Takes a URL apart, once, for the check and for the connection, and checks all but the address."""
    try:
        url = parse_url(uri)
    except urllib3.exceptions.LocationParseError as problem:
        raise errors.UnsupportedSchemeError(f"{label} is no URL that could be asked") from problem
    if not url.host:
        raise errors.UnsupportedSchemeError(f"{label} is no URL that could be asked: it names no host")
    host, port = _host_and_port(url)
    if url.scheme != "https":
        raise errors.UnsupportedSchemeError(
            f"{label}: https only, not {url.scheme}; --allow_http_host={host} allows https:// URLs of that host"
        )
    if url.auth is not None:
        raise errors.UnsupportedSchemeError(
            f"{label}: a name or password before the host is not read; --allow_http_host={host} allows URLs without"
        )
    rules = [_host_rule(entry) for entry in access.hosts]
    if not any(rule.fits(host) for rule in rules):
        among = f"not among those allowed ({', '.join(access.hosts)})" if rules else "not allowed, none is"
        raise errors.UnsupportedSchemeError(
            f"{label}: the host {host} is {among}; allow it with --allow_http_host={host}"
        )
    if not any(rule.fits(host) and rule.port == port for rule in rules):
        raise errors.UnsupportedSchemeError(
            f"{label}: port {port} of {host} is not allowed; allow it with --allow_http_host={host}:{port}"
        )
    return url


def _host_and_port(url: Url) -> tuple[str, int]:
    return str(url.host).strip("[]"), 443 if url.port is None else url.port


def _shown(uri: str) -> str:
    """A URL for messages: without passwords, and without the query, where signatures are."""
    uri = re.sub(r"(?<=//)[^/?#]*@", "...@", uri)
    return re.sub(r"\?.*", "?...", uri, flags=re.DOTALL)


def _unwrapped(address: Address) -> Address:
    """The address that packets arrive at: IPv4 out of its IPv6 forms (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


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
