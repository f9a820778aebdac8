"""FFmpeg, through PyAV: whatever libsndfile does not know."""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from transforms import errors
from transforms.readers import base
from transforms.readers.base import Samples
from transforms.stopwatch import measure

CONTAINER_SLACK_S = 0.1  # encoder delay and padding


class AvReader:
    """Reads with PyAV what libsndfile does not know: AAC, M4A, WebM, WMA, AC-3, the sound of videos."""

    def __init__(self, source: BinaryIO) -> None:
        """Opens the first audio stream of `source`.

        Raises:
          UnknownFormatError: FFmpeg cannot read it.
          EmptyAudioError: it finds no sound in it.
        """
        try:
            import av
        except ImportError:
            raise errors.UnknownFormatError(
                "PyAV, which reads more formats, is not installed: pip install 'yamnet-beam[av]'"
            ) from None
        self._av: Any = av
        try:
            self._container = av.open(source, metadata_errors="replace")
        except av.error.FFmpegError as problem:
            raise errors.UnknownFormatError(f"FFmpeg: {problem.strerror}") from problem
        if not self._container.streams.audio:
            name = self._container.format.name
            if name.endswith("_pipe"):
                raise errors.UnknownFormatError(f"FFmpeg: a {name} file, a picture without an audio stream")
            raise errors.EmptyAudioError(f"a {name} file without an audio stream")
        self._stream = self._container.streams.audio[0]
        codec = self._stream.codec_context  # None where the codec is unknown, as in a damaged index
        self.sample_rate_hz: int = codec.sample_rate or 0 if codec else 0
        self.num_channels: int = codec.channels or 0 if codec else 0
        self.truncated = False
        if not self.sample_rate_hz or not self.num_channels:
            raise errors.CorruptAudioError("the stream names neither a sample rate nor its channels")

    def blocks(self) -> Iterator[Samples]:
        """Yields float32 [n, num_channels], gathered to blocks worth resampling."""
        gathered: list[Samples] = []
        num_gathered = num_decoded = 0
        # Only the sample format is converted: FFmpeg's own downmix to mono is 3 dB too loud.
        to_float = self._av.AudioResampler(format="flt")
        with self._container:
            for samples in self._frames(to_float):
                gathered.append(samples)
                num_gathered += len(samples)
                num_decoded += len(samples)
                if num_gathered * self.num_channels >= base.BLOCK_VALUES:
                    yield np.concatenate(gathered)
                    gathered, num_gathered = [], 0
            if gathered:
                yield np.concatenate(gathered)
            self.truncated = self.truncated or self._promised_more(num_decoded)

    def _frames(self, to_float: Any) -> Iterator[Samples]:
        frames = self._container.decode(self._stream)
        while True:
            with measure("decode"):
                try:
                    frame = next(frames, None)
                    converted = to_float.resample(frame) if frame is not None else []
                except (self._av.error.FFmpegError, ValueError):  # ValueError: rate or channels change on the way
                    self.truncated = True
                    return
            if frame is None:
                return
            for part in converted:
                yield part.to_ndarray().reshape(-1, self.num_channels)

    def _promised_more(self, num_decoded: int) -> bool:
        """Containers with an index know their duration; elementary streams only guess it."""
        name = self._container.format.name
        if not any(indexed in name for indexed in ("mp4", "matroska", "asf", "caf")):
            return False
        claimed_s = (self._container.duration or 0) / self._av.time_base
        with contextlib.suppress(TypeError):
            claimed_s = float(self._stream.duration * self._stream.time_base)
        return num_decoded / self.sample_rate_hz < claimed_s - CONTAINER_SLACK_S
