"""Whatever else Beam's FileSystems can read where its client is installed: s3://, hdfs://, abfs:// ..."""

import shutil
from collections.abc import Iterator
from typing import Any, BinaryIO

from transforms import errors
from transforms.stores.base import Object, check


class BeamStore:
    """See `base.Store`; the version is size and time of modification, as far as Beam tells them."""

    def matches(self, pattern: str) -> Iterator[Object]:
        """Objects that match a glob of Beam's."""
        for match in _file_systems(pattern).match([pattern]):
            for found in match.metadata_list:
                version = f"{found.size_in_bytes}-{found.last_updated_in_seconds}"
                yield Object(found.path, found.size_in_bytes, version)

    def stat(self, uri: str) -> Object:
        """One object, found by a listing."""
        found = next(self.matches(uri), None)
        if found is None:
            raise errors.NotFoundError(f"no such object: {uri}")
        return found

    def download(self, uri: str, target: BinaryIO, version: str | None, max_bytes: int | None) -> Object:
        """Copies an object."""
        from apache_beam.io.filesystem import CompressionTypes

        found = self.stat(uri)
        check(found, version, max_bytes)
        try:
            # Beam would inflate .gz behind our back.
            with _file_systems(uri).open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as source:
                shutil.copyfileobj(source, target, 1 << 20)
        except OSError as problem:
            raise errors.UnreadableError(f"cannot read {uri}: {problem}") from problem
        return found

    def publish(self, path: str, uri: str) -> None:
        """Uploads a file."""
        with open(path, "rb") as source, self._create(uri) as target:
            shutil.copyfileobj(source, target, 1 << 22)

    def create_exclusively(self, uri: str, content: bytes) -> bool:
        """Looks first, then writes: these stores have no way to do both at once."""
        if _file_systems(uri).exists(uri):
            return False
        self.write(uri, content)
        return True

    def write(self, uri: str, content: bytes) -> None:
        """Writes an object."""
        with self._create(uri) as target:
            target.write(content)

    def delete(self, uris: list[str]) -> None:
        """Deletes objects."""
        if uris:
            _file_systems(uris[0]).delete(uris)

    def _create(self, uri: str) -> Any:
        from apache_beam.io.filesystem import CompressionTypes

        return _file_systems(uri).create(uri, compression_type=CompressionTypes.UNCOMPRESSED)


def _file_systems(uri: str) -> Any:
    from apache_beam.io.filesystems import FileSystems

    try:
        FileSystems.get_filesystem(uri)
    except ValueError as problem:
        scheme = uri.split("://", 1)[0]
        raise errors.UnsupportedSchemeError(
            f"{uri}: Beam cannot read {scheme}:// here; install its client, such as apache-beam[aws] for s3://"
        ) from problem
    return FileSystems
