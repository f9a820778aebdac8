"""ReadClips: clips in, their bytes out; what cannot be read is a dead letter.

Many clips are fetched at a time, so that slow storage does not keep the processor waiting: while one is decoded and
embedded, the threads fetch the next ones of its bundle.
"""

import collections
import concurrent.futures
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms import allocator, errors, storage
from transforms.dead_letters import DEAD, Failures, Letter
from transforms.metrics import count, measure, observe
from transforms.records import Clip, DeadLetter, FetchedClip
from transforms.stores.base import Object, check
from transforms.stores.https_access import HttpsAccess

STAGE = "ReadClips"
THREADS = 16  # of one process
AHEAD_CLIPS = 32  # fetched or being fetched, at most
AHEAD_BYTES = 16 << 20  # of them, by their listed sizes: 9 clips of 10 s of CD sound


class ReadClips(beam.PTransform):
    """From Clip to FetchedClip."""

    def __init__(
        self, *, failures: Failures, max_bytes: int | None = None, http: HttpsAccess = storage.HTTPS_OFF
    ) -> None:
        """Reads clips of at most `max_bytes`, from the web as `http` allows; letters go to `failures`."""
        super().__init__()
        self._failures = failures
        self._limits = max_bytes, http

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[FetchedClip]:
        """Wires the transform."""
        fetched = (
            clips
            | "Spread" >> beam.Reshuffle()  # only URIs cross it; all that follows is one fused stage
            | "Fetch" >> beam.ParDo(_FetchFn(*self._limits)).with_outputs(DEAD, main="fetched")
        )
        self._failures.add(fetched[DEAD])
        return fetched.fetched


def fetch(clip: Clip, max_bytes: int | None = None, http: HttpsAccess = storage.HTTPS_OFF) -> FetchedClip:
    """Reads a clip: into memory, or a large one into a local file.

    Raises:
      SourceError: it is gone, has changed since it was listed, is too large, or cannot be read.
      AccessError: permission or environment trouble.
    """
    check(Object(clip.uri, clip.num_bytes, clip.source_version), clip.source_version, max_bytes)
    if storage.is_local(clip.uri):
        found = storage.stat(clip.uri)
        check(found, clip.source_version, max_bytes)
        clip = replace(clip, source_version=found.version, num_bytes=found.num_bytes)
        if storage.fits_memory(clip.num_bytes):
            return _in_memory(clip, storage.read_bytes(clip.uri))
        return FetchedClip(clip, None, clip.uri, False, _sha256(clip.uri))
    if storage.fits_memory(clip.num_bytes):
        buffer = io.BytesIO()
        found = storage.download(clip.uri, buffer, version=clip.source_version, max_bytes=max_bytes, http=http)
        return _in_memory(replace(clip, source_version=found.version), buffer.getvalue())
    descriptor, path = tempfile.mkstemp(prefix="yamnet-beam-")
    try:
        with os.fdopen(descriptor, "w+b") as target:
            found = storage.download(clip.uri, target, version=clip.source_version, max_bytes=max_bytes, http=http)
    except BaseException:
        os.unlink(path)
        raise
    read = replace(clip, source_version=found.version, num_bytes=os.path.getsize(path))
    return FetchedClip(read, None, path, True, _sha256(path))


class _FetchFn(beam.DoFn):
    """Holds the threads, and the clips of the bundle that are on their way."""

    def __init__(self, max_bytes: int | None, http: HttpsAccess) -> None:
        self._limits = max_bytes, http

    def setup(self) -> None:
        allocator.share_arena()
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix=STAGE)

    def start_bundle(self) -> None:
        self._ahead: collections.deque[tuple[Clip, Future[tuple[FetchedClip, float]]]] = collections.deque()
        self._ahead_bytes = 0

    def process(self, clip: Clip) -> Iterator[FetchedClip | Letter]:
        count("read_clips_in")
        self._ahead.append((clip, self._pool.submit(_fetch_and_time, clip, *self._limits)))
        self._ahead_bytes += clip.num_bytes or 0
        while len(self._ahead) > 1 and (len(self._ahead) > AHEAD_CLIPS or self._ahead_bytes > AHEAD_BYTES):
            yield self._next()

    def finish_bundle(self) -> Iterator[WindowedValue | beam.pvalue.TaggedOutput]:
        window = GlobalWindow()
        while self._ahead:
            result = self._next()
            if isinstance(result, FetchedClip):
                yield WindowedValue(result, window.max_timestamp(), [window])
            else:
                late = WindowedValue(result.value, window.max_timestamp(), [window])
                yield beam.pvalue.TaggedOutput(DEAD, late)

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _next(self) -> FetchedClip | Letter:
        """The oldest clip on its way; waiting for it is what the stage costs."""
        clip, future = self._ahead.popleft()
        self._ahead_bytes -= clip.num_bytes or 0
        with measure("fetch") as step:
            try:
                fetched, busy_s = future.result()
            except errors.ClipError as error:
                count("read_clips_failed")
                return Letter(DEAD, DeadLetter.of(clip, STAGE, error))
            step.num_bytes = fetched.clip.num_bytes or 0
        count("read_clips_out")
        observe("read_microseconds", round(busy_s * 1e6))
        return fetched


def _fetch_and_time(clip: Clip, max_bytes: int | None, http: HttpsAccess) -> tuple[FetchedClip, float]:
    """The clip, and the seconds of processor time it took; Beam takes no metrics from threads of ours."""
    started = time.thread_time()
    fetched = fetch(clip, max_bytes, http)
    return fetched, time.thread_time() - started


def _in_memory(clip: Clip, data: bytes) -> FetchedClip:
    return FetchedClip(replace(clip, num_bytes=len(data)), data, None, False, hashlib.sha256(data).hexdigest())


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
