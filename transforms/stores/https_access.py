"""Which web hosts and addresses may be asked.

Lists of URIs come from anywhere, and a worker sits in a network where an address can be worth a password: a cloud's
metadata server hands its credentials to whoever asks. So a host is asked only if it was named beforehand, over https,
at a port that was named, and at public addresses alone.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import urllib3
from urllib3.util import Url, parse_url

from transforms import errors

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: how IPv6-only networks reach IPv4

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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


def is_allowed(address: str, networks: Sequence[str] = ()) -> bool:
    """Whether an IP address is public, or within one of the networks; IPv4 inside IPv6 is judged as IPv4."""
    meant = _unwrapped(ipaddress.ip_address(address))
    if any(meant in ipaddress.ip_network(network) for network in networks):
        return True
    is_special = meant.is_multicast or meant.is_reserved or getattr(meant, "is_site_local", False)
    return meant.is_global and not is_special


def judged(uri: str, label: str, access: HttpsAccess) -> Url:
    """Takes a URL apart, once, for the check and for the connection, and checks all but the address.

    Raises:
      UnsupportedSchemeError: it may not be asked; begins with `label`.
    """
    try:
        url = parse_url(uri)
    except urllib3.exceptions.LocationParseError as problem:
        raise errors.UnsupportedSchemeError(f"{label} is no URL that could be asked") from problem
    if not url.host:
        raise errors.UnsupportedSchemeError(f"{label} is no URL that could be asked: it names no host")
    host, port = host_and_port(url)
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


def host_and_port(url: Url) -> tuple[str, int]:
    """The host without the brackets of IPv6, and the port, 443 if there is none."""
    return str(url.host).strip("[]"), 443 if url.port is None else url.port


def shown(uri: str) -> str:
    """A URL for messages: without passwords, and without the query, where signatures are."""
    uri = re.sub(r"(?<=//)[^/?#]*@", "...@", uri)
    return re.sub(r"\?.*", "?...", uri, flags=re.DOTALL)


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
    return _HostRule(*host_and_port(url), entry.startswith("*."))


def _unwrapped(address: Address) -> Address:
    """The address that packets arrive at: IPv4 out of its IPv6 forms (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
