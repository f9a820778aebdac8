"""Owns the ways to bytes: the right store by the scheme of a URI.

A URI is an absolute local path, or scheme://... as it stands, unescaped.
"""

import glob
import io
import os
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from transforms import errors
from transforms.stores import https
from transforms.stores.base import Object, Store
from transforms.stores.gcs import GcsStore
from transforms.stores.https_access import HttpsAccess
from transforms.stores.local import LocalStore
from transforms.stores.others import BeamStore

MEMORY_BYTES = 64 << 20  # larger objects go through a file on the local disk
HTTPS_OFF = HttpsAccess(max_bytes=1)  # no host may be asked

_LOCAL, _GCS, _OTHERS = LocalStore(), GcsStore(), BeamStore()


def is_local(uri: str) -> bool:
    """Whether a URI names a local file."""
    return "://" not in uri


def is_http(uri: str) -> bool:
    """Whether a URI is an address on the web."""
    return uri.startswith(("https://", "http://"))


def fits_memory(num_bytes: int | None) -> bool:
    """Whether an object is known to be small enough to be held in memory."""
    return num_bytes is not None and num_bytes <= MEMORY_BYTES


def normalise(uri: str) -> str:
    """One spelling for one object: local paths absolute and without scheme, others as they are."""
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    return os.path.abspath(os.path.expanduser(uri)) if is_local(uri) else uri


def join(directory: str, *parts: str) -> str:
    """A URI below a directory."""
    return "/".join([directory.rstrip("/"), *parts])


def is_pattern(uri: str) -> bool:
    """Whether a URI is a glob; a local file that exists under that very name is not."""
    if is_http(uri):
        return False
    return any(character in uri for character in "*?[") and not (is_local(uri) and os.path.exists(uri))


def literal(directory: str) -> str:
    """A directory as part of a pattern that means just it."""
    return glob.escape(directory) if is_local(directory) else directory


def matches(pattern: str) -> Iterator[Object]:
    """Objects that match a glob; ** crosses folders, hidden local files are left out."""
    return _store(pattern).matches(pattern)


def stat(uri: str, http: HttpsAccess = HTTPS_OFF) -> Object:
    """Size and version of one object; `http` says which web hosts may be asked.

    Raises:
      SourceError: it is not there or cannot be read.
      AccessError: permission or environment trouble.
    """
    if is_http(uri):
        return Object(uri, *https.stat(uri, http))
    return _store(uri).stat(uri)


def download(
    uri: str,
    target: BinaryIO,
    *,
    version: str | None = None,
    max_bytes: int | None = None,
    http: HttpsAccess = HTTPS_OFF,
) -> Object:
    """Writes the bytes of an object, verified, to a seekable file, and says which they were.

    Args:
      uri: of the object.
      target: seekable, empty.
      version: as it was listed; None for the newest.
      max_bytes: that it may have.
      http: which web hosts may be asked.

    Raises:
      SourceError: it is gone, has changed since it was listed, is too large, or cannot be read.
      AccessError: permission or environment trouble.
    """
    if is_http(uri):
        found = https.download(uri, target, http, version=version)
        return Object(uri, target.tell(), found)
    return _store(uri).download(uri, target, version, max_bytes)


def open_binary(uri: str, http: HttpsAccess = HTTPS_OFF) -> BinaryIO:
    """Opens an object for reading, seekable, at its start, its bytes as they are stored; remote ones are fetched first.

    Raises:
      SourceError, AccessError: as `download`.
    """
    if is_local(uri):
        return _LOCAL.open(uri)
    found = stat(uri, http)
    target: Any = io.BytesIO() if fits_memory(found.num_bytes) else tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        download(uri, target, version=found.version, http=http)
    except BaseException:
        target.close()
        raise
    target.seek(0)
    opened: BinaryIO = target
    return opened


def read_bytes(uri: str) -> bytes:
    """The whole object."""
    with open_binary(uri) as source:
        try:
            return source.read()
        except OSError as problem:
            raise errors.UnreadableError(f"cannot read {uri}: {problem}") from problem


def exists(uri: str) -> bool:
    """Whether an object or a local folder is there."""
    if is_local(uri):
        return os.path.exists(uri)
    try:
        stat(uri)
    except errors.NotFoundError:
        return False
    return True


def publish(path: str, uri: str) -> None:
    """Moves a finished local file to its place, where it appears whole or not at all."""
    _store(uri).publish(path, uri)


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a small object, whole or not at all, over any older one."""
    _store(uri).write(uri, content)


def create_exclusively(uri: str, content: bytes) -> bool:
    """Writes a small object unless it exists; returns whether this call wrote it."""
    return _store(uri).create_exclusively(uri, content)


def children(directory: str) -> list[str]:
    """URIs of the objects right below a directory, hidden ones too; empty where there is none."""
    if is_local(directory):
        if not os.path.isdir(directory):
            return []
        return sorted(entry.path for entry in os.scandir(directory) if entry.is_file())
    return sorted(found.uri for found in matches(join(literal(directory), "*")))


def delete(uris: list[str]) -> None:
    """Deletes objects of one store; those already gone are no error."""
    if uris:
        _store(uris[0]).delete(uris)


def _store(uri: str) -> Store:
    if is_local(uri):
        return _LOCAL
    return _GCS if uri.startswith("gs://") else _OTHERS
