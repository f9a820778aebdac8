"""Owns the ways to bytes: list, stat, open and create by the scheme of a URI.

A URI is an absolute local path, or scheme://... as it stands, unescaped; other schemes than local files go
through Beam's FileSystems, imported when the first such URI comes.
"""

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from transforms import errors


class Object(NamedTuple):
    """One stored object.

    Attributes:
      uri: its name.
      num_bytes: its size.
      version: changes whenever its bytes do: local files, size and time of modification.
    """

    uri: str
    num_bytes: int
    version: str


def is_local(uri: str) -> bool:
    """Whether a URI names a local file."""
    return "://" not in uri


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
    return any(character in uri for character in "*?[") and not (is_local(uri) and os.path.exists(uri))


def literal(directory: str) -> str:
    """A directory as part of a pattern that means just it."""
    return glob.escape(directory) if is_local(directory) else directory


def matches(pattern: str) -> Iterator[Object]:
    """Objects that match a glob; ** crosses folders, hidden files and folders are left out."""
    if is_local(pattern):
        for path in glob.iglob(pattern, recursive=True):
            try:
                if os.path.isfile(path):
                    yield stat(path)
            except errors.NotFoundError:  # deleted while the folder was listed
                continue
        return
    for match in _file_systems().match([pattern]):
        for found in match.metadata_list:
            yield Object(
                found.path,
                found.size_in_bytes,
                f"{found.size_in_bytes}-{found.last_updated_in_seconds}",
            )


def stat(uri: str) -> Object:
    """Size and version of one object.

    Raises:
      SourceError: it is not there, not a file, or not ours to see.
    """
    if is_local(uri):
        try:
            status = os.stat(uri)
        except OSError as problem:
            raise _source_error(uri, problem) from problem
        if not os.path.isfile(uri):
            raise errors.UnreadableError(f"{uri} is not a file")
        return Object(uri, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")
    found = next(matches(uri), None)
    if found is None:
        raise errors.NotFoundError(f"no such object: {uri}")
    return found


def open_binary(uri: str) -> BinaryIO:
    """Opens an object for reading, seekable, at its start, its bytes as they are stored.

    Raises:
      SourceError: it is not there or cannot be read.
    """
    try:
        if is_local(uri):
            return open(uri, "rb")
        from apache_beam.io.filesystem import CompressionTypes

        # Beam would inflate .gz behind our back.
        opened: Any = _file_systems().open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    except OSError as problem:
        raise _source_error(uri, problem) from problem
    return opened


def read_bytes(uri: str) -> bytes:
    """The whole object."""
    with open_binary(uri) as source:
        try:
            return source.read()
        except OSError as problem:
            raise _source_error(uri, problem) from problem


def exists(uri: str) -> bool:
    """Whether an object or a local folder is there."""
    return os.path.exists(uri) if is_local(uri) else bool(_file_systems().exists(uri))


def create(uri: str) -> BinaryIO:
    """Opens a new object for writing; readers of local files may see it grow, so write elsewhere and rename."""
    if is_local(uri):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        return open(uri, "wb")
    from apache_beam.io.filesystem import CompressionTypes

    created: Any = _file_systems().create(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    return created


def publish(path: str, uri: str) -> None:
    """Moves a finished local file to its place, where it appears whole or not at all."""
    if is_local(uri):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(uri)
        shutil.move(path, partial)  # may cross file systems, so it is not atomic; the next line is
        os.replace(partial, uri)
        return
    with open(path, "rb") as source, create(uri) as target:
        shutil.copyfileobj(source, target, 1 << 22)


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a small object, whole or not at all, over any older one."""
    if not is_local(uri):
        with create(uri) as target:
            target.write(content)
        return
    partial = _partial(uri)
    with create(partial) as target:
        target.write(content)
    os.replace(partial, uri)


def create_exclusively(uri: str, content: bytes) -> bool:
    """Writes a small object unless it exists; returns whether this call wrote it."""
    if not is_local(uri):
        if exists(uri):
            return False
        write_bytes(uri, content)
        return True
    partial = _partial(uri)
    write_bytes(partial, content)
    try:
        os.link(partial, uri)  # fails if it exists, and never shows half a file
    except FileExistsError:
        return False
    finally:
        os.unlink(partial)
    return True


def _partial(uri: str) -> str:
    folder, name = os.path.split(uri)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex}.partial")


def children(directory: str) -> list[str]:
    """URIs of the objects right below a directory; empty where there is none."""
    if is_local(directory):
        if not os.path.isdir(directory):
            return []
        return sorted(entry.path for entry in os.scandir(directory) if entry.is_file())
    return sorted(found.uri for found in matches(join(literal(directory), "*")))


def delete(uris: list[str]) -> None:
    """Deletes objects; those already gone are no error."""
    if uris and is_local(uris[0]):
        for uri in uris:
            Path(uri).unlink(missing_ok=True)
    elif uris:
        _file_systems().delete(uris)


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _source_error(uri: str, problem: OSError) -> errors.SourceError:
    if isinstance(problem, FileNotFoundError):
        return errors.NotFoundError(f"no such file: {uri}")
    return errors.UnreadableError(f"cannot read {uri}: {problem.strerror or problem}")
