"""Owns reading from https servers: size and version of an object, and its bytes, within what `HttpsAccess` allows."""

import hashlib
import re
from typing import BinaryIO

import urllib3

from transforms import errors
from transforms.stores.https_access import HttpsAccess
from transforms.stores.https_transfer import Resolver, Transfer

ENCODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})


def stat(uri: str, access: HttpsAccess, *, resolve: Resolver | None = None) -> tuple[int | None, str | None]:
    """Size and version of an object, without its bytes.

    Returns:
      The bytes that `download` would write, None where the server does not say or compresses them; and a version that
      changes with the bytes: ETag and size, else Last-Modified and size, None where the server tells neither.

    Raises:
      UnsupportedSchemeError: the URI, or where it redirects to, may not be asked.
      SourceError: the server does not answer, or not well.
      AccessError: the certificates to trust cannot be read.
    """
    transfer = Transfer(uri, access, resolve)
    return transfer.persist(lambda: _stat(transfer))


def download(
    uri: str,
    target: BinaryIO,
    access: HttpsAccess,
    *,
    version: str | None = None,
    resolve: Resolver | None = None,
) -> str:
    """Writes the bytes of an object to a seekable file, from its position on, and cuts off what was behind.

    Returns:
      The version of these very bytes, as `stat` tells it; their SHA-256 and number where the server tells none.

    Raises:
      SourceChangedError: `version` is given, and the object is another.
      TooLargeError: there are more bytes than `access.max_bytes`, announced or not.
      SlowSourceError: they did not arrive within `access.timeout_s`.
      UnsupportedSchemeError, SourceError, AccessError: as `stat`.
    """
    transfer = Transfer(uri, access, resolve)
    start = target.tell()

    def attempt() -> str:
        target.seek(start)
        target.truncate()
        return _download(transfer, target, version)

    return transfer.persist(attempt)


def _stat(transfer: Transfer) -> tuple[int | None, str | None]:
    with transfer.answer("HEAD") as head:
        if head.status == 200 and _stored_bytes(head):
            return _num_bytes(head), _version(head)
        # 200: an answer to HEAD may lack a size, or say 0. Others: HEAD is unknown, or the URL is not signed for it.
        if head.status not in (200, 403, 405, 501):
            raise transfer.refusal(head)
    with transfer.answer("GET", {"Range": "bytes=0-0"}) as first:
        if first.status not in (200, 206, 416):  # 416: there is no first byte
            raise transfer.refusal(first)
        return _num_bytes(first), _version(first)


def _download(transfer: Transfer, target: BinaryIO, version: str | None) -> str:
    max_bytes = transfer.access.max_bytes
    with transfer.answer("GET") as response:
        if response.status != 200:
            raise transfer.refusal(response)
        if _encoding(response) not in ENCODINGS:
            raise errors.UnreadableError(f"{transfer.label}: sent as {_encoding(response)}, which was not asked for")
        found = _version(response)
        _expect(version, found, transfer.label)
        announced = _stored_bytes(response)
        if announced is not None and announced > max_bytes:
            raise errors.TooLargeError(
                f"{transfer.label}: {announced:,} bytes, more than --max_bytes={max_bytes}; raise it to embed the clip"
            )
        num_bytes, digest = 0, hashlib.sha256()
        for block in transfer.blocks(response):
            num_bytes += len(block)
            if num_bytes > max_bytes:
                raise errors.TooLargeError(
                    f"{transfer.label}: still sending after --max_bytes={max_bytes}; raise it to embed the clip"
                )
            target.write(block)
            if found is None:
                digest.update(block)
    found = found or f"{digest.hexdigest()}-{num_bytes}"
    _expect(version, found, transfer.label)
    return found


def _expect(version: str | None, found: str | None, label: str) -> None:
    if version is not None and found is not None and version != found:
        raise errors.SourceChangedError(f"{label} was replaced after it had been listed ({version}, now {found})")


def _encoding(response: urllib3.HTTPResponse) -> str:
    return str(response.headers.get("Content-Encoding") or "identity").strip().lower()


def _stored_bytes(response: urllib3.HTTPResponse) -> int | None:
    """The size of the whole object as the server sends it, compressed or not."""
    headers = response.headers
    said = re.search(r"/(\d+)$", headers.get("Content-Range", "")) if response.status in (206, 416) else None
    if said is None and response.status == 200:
        said = re.fullmatch(r"(\d+)", headers.get("Content-Length", "").strip())
    return int(said[1]) if said else None


def _num_bytes(response: urllib3.HTTPResponse) -> int | None:
    return _stored_bytes(response) if _encoding(response) == "identity" else None


def _version(response: urllib3.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag", "").strip().removeprefix("W/").strip('"')
    mark = etag or response.headers.get("Last-Modified", "").strip()
    size = _stored_bytes(response)
    return (mark if size is None else f"{mark}-{size}") if mark else None
