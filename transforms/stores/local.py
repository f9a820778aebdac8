"""Local files and mounted ones; the version is size and time of modification."""

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from transforms import errors
from transforms.stores.base import Object, check


class LocalStore:
    """See `base.Store`."""

    def matches(self, pattern: str) -> Iterator[Object]:
        """Files that match a glob; hidden files and folders are left out."""
        for path in glob.iglob(pattern, recursive=True):
            try:
                if os.path.isfile(path):
                    yield self.stat(path)
            except errors.NotFoundError:  # deleted while the folder was listed
                continue

    def stat(self, uri: str) -> Object:
        """Size and version of one file."""
        try:
            status = os.stat(uri)
        except (OSError, ValueError) as problem:
            raise _source_error(uri, problem) from problem
        if not os.path.isfile(uri):
            raise errors.UnreadableError(f"{uri} is not a file")
        return Object(uri, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")

    def open(self, uri: str) -> BinaryIO:
        """The file itself."""
        try:
            return open(uri, "rb")
        except (OSError, ValueError) as problem:
            raise _source_error(uri, problem) from problem

    def download(self, uri: str, target: BinaryIO, version: str | None, max_bytes: int | None) -> Object:
        """Copies a file."""
        found = self.stat(uri)
        check(found, version, max_bytes)
        try:
            with self.open(uri) as source:
                shutil.copyfileobj(source, target, 1 << 20)
        except OSError as problem:
            raise _source_error(uri, problem) from problem
        return found

    def publish(self, path: str, uri: str) -> None:
        """Moves a file, across file systems too."""
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(uri)
        shutil.move(path, partial)  # may cross file systems, so it is not atomic; the next line is
        os.replace(partial, uri)

    def create_exclusively(self, uri: str, content: bytes) -> bool:
        """Links a finished file to its name: that fails if the name exists, and never shows half a file."""
        partial = _partial(uri)
        self.write(partial, content)
        try:
            os.link(partial, uri)
        except FileExistsError:
            return False
        finally:
            os.unlink(partial)
        return True

    def write(self, uri: str, content: bytes) -> None:
        """Writes beside, then replaces."""
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(uri)
        Path(partial).write_bytes(content)
        os.replace(partial, uri)

    def delete(self, uris: list[str]) -> None:
        """Deletes files."""
        for uri in uris:
            Path(uri).unlink(missing_ok=True)


def _partial(uri: str) -> str:
    folder, name = os.path.split(uri)
    return os.path.join(folder, f".{name[:200]}.{uuid.uuid4().hex}.partial")


def _source_error(uri: str, problem: OSError | ValueError) -> errors.SourceError:
    if isinstance(problem, FileNotFoundError):
        return errors.NotFoundError(f"no such file: {uri}")
    return errors.UnreadableError(f"cannot read {uri!r}: {getattr(problem, 'strerror', None) or problem}")
