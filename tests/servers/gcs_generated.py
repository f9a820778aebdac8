"""A read-only bucket made of a list of names: 200 000 objects without 200 000 uploads."""

from __future__ import annotations

import base64
import bisect
import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote

from tests.servers.faults import error
from tests.servers.gcs import PUBLIC_HOST
from tests.servers.gcs_listing import is_listing, page_size
from tests.servers.gcs_objects import written_object
from tests.servers.serving import Request, Response

_JSON = (("Content-Type", "application/json; charset=UTF-8"),)
_UPDATED = "2026-01-01T00:00:00.000Z"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class GeneratedBucket:
    """Objects whose bytes are computed from their names whenever somebody asks.

    Args:
        bucket: The bucket's name.
        names: The objects' names.
        content: An object's bytes; called for every entry of a listing too (size and checksum).
        generation: The generation of every object.
    """

    def __init__(self, bucket: str, names: Iterable[str], content: Callable[[str], bytes], generation: int) -> None:
        self._bucket = bucket
        self._names = sorted(names)
        self._content = content
        self._generation = str(generation)

    def answer(self, request: Request) -> Response:
        """Answer a listing or a read; anything else is refused."""
        if request.method not in ("GET", "HEAD"):
            return error(403, f"{self._bucket} is generated: it cannot be written")
        if is_listing(request):
            return self._list(request)
        target = written_object(request)
        if target is None:
            return _json({"kind": "storage#bucket", "name": self._bucket, "id": self._bucket})
        if not self._has(target.name, request.query.get("generation", self._generation)):
            return error(404, f"No such object: {self._bucket}/{target.name}")
        if request.query.get("alt") == "media":
            return self._media(target.name, request.headers.get("Range", ""))
        return _json(self._item(target.name))

    def _has(self, name: str, generation: str) -> bool:
        at = bisect.bisect_left(self._names, name)
        return self._names[at : at + 1] == [name] and generation == self._generation

    def _list(self, request: Request) -> Response:
        query, room = request.query, page_size(request)
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        start = max(query.get("pageToken", ""), query.get("startOffset", ""), prefix)
        at = bisect.bisect_left(self._names, start)
        items: list[dict[str, Any]] = []
        prefixes: list[str] = []
        while at < len(self._names) and self._names[at].startswith(prefix):
            name = self._names[at]
            if len(items) + len(prefixes) == room or name >= query.get("endOffset", "\U0010ffff"):
                break
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if cut:
                prefixes.append(prefix + head + cut)
                at = bisect.bisect_left(self._names, prefixes[-1] + "\U0010ffff")
            else:
                items.append(self._item(name))
                at += 1
        more = len(items) + len(prefixes) == room and at < len(self._names)
        page: dict[str, Any] = {"kind": "storage#objects", "items": items, "prefixes": prefixes}
        return _json(page | ({"nextPageToken": self._names[at]} if more else {}))

    def _item(self, name: str) -> dict[str, Any]:
        data = self._content(name)
        where = f"b/{self._bucket}/o/{quote(name, safe='')}"
        return {
            "kind": "storage#object",
            "id": f"{self._bucket}/{name}/{self._generation}",
            "name": name,
            "bucket": self._bucket,
            "generation": self._generation,
            "metageneration": "1",
            "size": str(len(data)),
            "crc32c": crc32c(data),
            "updated": _UPDATED,
            "timeCreated": _UPDATED,
            "mediaLink": f"https://{PUBLIC_HOST}/download/storage/v1/{where}?alt=media",
        }

    def _media(self, name: str, wanted: str) -> Response:
        data = self._content(name)
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("X-Goog-Generation", self._generation),
            ("X-Goog-Hash", f"crc32c={crc32c(data)}"),
        )
        if not (part := _RANGE.match(wanted)):
            return Response(200, headers, data)
        first, last = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
        if first > last:
            return Response(416, headers)
        covered = ("Content-Range", f"bytes {first}-{last}/{len(data)}")
        return Response(206, (*headers, covered), data[first : last + 1])


def bucket_of(request: Request) -> str:
    """Return the bucket a request is about, or an empty string."""
    _, found, rest = request.path.partition("/b/")
    return unquote(rest.split("/", 1)[0]) if found else ""


def crc32c(data: bytes) -> str:
    import google_crc32c

    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def _json(value: dict[str, Any]) -> Response:
    return Response(200, _JSON, json.dumps(value).encode())
