"""Listings as Cloud Storage gives them: pages of at most 1000, and `matchGlob`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.servers.serving import Request, Response

PAGE = 1000
_LISTING = re.compile(r"^/storage/v1/b/[^/]+/o$")
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[!?|\]|\{|\}|,|.", re.DOTALL)


def is_listing(request: Request) -> bool:
    """Tell whether a request lists a bucket."""
    return request.method == "GET" and bool(_LISTING.match(request.path))


def page_size(request: Request) -> int:
    """Return how many entries a page may have: fake-gcs-server has no upper bound, the cloud has."""
    return min(PAGE, int(request.query.get("maxResults") or PAGE))


def paged(request: Request) -> Request:
    """Ask for a page of lawful size."""
    split = urlsplit(request.target)
    query = [(key, value) for key, value in parse_qsl(split.query) if key != "maxResults"]
    query.append(("maxResults", str(page_size(request))))
    return replace(request, target=f"{split.path}?{urlencode(query)}")


def globbed(request: Request, response: Response) -> Response:
    """Drop what `matchGlob` leaves out; a page may then be short, as in the cloud."""
    glob = request.query.get("matchGlob")
    if not glob or response.status != 200:
        return response
    assert isinstance(response.body, bytes)
    matches = glob_pattern(glob).fullmatch
    page = json.loads(response.body)
    page["items"] = [item for item in page.get("items", []) if matches(item["name"])]
    headers = tuple(pair for pair in response.headers if pair[0].lower() != "content-length")
    return replace(response, headers=headers, body=json.dumps(page).encode())


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Translate a glob: `*` stops at a slash, `**` does not, and {a,b} and [a-z] are choices.

    Source: https://cloud.google.com/storage/docs/json_api/v1/objects/list#list-object-glob
    """
    depth, parts = 0, []
    for token in _GLOB.findall(glob):
        depth += (token == "{") - (token == "}")
        if token == "," and depth:
            parts.append("|")
        else:
            parts.append(_TRANSLATED.get(token) or re.escape(token))
    return re.compile("".join(parts), re.DOTALL)


_TRANSLATED = {
    "**/": "(?:.*/)?",
    "**": ".*",
    "*": "[^/]*",
    "?": "[^/]",
    "[!": "[^",
    "[": "[",
    "]": "]",
    "{": "(?:",
    "}": ")",
}
