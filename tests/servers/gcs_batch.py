"""Batch requests of Cloud Storage's JSON interface: many small requests in one multipart body.

fake-gcs-server answers only parts that carry a Content-ID; google-cloud-storage sends none, so
every batched copy and delete (Beam's file sinks rename that way) would get no answer.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from email.message import Message

from tests.servers.serving import Request, Response

BATCH_PATH = "/batch/storage/v1"
_BOUNDARY = "batch_of_answers"


def answer_batch(request: Request, answer: Callable[[Request], Response]) -> Response:
    """Answer every part of a batch, in order; the batch is as late or as lost as its worst part."""
    answered = [(content_id, answer(part)) for content_id, part in _split(request)]
    pieces = [_part(content_id, response) for content_id, response in answered]
    responses = [response for _, response in answered]
    return Response(
        200,
        (("Content-Type", f"multipart/mixed; boundary={_BOUNDARY}"),),
        b"".join([*pieces, b"--%b--\r\n" % _BOUNDARY.encode()]),
        delay_s=sum(response.delay_s for response in responses),
        reset=any(response.reset for response in responses),
    )


def _split(request: Request) -> list[tuple[str | None, Request]]:
    boundary = request.headers.get_param("boundary")
    parts = request.body.split(f"--{boundary}".encode())[1:-1]
    return [_parse(part.lstrip(b"\r\n")) for part in parts]


def _parse(part: bytes) -> tuple[str | None, Request]:
    stream = io.BytesIO(part)
    outer = http.client.parse_headers(stream)
    method, url, _ = stream.readline().decode().split(" ", 2)
    inner: Message = http.client.parse_headers(stream)
    target = url if url.startswith("/") else "/" + url.split("://", 1)[1].split("/", 1)[1]
    return outer.get("Content-ID"), Request(method, target, inner, stream.read().strip())


def _part(content_id: str | None, response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    lines = [f"--{_BOUNDARY}", "Content-Type: application/http"]
    if content_id:
        lines.append(f"Content-ID: <response-{content_id.lstrip('<')}")
    reason = http.client.responses.get(response.status, "Unknown")
    lines += ["", f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers if name != "Content-Length"]
    lines += [f"Content-Length: {len(response.body)}", "", ""]
    return "\r\n".join(lines).encode() + response.body + b"\r\n"
