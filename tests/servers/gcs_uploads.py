"""Resumable uploads, gathered here and stored in one multipart upload when they are complete.

fake-gcs-server takes a status query (`Content-Range: bytes */*`) for the end of the upload, appends
a repeated chunk twice and ignores preconditions, so that no client could recover from a fault.
Protocol: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import urlencode

from tests.servers.faults import error
from tests.servers.gcs import PUBLIC_HOST
from tests.servers.serving import Request, Response

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_BOUNDARY = b"resumable_upload_as_multipart"


@dataclass(slots=True)
class _Session:
    path: str
    query: dict[str, str]
    metadata: dict[str, object]
    received: bytearray = field(default_factory=bytearray)
    stored: Response | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class ResumableUploads:
    """The uploads in progress.

    Args:
        store: Answers the multipart upload that a complete session becomes.
    """

    def __init__(self, store: Callable[[Request], Response]) -> None:
        self._store = store
        self._sessions: dict[str, _Session] = {}

    def owns(self, request: Request) -> bool:
        """Tell whether a request opens, feeds or queries a resumable upload."""
        return request.path.startswith("/upload/") and (
            request.query.get("uploadType") == "resumable" or "upload_id" in request.query
        )

    def answer(self, request: Request) -> Response:
        """Answer such a request."""
        if "upload_id" not in request.query:
            return self._open(request)
        session = self._sessions.get(request.query["upload_id"])
        if session is None:
            return error(404, "no such upload")
        if request.method == "DELETE":
            del self._sessions[request.query["upload_id"]]
            return Response(499)
        with session.lock:
            return self._feed(session, request)

    def _open(self, request: Request) -> Response:
        metadata = json.loads(request.body or b"{}")
        query = {key: value for key, value in request.query.items() if key != "uploadType"}
        metadata.setdefault("name", query.pop("name", None))
        if content_type := request.headers.get("X-Upload-Content-Type"):
            metadata.setdefault("contentType", content_type)
        upload_id = uuid.uuid4().hex
        self._sessions[upload_id] = _Session(request.path, query, metadata)
        host = request.headers.get("Host", "")
        scheme = "https" if host == PUBLIC_HOST else "http"
        there = urlencode({"uploadType": "resumable", "upload_id": upload_id})
        location = f"{scheme}://{host}{request.path}?{there}"
        return Response(200, (("Location", location), ("X-GUploader-UploadID", upload_id)))

    def _feed(self, session: _Session, request: Request) -> Response:
        if session.stored:
            return session.stored
        given = _RANGE.match(request.headers.get("Content-Range", ""))
        if given is None:
            session.received[:] = request.body  # no range: the whole object in one request
            total = str(len(request.body))
        else:
            start, total = int(given[1] or 0), given[3]
            if start > len(session.received):
                return error(400, f"chunk starts at {start}, only {len(session.received)} received")
            new = request.body[len(session.received) - start :] if given[1] else b""
            session.received += new  # what a repeated chunk has in common is dropped
        if total == "*" or int(total) > len(session.received):
            held = f"bytes=0-{len(session.received) - 1}"
            return Response(308, (("Range", held),) if session.received else ())
        response = self._store(_multipart(session))
        session.stored = response
        session.received = bytearray()
        return response


def _multipart(session: _Session) -> Request:
    content_type = str(session.metadata.get("contentType", "application/octet-stream"))
    body = b"\r\n".join(
        [
            b"--" + _BOUNDARY,
            b"Content-Type: application/json",
            b"",
            json.dumps(session.metadata).encode(),
            b"--" + _BOUNDARY,
            f"Content-Type: {content_type}".encode(),
            b"",
            bytes(session.received),
            b"--" + _BOUNDARY + b"--",
        ]
    )
    headers = Message()
    headers["Content-Type"] = f"multipart/related; boundary={_BOUNDARY.decode()}"
    query = urlencode({"uploadType": "multipart", **session.query})
    return Request("POST", f"{session.path}?{query}", headers, body)
