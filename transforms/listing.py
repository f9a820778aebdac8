"""ListClips: inputs in, batches of clips out; nothing is ever held in the launcher."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from transforms import errors, storage
from transforms.records import Clip

BATCH_CLIPS = 1000
STAT_THREADS = 16


class ListClips(beam.PTransform):
    """From nothing to batches of clips (lists of Clip), with the versions of their sources.

    The batches may name a clip twice: PlanWork keeps one.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        """Lists `inputs`: each a URI, a glob, or @ and the URI of a text file with one input a line."""
        super().__init__()
        self._inputs = list(inputs)

    def expand(self, root: beam.Pipeline) -> beam.PCollection[list[Clip]]:
        """Wires the transform."""
        return (
            root
            | "Inputs" >> beam.Create(self._inputs, reshuffle=False)
            | "Expand" >> beam.FlatMap(clip_batches)
            | "Spread" >> beam.Reshuffle()  # one glob may list millions; stating them is for all workers
            | "Stat" >> beam.Map(with_versions)
        )


def clip_batches(source: str) -> Iterator[list[Clip]]:
    """The clips of one input in batches of 1000; those not listed by a glob have no version yet."""
    clips = iter(_clips(source))
    while batch := list(itertools.islice(clips, BATCH_CLIPS)):
        yield batch


def _clips(source: str) -> Iterator[Clip]:
    if source.startswith("@"):
        for line in read_list(source[1:]):
            yield from _clips(line)
    elif storage.is_pattern(source):
        for found in storage.matches(storage.normalise(source)):
            yield Clip.of(found.uri, found.version, found.num_bytes)
    else:
        yield Clip.of(storage.normalise(source))


def read_list(uri: str) -> Iterator[str]:
    """The inputs named by a text file: one a line; empty lines and those that start with # are comments."""
    with storage.open_binary(storage.normalise(uri)) as lines:
        for line in lines:
            text = line.decode("utf-8", "surrogateescape").strip()
            if text and not text.startswith("#"):
                yield text


def with_versions(batch: Iterable[Clip]) -> list[Clip]:
    """The same clips with the versions that listing did not give; those that cannot be had die in reading."""
    with concurrent.futures.ThreadPoolExecutor(STAT_THREADS) as pool:
        return list(pool.map(_with_version, batch))


def _with_version(clip: Clip) -> Clip:
    if clip.source_version is not None:
        return clip
    try:
        found = storage.stat(clip.uri)
    except errors.SourceError:
        return clip
    return dataclasses.replace(clip, source_version=found.version, num_bytes=found.num_bytes)
