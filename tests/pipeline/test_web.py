"""Clips on the web: those of a named host are embedded; each URL that must not be asked is a letter that says why."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sounds
from results import Result

from pipeline.__main__ import main
from tests.servers.https import WebServer, content, endless, redirect
from tests.servers.serving import serving
from tests.servers.tls import authority

pytestmark = pytest.mark.slow

LOOPBACK, PRIVATE = "127.0.0.1", "127.0.0.2"
HOST, REBINDS = "audio.example.org", "rebinds.example.org"
resolve = socket.getaddrinfo


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server on loopback, where its names lead to; one of them leads elsewhere the second time."""
    answers = {HOST: [LOOPBACK], "elsewhere.example.org": [LOOPBACK], REBINDS: [LOOPBACK, PRIVATE]}

    def resolve_names(host: str, port: int, *arguments: Any, **settings: Any) -> list[Any]:
        if host not in answers:
            return resolve(host, port, *arguments, **settings)
        address = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return resolve(address, port, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_names)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority().ca_path))
    server = WebServer(None, authority().ca_path)
    with (
        serving(server.answer, authority().server_context(HOST)) as server.port,
        serving(server.answer, authority().server_context(REBINDS)) as rebound_port,
    ):
        server.rebound_port = rebound_port  # type: ignore[attr-defined]
        yield server


def test_clips_of_named_hosts_are_embedded_and_what_must_not_be_asked_is_a_letter(
    site: WebServer, tmp_path: Path
) -> None:
    here, rebound = f"{HOST}:{site.port}", f"{REBINDS}:{site.rebound_port}"  # type: ignore[attr-defined]
    good = [f"/{number} ü 50%25.wav?token={number}" for number in range(6)]
    for number in range(6):
        site.add(f"/{number} ü 50%.wav", content(sounds.sound_file(sounds.noise(0.3, seed=number))))
    site.add("/moved.wav", redirect(f"https://{PRIVATE}:{site.port}/0%20%C3%BC%2050%25.wav"))
    site.add("/endless.wav", endless())
    site.add("/rebinds.wav", content(sounds.sound_file(sounds.noise(0.3))))
    refused = {
        f"https://{PRIVATE}:{site.port}/a.wav": (
            "unsupported_scheme",
            f"has the address {PRIVATE}, which is not public",
        ),
        f"https://{here}/moved.wav": ("unsupported_scheme", f"redirected to https://{PRIVATE}"),
        f"https://{rebound}/rebinds.wav": ("unsupported_scheme", f"has the address {PRIVATE}, which is not public"),
        f"http://{here}/0.wav": ("unsupported_scheme", "https only, not http"),
        f"https://elsewhere.example.org:{site.port}/0.wav": ("unsupported_scheme", "not among those allowed"),
        f"https://{here}/endless.wav": ("too_large", "still sending after --max_bytes=1000000"),
    }
    (tmp_path / "list.txt").write_text("\n".join([*(f"https://{here}{path}" for path in good), *refused]))
    hosts = [here, rebound, f"{PRIVATE}:{site.port}"]
    flags = [f"--allow_http_host={host}" for host in hosts] + [f"--allow_http_network={LOOPBACK}/32"]
    command = ["embed", f"--input=@{tmp_path}/list.txt", f"--output={tmp_path}/dataset", *flags]
    assert main([*command, "--max_bytes=1000000", "--run_id=web"]) == 0
    result = Result(0, tmp_path / "dataset" / "run=web")
    assert [result.manifest[word] for word in ("listed", "embedded", "dead")] == [12, 6, 6]
    rows, letters = result.table().to_pylist(), {letter["uri"]: letter for letter in result.letters}
    assert [row["uri"] for row in rows] == [f"https://{here}{path}" for path in good]
    assert set(letters) == set(refused)
    for uri, (code, words) in refused.items():
        assert letters[uri]["code"] == code, letters[uri]
        assert words in letters[uri]["message"]
    asked = {request.path for request in site.requests}
    assert "/a.wav" not in asked
    assert [request.method for request in site.requests if request.path == "/rebinds.wav"] == ["HEAD"]


def test_without_a_named_host_the_web_is_off(site: WebServer, tmp_path: Path) -> None:
    uri = f"https://{HOST}:{site.port}/0.wav"
    assert main(["embed", f"--input={uri}", f"--output={tmp_path}/dataset", "--run_id=off"]) == 3
    (letter,) = Result(3, tmp_path / "dataset" / "run=off").letters
    assert f"not allowed, none is; allow it with --allow_http_host={HOST}" in letter["message"]
    assert not site.requests
