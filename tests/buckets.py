"""Short clips in buckets, and what a run left in a dataset there."""

from typing import Any

import sounds

from tests.servers.cloud import Cloud
from transforms import runs


def clip(number: int, version: int = 0) -> bytes:
    """A short clip; the bytes of every number and version differ."""
    return sounds.sound_file(sounds.noise(0.2 + 0.01 * (number % 7), seed=1000 * version + number))


def put(cloud: Cloud, folder: str, count: int) -> list[str]:
    """Writes clips to a folder of the bucket "clips"; returns their URIs."""
    uris = [f"gs://clips/{folder}/ü {number:02}#.wav" for number in range(count)]
    for number, uri in enumerate(uris):
        cloud.gcs.store.write(uri, clip(number))
    return uris


def newest_manifest(dataset: str) -> dict[str, Any]:
    """Of the run that was committed last."""
    return runs.committed(dataset)[-1].manifest
