"""Which object a Cloud Storage request is about, and whether its preconditions hold.

fake-gcs-server checks `ifGenerationMatch` on multipart uploads only. Here it is checked for every
upload, read, delete, copy and compose. Semantics: https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from tests.servers.faults import error
from tests.servers.serving import Request, Response

_OBJECT = re.compile(r"^(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)(?:/(.*))?$")
_COPY = re.compile(r"^(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)$")
_UPLOAD = re.compile(r"^/upload/storage/v1/b/([^/]+)/o$")
_READS = ("GET", "HEAD")
_METADATA_BYTES = 65536  # more than an object's metadata may take


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A bucket and an object's name in it, decoded."""

    bucket: str
    name: str


GenerationOf = Callable[[ObjectName], str | None]


def written_object(request: Request) -> ObjectName | None:
    """Return the object that a request reads or writes: the target of a copy, not its source."""
    if upload := _UPLOAD.match(request.path):
        name = request.query.get("name") or _uploaded_name(request)
        return ObjectName(unquote(upload[1]), name)
    if not (found := _OBJECT.match(request.path)):
        return None
    if copy := _COPY.match(found[3] or ""):
        return ObjectName(unquote(copy[1]), unquote(copy[2]))
    return ObjectName(unquote(found[1]), unquote(found[2]))


def refusal(request: Request, generation_of: GenerationOf) -> Response | None:
    """Return the answer to a request whose preconditions do not hold, or None if they do."""
    query = request.query
    target = written_object(request)
    if target is None:
        return None
    if "ifGenerationMatch" in query or "ifGenerationNotMatch" in query:
        current = generation_of(target) or "0"  # 0 stands for "no live object"
        if current == "0" and request.method in _READS:
            return None  # the store's own 404
        if query.get("ifGenerationMatch", current) != current:
            return error(412, f"{target}: generation is {current}, not as ifGenerationMatch says")
        if query.get("ifGenerationNotMatch") == current:
            return Response(304) if request.method in _READS else error(412, "ifGenerationNotMatch")
    return _source_refusal(request, generation_of) or _stale_refusal(request, target, generation_of)


def _source_refusal(request: Request, generation_of: GenerationOf) -> Response | None:
    query = request.query
    if not {"sourceGeneration", "ifSourceGenerationMatch"} & query.keys():
        return None
    found = _OBJECT.match(request.path)
    assert found, "only copies have a source"
    current = generation_of(ObjectName(unquote(found[1]), unquote(found[2])))
    if query.get("sourceGeneration", current) != current:
        return error(404, "no such generation of the source")
    if query.get("ifSourceGenerationMatch", current) != current:
        return error(412, "the source has another generation")
    return None


def _stale_refusal(request: Request, target: ObjectName, generation_of: GenerationOf) -> Response | None:
    wanted = request.query.get("generation")
    if wanted is None or request.method in _READS or generation_of(target) == wanted:
        return None  # reads: the store itself answers 404
    return error(404, f"{target}: no generation {wanted}")


def _uploaded_name(request: Request) -> str:
    """Find the name in the JSON that opens a multipart upload."""
    start = request.body.index(b"{")
    text = request.body[start : start + _METADATA_BYTES].decode(errors="replace")
    return str(json.JSONDecoder().raw_decode(text)[0]["name"])
