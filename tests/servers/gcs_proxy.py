"""Cloud Storage for tests: fake-gcs-server, made truer, and made to fail on request.

Every request passes here, so a test can ask for faults, see what was asked for, and rely on the
semantics that the store behind leaves out (see `gcs` for the list).
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from tests.servers.faults import Fault, Faults, error
from tests.servers.gcs import PUBLIC_HOST, GcsStore, fake_gcs
from tests.servers.gcs_batch import BATCH_PATH, answer_batch
from tests.servers.gcs_generated import GeneratedBucket, bucket_of
from tests.servers.gcs_listing import globbed, is_listing, paged
from tests.servers.gcs_objects import ObjectName, refusal
from tests.servers.gcs_uploads import ResumableUploads
from tests.servers.serving import HOP_BY_HOP, LOOPBACK, Request, Response, serving

_UNSENT = HOP_BY_HOP | {"content-length", "accept-encoding"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was made: what it was, and the status that went back (None: reset)."""

    method: str
    target: str
    status: int | None


class GcsProxy:
    """The service as clients see it.

    Attributes:
        port: Where it listens.
        store: The objects, past faults and log, for a test's arrangements and assertions.
        requests: What was asked for since the start or `clear`; a batch's parts one by one.
    """

    def __init__(self, store: GcsStore) -> None:
        self.port = 0
        self.store = store
        self.requests: list[Exchange] = []
        self._faults = Faults()
        self._upstream = _Upstream(store.port)
        self._generated: dict[str, GeneratedBucket] = {}
        self._uploads = ResumableUploads(self._store)
        self._writing = threading.Lock()  # a precondition and its write are one step

    def inject(self, fault: Fault | None = None, **settings: object) -> Fault:
        """Let requests fail: `inject(path="/o/", status=503, times=2)`; see `Fault`."""
        return self._faults.add(fault or Fault(**settings))  # type: ignore[arg-type]

    def clear(self) -> None:
        """Lift all faults and forget the requests so far."""
        self._faults.clear()
        self.requests.clear()

    def generate(
        self,
        bucket: str,
        names: Iterable[str],
        content: Callable[[str], bytes] = str.encode,
        *,
        generation: int = 1,
    ) -> None:
        """Put a read-only bucket of computed objects beside the stored ones."""
        self._generated[bucket] = GeneratedBucket(bucket, names, content, generation)

    def answer(self, request: Request) -> Response:
        """Answer one request, spoiled as the faults in force say."""
        fault = self._faults.claim(request)
        response = Response() if fault and fault.withholds else self._route(request)
        if fault:
            response = fault.spoil(response)
        status = None if response.reset else response.status
        self.requests.append(Exchange(request.method, request.target, status))
        return response

    def close(self) -> None:
        """Close the connections to the store."""
        self._upstream.close()

    def _route(self, request: Request) -> Response:
        if request.path.startswith(BATCH_PATH):
            return answer_batch(request, self.answer)
        if generated := self._generated.get(bucket_of(request)):
            return globbed(request, generated.answer(request))
        if self._uploads.owns(request):
            return self._uploads.answer(request)
        if is_listing(request):
            return globbed(request, self._upstream.ask(paged(request)))
        return self._store(request)

    def _store(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return refusal(request, self._generation) or self._upstream.ask(request)
        with self._writing:
            return refusal(request, self._generation) or self._upstream.ask(request)

    def _generation(self, target: ObjectName) -> str | None:
        path = f"/storage/v1/b/{quote(target.bucket)}/o/{quote(target.name, safe='')}?alt=media"
        found = self._upstream.ask(Request("HEAD", path, http.client.HTTPMessage(), b""))
        headers = {name.lower(): value for name, value in found.headers}
        return headers.get("x-goog-generation")


class _Upstream:
    """Kept-alive connections to the store, as many as there are requests at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: collections.deque[http.client.HTTPConnection] = collections.deque()

    def ask(self, request: Request) -> Response:
        for _ in range(2):  # an idle connection may have gone stale: then once more on a new one
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=60)
            try:
                response = self._exchange(connection, request)
            except (http.client.HTTPException, OSError):
                connection.close()
                continue
            self._idle.append(connection)
            return response
        return error(502, "the store behind the proxy does not answer")

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> Response:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", PUBLIC_HOST)
        connection.putheader("X-Forwarded-Proto", "https")  # for the mediaLink in its answers
        connection.putheader("Content-Length", str(len(request.body)))
        for name, value in request.headers.items():
            if name.lower() not in _UNSENT:
                connection.putheader(name, value)
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        return Response(answer.status, tuple(answer.getheaders()), answer.read())

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


@contextlib.contextmanager
def gcs(*buckets: str) -> Iterator[GcsProxy]:
    """Run a store with these buckets, and the proxy in front of it."""
    with fake_gcs() as store:
        for bucket in buckets:
            store.create_bucket(bucket)
        proxy = GcsProxy(store)
        with contextlib.closing(proxy), serving(proxy.answer) as proxy.port:
            yield proxy
