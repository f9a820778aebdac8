"""What every kind of storage offers."""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from transforms import errors


class Object(NamedTuple):
    """One stored object.

    Attributes:
      uri: its name.
      num_bytes: its size; None where the store does not say.
      version: changes whenever its bytes do; None where the store does not say.
    """

    uri: str
    num_bytes: int | None
    version: str | None


class Store(Protocol):
    """One kind of storage. Errors: SourceError of one object, AccessError of what every object would meet."""

    def matches(self, pattern: str) -> Iterator[Object]:
        """Objects that match a glob, as they are listed; ** crosses folders."""

    def stat(self, uri: str) -> Object:
        """One object."""

    def download(self, uri: str, target: BinaryIO, version: str | None, max_bytes: int | None) -> Object:
        """Writes the bytes of an object, verified, to a seekable file, and says which they were.

        Raises:
          SourceChangedError: `version` is given, and the object is another.
          TooLargeError: it has more than `max_bytes`.
        """

    def publish(self, path: str, uri: str) -> None:
        """Moves or copies a finished local file to its place, where it appears whole or not at all."""

    def create_exclusively(self, uri: str, content: bytes) -> bool:
        """Writes a small object unless it exists; returns whether this call wrote it."""

    def write(self, uri: str, content: bytes) -> None:
        """Writes a small object, whole or not at all, over any older one."""

    def delete(self, uris: list[str]) -> None:
        """Deletes objects; those already gone are no error."""


def check(found: Object, version: str | None, max_bytes: int | None) -> None:
    """Refuses an object that is not the one that was listed, or is too large.

    Raises:
      SourceChangedError: its version is not `version`.
      TooLargeError: it has more than `max_bytes`.
    """
    if version is not None and found.version != version:
        raise errors.SourceChangedError(
            f"{found.uri} was replaced after it had been listed ({version}, now {found.version})"
        )
    if max_bytes is not None and (found.num_bytes or 0) > max_bytes:
        raise errors.TooLargeError(
            f"{found.num_bytes:,} bytes, more than --max_bytes={max_bytes}; raise it to embed the clip"
        )


def glob_regex(pattern: str) -> "re.Pattern[str]":
    """A glob as a regular expression: ** crosses folders, * and ? stay within one, [..] is a set."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    translated = []
    for part in parts:
        if part in meanings:
            translated.append(meanings[part])
        elif part.startswith("[") and part.endswith("]"):
            translated.append("[" + ("^" + part[2:-1] if part[1] == "!" else part[1:-1]).replace("\\", r"\\") + "]")
        else:
            translated.append(re.escape(part))
    return re.compile("".join(translated), re.DOTALL)
