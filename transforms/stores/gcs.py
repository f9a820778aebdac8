"""Google Cloud Storage through its own client; the version is generation and crc32c.

Reads are pinned to the generation that was listed and checked against its crc32c; what fails for a moment is tried
again with jitter, by the library and, for bodies that were cut or changed on the way, here. A 403 stops the job: every
clip of the bucket would meet it.
"""

import collections
import concurrent.futures
import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from transforms import errors
from transforms.stores.base import Object, check, glob_regex

SCHEME = "gs://"
DEADLINE_S = 120.0  # of one call, the library's retries included
TIMEOUTS_S = (10.0, 60.0)  # to connect, and between two bytes
THREADS = 16  # that delete
ATTEMPTS = 5  # at a body that arrives cut or changed
FIELDS = "items(name,size,generation,crc32c),nextPageToken"

Result = TypeVar("Result")


class GcsStore:
    """See `base.Store`."""

    def matches(self, pattern: str) -> Iterator[Object]:
        """Objects that match a glob, page by page; the placeholders of folders are left out."""
        bucket, name = _split(pattern)
        wanted = glob_regex(name)
        prefix = name[: min((name.index(c) for c in "*?[" if c in name), default=len(name))]
        with _explained(pattern, "storage.objects.list", missing=errors.UsageError(f"there is no bucket {bucket}")):
            listed = _client().list_blobs(bucket, prefix=prefix, fields=FIELDS, timeout=TIMEOUTS_S, retry=_retry())
            for blob in listed:
                if wanted.fullmatch(blob.name) and not blob.name.endswith("/"):
                    yield _object(blob)

    def stat(self, uri: str) -> Object:
        """One object, by its metadata."""
        bucket, name = _split(uri)
        with _explained(uri, "storage.objects.get"):
            blob = _client().bucket(bucket).blob(name)
            blob.reload(timeout=TIMEOUTS_S, retry=_retry())
        return _object(blob)

    def download(self, uri: str, target: BinaryIO, version: str | None, max_bytes: int | None) -> Object:
        """Downloads the generation that `version` names, or the newest."""
        found = self.stat(uri) if version is None else Object(uri, None, version)
        check(found, version, max_bytes)
        bucket, name = _split(uri)
        generation = int(str(found.version).split("-", 1)[0])
        blob = _client().bucket(bucket).blob(name, generation=generation)

        bounded = target if max_bytes is None else _Bounded(target, max_bytes)

        def attempt() -> None:
            target.seek(0)
            target.truncate()
            with _explained(uri, "storage.objects.get"):
                blob.download_to_file(bounded, checksum="crc32c", timeout=TIMEOUTS_S, retry=_retry())

        try:
            _again(attempt)
        except errors.NotFoundError:
            if version is None:
                raise
            check(self.stat(uri), version, max_bytes)  # gone, or replaced?
            raise
        return Object(uri, target.tell(), found.version)

    def publish(self, path: str, uri: str) -> None:
        """Uploads a file, verified."""
        bucket, name = _split(uri)
        with _explained(uri, "storage.objects.create"):
            blob = _client().bucket(bucket).blob(name)
            # Names are unique, so an upload may be repeated.
            _again(lambda: blob.upload_from_filename(path, checksum="crc32c", timeout=TIMEOUTS_S, retry=_retry()))

    def create_exclusively(self, uri: str, content: bytes) -> bool:
        """Uploads if there is no live generation."""
        from google.api_core.exceptions import PreconditionFailed

        bucket, name = _split(uri)
        with _explained(uri, "storage.objects.create"):
            blob = _client().bucket(bucket).blob(name)
            try:
                blob.upload_from_string(
                    content, if_generation_match=0, checksum="crc32c", timeout=TIMEOUTS_S, retry=_retry()
                )
            except PreconditionFailed:
                return False
        return True

    def write(self, uri: str, content: bytes) -> None:
        """Uploads over any older object."""
        bucket, name = _split(uri)
        with _explained(uri, "storage.objects.create"):
            blob = _client().bucket(bucket).blob(name)
            blob.upload_from_string(content, checksum="crc32c", timeout=TIMEOUTS_S, retry=_retry())

    def delete(self, uris: list[str]) -> None:
        """Deletes objects, many at a time."""
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            collections.deque(pool.map(_delete, uris), maxlen=0)  # asks each for its error


class _Bounded:
    """A file that refuses to grow beyond a number of bytes: the listed size is not that of an object stored as gzip."""

    def __init__(self, target: BinaryIO, max_bytes: int) -> None:
        self._target = target
        self._max_bytes = max_bytes

    def write(self, data: bytes) -> int:
        """Writes.

        Raises:
          TooLargeError: that would be too much.
        """
        check(Object("", self._target.tell() + len(data), None), None, self._max_bytes)
        return self._target.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def _delete(uri: str) -> None:
    bucket, name = _split(uri)
    with contextlib.suppress(errors.NotFoundError), _explained(uri, "storage.objects.delete"):
        _client().bucket(bucket).blob(name).delete(timeout=TIMEOUTS_S, retry=_retry())


@functools.cache
def _client() -> Any:
    """One client per process, with connections for many threads; anonymous where there are no credentials."""
    import google.auth
    import google.auth.exceptions
    import requests.adapters
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud import storage

    try:
        credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_write"])
    except google.auth.exceptions.DefaultCredentialsError:
        return storage.Client.create_anonymous_client()
    session = AuthorizedSession(credentials)
    session.mount("https://", requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=64))
    return storage.Client(project=project or "none", credentials=credentials, _http=session)


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(DEADLINE_S)


def _again(call: Callable[[], Result]) -> Result:
    """Repeats what failed in transit, with growing random pauses."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except (errors.ChecksumError, errors.SlowSourceError):
            time.sleep(random.uniform(0, min(8.0, 0.25 * 2**attempt)))
    return call()


@contextlib.contextmanager
def _explained(uri: str, permission: str, missing: errors.YamnetBeamError | None = None) -> Iterator[None]:
    """Translates the client's errors into ours; `missing` is what a 404 means, if not that there is no object."""
    import google.auth.exceptions
    import requests
    from google.api_core import exceptions as api
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except api.NotFound as problem:
        raise missing or errors.NotFoundError(f"no such object: {uri}") from problem
    except (api.Forbidden, api.Unauthorized) as problem:
        bucket, _ = _split(uri)
        raise errors.AccessError(
            f"{_account()} may not use {uri}: it needs {permission} on the bucket {bucket} ({problem.message})"
        ) from problem
    except google.auth.exceptions.GoogleAuthError as problem:
        raise errors.AccessError(
            f"no usable Google credentials for {uri} ({problem}); try: gcloud auth application-default login"
        ) from problem
    except DataCorruption as problem:
        raise errors.ChecksumError(f"{uri} arrived with another crc32c than it is stored with") from problem
    except (api.GoogleAPIError, requests.RequestException, ConnectionError, TimeoutError) as problem:
        kind = type(problem).__name__
        raise errors.SlowSourceError(f"{uri} could not be had in time: {kind}: {problem}") from problem


def _account() -> str:
    from google.auth.credentials import AnonymousCredentials

    credentials = getattr(_client(), "_credentials", None)
    if isinstance(credentials, AnonymousCredentials):
        return "who has no Google credentials (gcloud auth application-default login gives some)"
    return str(getattr(credentials, "service_account_email", None) or "the account of these credentials")


def _object(blob: Any) -> Object:
    return Object(f"{SCHEME}{blob.bucket.name}/{blob.name}", blob.size, f"{blob.generation}-{blob.crc32c}")


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix(SCHEME).partition("/")
    if not bucket or not name:
        raise errors.UnreadableError(f"{uri} names no object: gs://BUCKET/NAME")
    return bucket, name
