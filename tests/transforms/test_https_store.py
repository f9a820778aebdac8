"""Reading over https, from real TLS servers on loopback; only names are resolved by the tests."""

import contextlib
import errno
import gzip
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.https import WebServer, content, endless, redirect, slow
from tests.servers.serving import Request, Response, serving
from tests.servers.tls import Authority, authority
from transforms import errors
from transforms.stores import https
from transforms.stores.https_access import HttpsAccess, is_allowed

NAME = "audio.example.org"
DATA = bytes(range(256)) * 400
LOOPBACK = "127.0.0.1"


class Names:
    """A resolver; a name with several answers gives one after the other, and then the last."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {NAME: [[LOOPBACK]]} | {f"{key}.example.org": value for key, value in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: object) -> list[tuple]:
        answers = self.answers[host]
        addresses = answers[min(self.asked.count(host), len(answers) - 1)]
        self.asked.append(host)
        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


class Site:
    """A server, and reading from it under the limits and names of a test."""

    def __init__(self, server: WebServer) -> None:
        self.server = server

    def url(self, path: str, name: str = NAME) -> str:
        return f"https://{name}:{self.server.port}{path}"

    def access(self, **changes) -> HttpsAccess:
        usual = {
            "hosts": (f"{NAME}:{self.server.port}", f"*.other.example.org:{self.server.port}"),
            "max_bytes": 1 << 20,
            "timeout_s": 8.0,
            "connect_timeout_s": 2.0,
            "allowed_networks": ("127.0.0.0/8",),  # the tests' stand-in for the public internet
            "ca_file": str(authority().ca_path),
        }
        return HttpsAccess(**usual | changes)

    def stat(self, uri: str, names: Names | None = None, **changes) -> tuple[int | None, str | None]:
        return https.stat(self._full(uri), self.access(**changes), resolve=names or Names())

    def download(
        self, uri: str, names: Names | None = None, *, version: str | None = None, **changes
    ) -> tuple[bytes, str]:
        target = io.BytesIO()
        access = self.access(**changes)
        found = https.download(self._full(uri), target, access, version=version, resolve=names or Names())
        return target.getvalue(), found

    def asked(self) -> list[tuple[str, str]]:
        return [(request.method, request.path) for request in self.server.requests]

    def _full(self, uri: str) -> str:
        return self.url(uri) if uri.startswith("/") else uri


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[int, list[WebServer]]]:
    """A port with the certificate of `NAME`, and the servers behind it, of which the last one answers."""
    servers: list[WebServer] = []

    def answer(request: Request) -> Response:
        return servers[-1].answer(request)

    with serving(answer, authority().server_context(NAME)) as port:
        yield port, servers


@pytest.fixture
def site(listening) -> Site:
    """A server of the test's own, with one object, /a.wav."""
    port, servers = listening
    server = WebServer(None, authority().ca_path)
    server.port = port
    server.add("/a.wav", content(DATA))
    servers.append(server)
    return Site(server)


@contextlib.contextmanager
def raw_site(behave: Callable[[ssl.SSLSocket], None]) -> Iterator[Site]:
    """A server that reads a request and then does to the connection whatever a test wants."""
    server = WebServer(None, None)
    context = authority().server_context(NAME)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += tls.recv(4096)
                behave(tls)  # until the client hangs up

    with socket.create_server((LOOPBACK, 0)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Site(server)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def answers(**by_method: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Answers each method in its own way."""
    return lambda request: by_method[request.method](request)


def fixed(status: int, body: bytes = b"", **headers: str) -> Callable[[Request], Response]:
    """Always the same answer; underscores in the names of headers stand for hyphens."""
    return lambda _: Response(status, tuple((name.replace("_", "-"), text) for name, text in headers.items()), body)


# What is read


def test_an_object_is_read_whole_and_as_it_was_stated(site):
    num_bytes, version = site.stat("/a.wav")
    data, read_version = site.download("/a.wav", version=version)
    assert data == DATA
    assert num_bytes == len(DATA)
    assert version == read_version
    assert site.asked() == [("HEAD", "/a.wav"), ("GET", "/a.wav")]


def test_the_request_names_the_host_and_asks_for_the_bytes_as_they_are(site):
    site.download("/a.wav")
    headers = site.server.requests[0].headers
    assert headers["Host"] == f"{NAME}:{site.server.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert "Authorization" not in headers
    assert "Cookie" not in headers


def test_spaces_unicode_percent_signs_and_queries_reach_the_server_intact(site):
    site.server.add("/a b/ü 50%.wav", content(DATA))
    assert site.download("/a b/ü 50%.wav?token=a/b&n=1#fragment")[0] == DATA
    assert site.server.requests[0].query == {"token": "a/b", "n": "1"}
    assert site.download("/a%20b/%C3%BC%2050%25.wav")[0] == DATA


def test_a_body_without_announced_size_is_read_whole(site):
    site.server.add("/chunks.wav", lambda _: Response(body=iter([DATA[:7], DATA[7:70_000], DATA[70_000:]])))
    assert site.download("/chunks.wav")[0] == DATA


def test_an_object_goes_where_the_file_stands_and_what_was_behind_is_cut_off(site):
    target = io.BytesIO(b"head" + bytes(1 << 20))
    target.seek(4)
    https.download(site.url("/a.wav"), target, site.access(), resolve=Names())
    assert target.getvalue() == b"head" + DATA


@pytest.mark.parametrize("status", [403, 405, 501])
def test_where_head_is_refused_one_byte_is_asked_for_instead(site, status):
    site.server.add("/a.wav", answers(HEAD=fixed(status), GET=content(DATA)))
    num_bytes, version = site.stat("/a.wav")
    assert num_bytes == len(DATA)
    assert site.server.requests[-1].headers["Range"] == "bytes=0-0"
    assert site.download("/a.wav", version=version)[0] == DATA


def test_where_ranges_are_not_known_either_the_size_is_still_found(site):
    site.server.add("/a.wav", answers(HEAD=fixed(405), GET=content(DATA, ranges=False)))
    assert site.stat("/a.wav")[0] == len(DATA)


def test_a_size_that_head_leaves_out_is_found(site):
    site.server.add("/a.wav", answers(HEAD=lambda _: Response(body=iter([])), GET=content(DATA)))
    num_bytes, version = site.stat("/a.wav")
    assert num_bytes == len(DATA)
    assert site.download("/a.wav", version=version)[0] == DATA


def test_an_empty_object_has_no_bytes_and_a_version(site):
    site.server.add("/empty.wav", content(b""))
    num_bytes, version = site.stat("/empty.wav")
    assert num_bytes == 0
    assert site.download("/empty.wav", version=version) == (b"", version)


# Versions


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ETag": '"abc"'}, "abc-4"),
        ({"ETag": 'W/"abc"'}, "abc-4"),
        ({"ETag": "abc"}, "abc-4"),
        ({"ETag": '"abc"', "Last_Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "abc-4"),
        ({"Last_Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "Wed, 21 Oct 2015 07:28:00 GMT-4"),
        ({}, None),
    ],
)
def test_the_version_is_etag_or_time_and_size(site, headers, expected):
    site.server.add("/a.wav", fixed(200, b"four", **headers))
    assert site.stat("/a.wav") == (4, expected)
    if expected:
        assert site.download("/a.wav") == (b"four", expected)


def test_without_etag_and_time_the_version_is_that_of_the_bytes_read(site):
    site.server.add("/a.wav", fixed(200, b"four"))
    _, version = site.download("/a.wav")
    assert site.download("/a.wav", version=version) == (b"four", version)
    site.server.add("/a.wav", fixed(200, b"FOUR"))
    with pytest.raises(errors.SourceChangedError):
        site.download("/a.wav", version=version)


def test_an_object_replaced_since_it_was_stated_is_not_read(site):
    _, version = site.stat("/a.wav")
    site.server.add("/a.wav", content(DATA[::-1]))
    target = io.BytesIO()
    with pytest.raises(errors.SourceChangedError, match=rf"/a\.wav was replaced .* \({version}, now "):
        https.download(site.url("/a.wav"), target, site.access(), version=version, resolve=Names())
    assert target.getvalue() == b""


# What is never asked


def test_without_a_host_allowed_nothing_is_asked(site):
    with pytest.raises(errors.UnsupportedSchemeError, match=rf"{NAME} is not allowed.*--allow_http_host={NAME}$"):
        site.download("/a.wav", hosts=())
    assert site.asked() == []


@pytest.mark.parametrize("call", ["stat", "download"])
def test_a_host_that_is_not_listed_is_refused_and_not_even_resolved(site, call):
    names = Names()
    with pytest.raises(errors.UnsupportedSchemeError) as refused:
        getattr(site, call)(site.url("/a.wav", "evil.example.org"), names)
    assert "evil.example.org is not among those allowed" in str(refused.value)
    assert "--allow_http_host=evil.example.org" in str(refused.value)
    assert refused.value.code == "unsupported_scheme"
    assert names.asked == []


def test_http_is_refused_even_for_a_listed_host(site):
    with pytest.raises(
        errors.UnsupportedSchemeError, match=rf"http://{NAME}.*: https only, not http; --allow_http_host"
    ):
        site.download(f"http://{NAME}:{site.server.port}/a.wav")


@pytest.mark.parametrize(
    ("entry", "host", "fits"),
    [
        ("a.org", "a.org", True),
        ("a.org", "A.ORG", True),
        ("A.org", "a.org", True),
        ("a.org", "b.a.org", False),
        ("a.org", "xa.org", False),
        ("a.org", "a.org.evil.com", False),
        ("*.a.org", "b.a.org", True),
        ("*.a.org", "c.b.a.org", True),
        ("*.a.org", "a.org", False),
        ("*.a.org", "xa.org", False),
        ("bücher.org", "xn--bcher-kva.org", True),
        ("xn--bcher-kva.org", "bücher.org", True),
    ],
)
def test_a_name_means_itself_and_a_star_all_names_below(entry, host, fits):
    access = HttpsAccess(hosts=(entry,), max_bytes=1)
    expected = "has the address 10.0.0.1" if fits else "not among those allowed"
    with pytest.raises(errors.UnsupportedSchemeError, match=expected):
        https.stat(f"https://{host}/", access, resolve=lambda *_, **__: [(0, 0, 0, "", ("10.0.0.1", 443))])


@pytest.mark.parametrize(
    ("entry", "port", "fits"),
    [
        ("a.org", "", True),
        ("a.org", ":443", True),
        ("a.org", ":8443", False),
        ("a.org", ":22", False),
        ("a.org", ":0", False),
        ("a.org:8443", ":8443", True),
        ("a.org:8443", "", False),
    ],
)
def test_only_port_443_or_the_one_that_was_named_is_asked(entry, port, fits):
    access = HttpsAccess(hosts=(entry,), max_bytes=1)
    expected = "has the address 10.0.0.1" if fits else r"port \d+ of a.org is not allowed.*--allow_http_host=a.org:\d+"
    with pytest.raises(errors.UnsupportedSchemeError, match=expected):
        https.stat(f"https://a.org{port}/", access, resolve=lambda *_, **__: [(0, 0, 0, "", ("10.0.0.1", 443))])


def test_a_password_in_the_url_is_refused_and_not_repeated(site):
    with pytest.raises(errors.UnsupportedSchemeError, match="password before the host") as refused:
        site.download(f"https://user:hunter2@{NAME}:{site.server.port}/a.wav")
    assert "hunter2" not in str(refused.value)


def test_a_listed_host_as_a_user_name_does_not_let_another_host_in(site):
    with pytest.raises(errors.UnsupportedSchemeError):
        site.download(f"https://{NAME}:{site.server.port}@evil.example.org/a.wav")
    with pytest.raises(errors.UnsupportedSchemeError):
        site.download(f"https://evil.example.org\\@{NAME}:{site.server.port}/a.wav")


@pytest.mark.parametrize(
    "uri", ["https://", "https:///a.wav", "https:a.wav", "https://a b/", "https://a.org:99999/", "https://[::1/"]
)
def test_what_is_no_url_is_refused(uri):
    with pytest.raises(errors.UnsupportedSchemeError, match="is no URL that could be asked"):
        https.stat(uri, HttpsAccess(hosts=("a.org",), max_bytes=1))


def test_signatures_in_a_query_stay_out_of_messages(site):
    with pytest.raises(errors.NotFoundError, match=r"/none\.wav\?\.\.\.: the server answered 404") as missing:
        site.download("/none.wav?X-Signature=secret")
    assert "secret" not in str(missing.value)


# Addresses


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed(address):
    assert is_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata server of clouds
        "100.64.0.1",  # carriers' own
        "192.0.2.1",
        "198.18.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",  # Amazon's metadata server
        "ff0e::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",  # 169.254.169.254 by NAT64
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",  # 127.0.0.1 by 6to4
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::1",  # Teredo
        "4000::1",
    ],
)
def test_addresses_that_are_not_public_are_refused_in_every_spelling(address):
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1"])
def test_a_network_that_was_named_is_allowed_and_no_other(address):
    assert is_allowed(address, ["fd12::/16", "10.1.0.0/16"])
    assert not is_allowed(address, ["10.2.0.0/16", "fd13::/16"])


@pytest.mark.parametrize("address", [LOOPBACK, "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1%lo"])
def test_a_private_address_is_refused_before_anything_is_sent(site, address):
    with pytest.raises(errors.UnsupportedSchemeError) as refused:
        site.download(
            site.url("/a.wav", "inside.other.example.org"), Names(**{"inside.other": [[address]]}), allowed_networks=()
        )
    assert f"inside.other.example.org has the address {address}, which is not public" in str(refused.value)
    assert "--allow_http_host=inside.other.example.org" in str(refused.value)
    assert site.asked() == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:7f00:1]", "localhost"]
)
def test_loopback_is_refused_in_every_spelling_even_if_it_is_listed(host):
    access = HttpsAccess(hosts=(host,), max_bytes=1)
    with pytest.raises(errors.UnsupportedSchemeError, match="which is not public"):
        https.stat(f"https://{host}/", access)


def test_one_private_address_among_public_ones_is_refused(site):
    with pytest.raises(errors.UnsupportedSchemeError, match=r"has the address 10\.0\.0\.1"):
        site.download(site.url("/a.wav", "two.other.example.org"), Names(**{"two.other": [[LOOPBACK, "10.0.0.1"]]}))


def test_a_name_that_rebinds_after_stat_is_refused(site):
    names = Names(audio=[[LOOPBACK], ["169.254.169.254"]])
    _, version = site.stat("/a.wav", names)
    with pytest.raises(errors.UnsupportedSchemeError, match=r"has the address 169\.254\.169\.254, which is not public"):
        site.download("/a.wav", names, version=version)
    assert site.asked() == [("HEAD", "/a.wav")]


def test_a_name_that_rebinds_during_a_transfer_is_not_asked_again(site):
    site.server.add("/moved.wav", redirect("/a.wav"))
    site.server.inject(path="/a.wav", status=503)
    names = Names(audio=[[LOOPBACK], ["10.0.0.1"]])
    assert site.download("/moved.wav", names)[0] == DATA
    assert names.asked == [NAME]


def test_an_address_that_does_not_answer_gives_way_to_the_next(site):
    assert site.download("/a.wav", Names(audio=[["127.0.0.2", LOOPBACK]]))[0] == DATA


def test_proxies_of_the_environment_are_passed_over(site, monkeypatch):
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert site.download("/a.wav")[0] == DATA


def test_a_name_that_does_not_exist_is_unreadable(site):
    def resolve(*_: object, **__: object) -> list[tuple]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(errors.UnreadableError, match=f"{NAME} cannot be resolved: Name or service not known"):
        https.stat(site.url("/a.wav"), site.access(), resolve=resolve)


def test_a_resolver_that_fails_for_a_moment_is_asked_again(site):
    class Moody(Names):
        def __call__(self, host: str, port: int, **_: object) -> list[tuple]:
            if not self.asked:
                self.asked.append(host)
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return super().__call__(host, port)

    assert site.download("/a.wav", Moody())[0] == DATA


def test_an_impossible_name_is_unreadable():
    name = f"{'a' * 70}.example.org"
    with pytest.raises(errors.UnreadableError, match="is no name of a host"):
        https.stat(f"https://{name}/", HttpsAccess(hosts=(name,), max_bytes=1))


# Certificates


def test_a_certificate_of_an_authority_that_is_not_trusted_is_refused(site, tmp_path):
    with pytest.raises(errors.UnreadableError, match=r"certificate is not trusted: .*SSL_CERT_FILE"):
        site.download("/a.wav", ca_file=str(Authority(tmp_path).ca_path))
    assert site.asked() == []


def test_a_certificate_of_another_host_is_refused(site):
    with pytest.raises(errors.UnreadableError, match="certificate is not trusted: Hostname mismatch"):
        site.download(site.url("/a.wav", "b.other.example.org"), Names(**{"b.other": [[LOOPBACK]]}))
    assert site.asked() == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_environment_names_the_certificates_to_trust(site, monkeypatch, variable):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, str(authority().ca_path))
    assert site.download("/a.wav", ca_file=None)[0] == DATA


def test_loopbacks_certificate_is_refused_by_default(site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with pytest.raises(errors.UnreadableError, match="certificate is not trusted"):
        site.download("/a.wav", ca_file=None)


def test_certificates_that_cannot_be_read_stop_the_job(site, tmp_path):
    with pytest.raises(errors.AccessError, match=r"certificates to trust in .*/none\.pem"):
        site.download("/a.wav", ca_file=str(tmp_path / "none.pem"))


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(site, status):
    site.server.add("/moved.wav", redirect("/a.wav", status))
    assert site.stat("/moved.wav") == site.stat("/a.wav")
    assert site.download("/moved.wav")[0] == DATA


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://{name}:{port}/a.wav", "https only, not http"),
        ("ftp://{name}:{port}/a.wav", "https only, not ftp"),
        ("file:///etc/passwd", "no URL that could be asked"),
        ("https://evil.example.org/a.wav", "evil.example.org is not among those allowed"),
        ("//evil.example.org/a.wav", "evil.example.org is not among those allowed"),
        ("https://{name}:22/a.wav", "port 22"),
        ("https://{name}/a.wav", "port 443"),
        ("https://u:p@{name}:{port}/a.wav", "password"),
        (
            "https://inside.other.example.org:{port}/",
            r"inside\S+ has the address 169\.254\.169\.254, which is not public",
        ),
        ("https://[::1", "no URL"),
    ],
)
@pytest.mark.parametrize("call", ["stat", "download"])
def test_a_redirect_is_judged_like_the_first_url(site, call, location, expected):
    site.server.add("/moved.wav", redirect(location.format(name=NAME, port=site.server.port)))
    with pytest.raises(errors.SourceError, match=expected) as refused:
        getattr(site, call)("/moved.wav", Names(**{"inside.other": [["169.254.169.254"]]}))
    assert str(refused.value).startswith(site.url("/moved.wav"))
    assert len(site.asked()) == 1


def test_a_redirect_loop_ends(site):
    site.server.add("/one.wav", redirect("/two.wav"))
    site.server.add("/two.wav", redirect("/one.wav"))
    with pytest.raises(errors.UnreadableError, match="more than 5 redirects"):
        site.download("/one.wav")
    assert len(site.asked()) == 6


def test_a_redirect_to_nowhere_is_unreadable(site):
    site.server.add("/a.wav", fixed(302))
    with pytest.raises(errors.UnreadableError, match="the server answered 302"):
        site.download("/a.wav")


# Limits


def test_an_announced_size_over_the_limit_is_refused_unread(site):
    with pytest.raises(errors.TooLargeError, match=r"102,400 bytes, more than --max_bytes=102399; raise it"):
        site.download("/a.wav", max_bytes=len(DATA) - 1)
    assert site.download("/a.wav", max_bytes=len(DATA))[0] == DATA


def test_an_endless_body_is_refused(site):
    site.server.add("/endless.wav", endless())
    target = io.BytesIO()
    with pytest.raises(errors.TooLargeError, match="still sending after --max_bytes=1048576") as refused:
        https.download(site.url("/endless.wav"), target, site.access(), resolve=Names())
    assert refused.value.code == "too_large"
    assert len(target.getvalue()) <= 1 << 20
    assert len(site.asked()) == 1


def test_endless_headers_are_refused():
    def flood(tls: ssl.SSLSocket) -> None:
        while True:
            tls.sendall(b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 50_000 + b"\r\n\r\n")

    with raw_site(flood) as site, pytest.raises(errors.TooLargeError, match="headers and chunk lines"):
        site.download("/a.wav")


def test_a_body_that_drips_is_given_up_at_the_deadline(site):
    site.server.add("/drip.wav", slow(DATA, piece_bytes=1, pause_s=0.05))
    before = time.monotonic()
    with pytest.raises(errors.SlowSourceError, match=r"/drip\.wav: not read whole; a transfer may take 0\.4 s") as late:
        site.download("/drip.wav", timeout_s=0.4)
    assert late.value.code == "timeout"
    assert 0.4 <= time.monotonic() - before < 1.5


def test_headers_that_drip_are_given_up_at_the_deadline():
    def drip(tls: ssl.SSLSocket) -> None:
        for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50:
            tls.sendall(bytes([letter]))
            time.sleep(0.05)

    before = time.monotonic()
    with raw_site(drip) as site, pytest.raises(errors.SlowSourceError):
        site.stat("/a.wav", timeout_s=0.4)
    assert time.monotonic() - before < 1.5


def test_a_body_that_stops_without_an_end_is_given_up_at_the_deadline():
    given_up = threading.Event()

    def stall(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        given_up.wait(10)

    before = time.monotonic()
    with raw_site(stall) as site:
        with pytest.raises(errors.SlowSourceError, match="not read whole"):
            site.download("/a.wav", timeout_s=0.5, connect_timeout_s=60)
        given_up.set()
    assert 0.5 <= time.monotonic() - before < 1.5


def test_an_answer_may_take_longer_than_to_connect(site):
    site.server.inject(delay_s=0.6)
    assert site.download("/a.wav", connect_timeout_s=0.4)[0] == DATA
    assert len(site.asked()) == 1


def test_a_server_that_takes_the_call_and_says_nothing_is_given_up():
    with socket.create_server((LOOPBACK, 0)) as silent:
        server = WebServer(None, None)
        server.port = silent.getsockname()[1]
        with pytest.raises(errors.UnreadableError, match=r"timed out.*tried 2 times"):
            Site(server).stat("/a.wav", connect_timeout_s=0.1, max_attempts=2)


# Compression nobody asked for


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_a_body_sent_compressed_is_read_decoded(site, coding):
    packed = gzip.compress(DATA)
    site.server.add("/a.wav", fixed(200, packed, Content_Encoding=coding, ETag='"abc"'))
    num_bytes, version = site.stat("/a.wav")
    assert num_bytes is None
    assert version == f"abc-{len(packed)}"
    assert site.download("/a.wav", version=version) == (DATA, version)


def test_a_compression_bomb_is_refused(site):
    bomb = gzip.compress(bytes(20 << 20))
    site.server.add("/bomb.wav", fixed(200, bomb, Content_Encoding="gzip"))
    target = io.BytesIO()
    with pytest.raises(errors.TooLargeError, match="still sending"):
        https.download(site.url("/bomb.wav"), target, site.access(), resolve=Names())
    assert len(target.getvalue()) <= 1 << 20


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "nonsense"])
def test_another_coding_is_unreadable(site, coding):
    site.server.add("/a.wav", fixed(200, DATA, Content_Encoding=coding))
    with pytest.raises(errors.UnreadableError, match=f"sent as {coding}"):
        site.download("/a.wav")


def test_damaged_compression_is_unreadable_at_once(site):
    site.server.add("/a.wav", fixed(200, DATA, Content_Encoding="gzip"))
    with pytest.raises(errors.UnreadableError, match="failed to decode"):
        site.download("/a.wav")
    assert len(site.asked()) == 1


# Trouble that passes, and trouble that stays


@pytest.mark.parametrize(
    "fault",
    [{"status": 408}, {"status": 429}, {"status": 500}, {"status": 503}, {"reset": True}, {"cut_bytes": 10}],
    ids=str,
)
def test_trouble_of_a_moment_is_survived_without_a_trace(site, fault):
    site.server.inject(**fault)
    target = io.BytesIO()
    target.write(b"head")
    https.download(site.url("/a.wav"), target, site.access(), resolve=Names())
    assert target.getvalue() == b"head" + DATA
    assert len(site.asked()) == 2


def test_stat_survives_trouble_of_a_moment(site):
    site.server.inject(status=503)
    assert site.stat("/a.wav")[0] == len(DATA)


@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}, {"cut_bytes": 10}], ids=str)
def test_trouble_that_stays_is_told_with_the_number_of_attempts(site, fault):
    site.server.inject(times=None, **fault)
    with pytest.raises(errors.UnreadableError, match=r"/a\.wav: .*\(tried 2 times\)$") as told:
        site.download("/a.wav", max_attempts=2)
    assert told.value.retryable
    assert len(site.asked()) == 2


def test_the_time_that_the_server_asks_for_is_waited(site):
    site.server.inject(status=429, retry_after_s=1)
    before = time.monotonic()
    assert site.download("/a.wav")[0] == DATA
    assert time.monotonic() - before >= 1


def test_a_wait_beyond_the_deadline_is_not_begun(site):
    site.server.inject(status=503, retry_after_s=60)
    before = time.monotonic()
    with pytest.raises(errors.SlowSourceError, match=r"answered 503; another attempt was to come in 60 s"):
        site.download("/a.wav")
    assert time.monotonic() - before < 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, errors.NotFoundError),
        (410, errors.NotFoundError),
        (400, errors.UnreadableError),
        (401, errors.UnreadableError),
        (403, errors.UnreadableError),
        (204, errors.UnreadableError),
    ],
)
def test_an_answer_that_will_not_change_is_not_asked_for_again(site, status, expected):
    site.server.add("/a.wav", fixed(status))
    with pytest.raises(expected, match=rf"/a\.wav: the server answered {status}"):
        site.download("/a.wav")
    assert len(site.asked()) == 1
    with pytest.raises(expected, match=rf"/a\.wav: the server answered {status}"):
        site.stat("/a.wav")


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_body_that_ends_with_the_connection_is_whole_only_if_tls_says_so(ends_well):
    def behave(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA)
        if ends_well:
            tls.unwrap()

    with raw_site(behave) as site:
        if ends_well:
            assert site.download("/a.wav")[0] == DATA
        else:
            with pytest.raises(errors.UnreadableError, match="tried 2 times"):
                site.download("/a.wav", max_attempts=2)


def test_a_full_disk_is_not_taken_for_trouble_of_the_server(site):
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        https.download(site.url("/a.wav"), Full(), site.access(), resolve=Names())
    assert len(site.asked()) == 1


# Settings


@pytest.mark.parametrize(
    "entry", ["", "*", "*.", "https://a.org", "a.org/path", "a.org?b", "user@a.org", "a.*.org", "a org", "a.org:port"]
)
def test_what_is_no_host_cannot_be_allowed(entry):
    with pytest.raises(errors.UsageError, match=r"is no host; give a name such as example\.org"):
        HttpsAccess(hosts=(entry,), max_bytes=1)


@pytest.mark.parametrize("network", ["intranet", "10.1.2.3/16", "10.0.0.0/33"])
def test_what_is_no_network_cannot_be_allowed(network):
    with pytest.raises(errors.UsageError, match=f"--allow_http_network={network}.*10.1.0.0/16"):
        HttpsAccess(allowed_networks=(network,), max_bytes=1)


@pytest.mark.parametrize("name", ["max_bytes", "timeout_s", "connect_timeout_s", "max_attempts"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_of_nothing_is_refused(name, value):
    with pytest.raises(errors.UsageError, match=f"{name}={value} must be more than 0"):
        HttpsAccess(**{"max_bytes": 1, name: value})


def test_a_file_on_disk_can_be_the_target(site, tmp_path: Path):
    with open(tmp_path / "a.wav", "w+b") as target:
        https.download(site.url("/a.wav"), target, site.access(), resolve=Names())
    assert (tmp_path / "a.wav").read_bytes() == DATA
