"""Owns decoding: bytes of any common format in, blocks of mono float32 at 16 kHz out.

libsndfile reads what it knows; PyAV (FFmpeg) reads the rest (AAC, WebM, WMA, AC-3 ...). Channels are averaged before
resampling, and resampling is soxr's HQ: lower qualities alias and move scores by up to 0.9.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from transforms import errors
from transforms.health import AudioHealth, HealthMeter
from transforms.readers.base import Reader, Samples
from transforms.readers.ffmpeg import AvReader
from transforms.readers.libsndfile import SoundFileReader
from transforms.segments import SAMPLE_RATE_HZ, Waveform
from transforms.stopwatch import measure

MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 64
PIECE_SAMPLES = 1 << 16  # resampled at a time: in a core's cache it takes a seventh less


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What decoding told of a clip.

    Attributes:
      duration_s: seconds really decoded.
      sample_rate_hz: of the source, before resampling.
      num_channels: of the source, before averaging.
      num_samples: of the waveform at 16 kHz.
      truncated: the source promised more sound than it holds.
      health: loudness, clipping, silence and bandwidth.
    """

    duration_s: float
    sample_rate_hz: int
    num_channels: int
    num_samples: int
    truncated: bool
    health: AudioHealth


class Decoder:
    """Streams one source as a 16 kHz mono waveform.

    Iterate it once, then ask for `facts`. Memory is bounded by a block, whatever the length.
    """

    def __init__(
        self, source: BinaryIO, *, max_duration_s: float | None = None, target_rate_hz: int = SAMPLE_RATE_HZ
    ) -> None:
        """Opens `source` (seekable, at its start) for a waveform at `target_rate_hz`; the network's is 16 kHz.

        Raises:
          AudioError: the format is unknown, the header implausible or the source empty.
        """
        self._max_duration_s = max_duration_s
        self._target_rate_hz = target_rate_hz
        with measure("decode"):
            self._reader = open_audio(source)
        self._meter = HealthMeter()
        self._num_decoded = self._num_samples = 0
        rate, channels = self._reader.sample_rate_hz, self._reader.num_channels
        if not MIN_SAMPLE_RATE_HZ <= rate <= MAX_SAMPLE_RATE_HZ or channels > MAX_CHANNELS:
            raise errors.ImplausibleHeaderError(
                f"the header claims {channels} channels at {rate} Hz; at most {MAX_CHANNELS} channels and "
                f"{MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz are read"
            )

    def __iter__(self) -> Iterator[Waveform]:
        """Yields float32 blocks [n] at 16 kHz.

        Raises:
          AudioError: nothing can be decoded, a sample is not finite, or `max_duration_s` is passed.
        """
        for block in resample(self._mono(), self._reader.sample_rate_hz, self._target_rate_hz):
            self._num_samples += len(block)
            with measure("health"):
                self._meter.hear_waveform(block)
            yield block
        if not self._num_samples:
            if self._reader.truncated:
                raise errors.CorruptAudioError("the header is fine, but no sample could be decoded")
            raise errors.EmptyAudioError("the file holds no samples")

    @property
    def facts(self) -> AudioFacts:
        """What was decoded; complete once iteration has ended."""
        with measure("health"):
            health = self._meter.result()
        return AudioFacts(
            duration_s=self._num_decoded / self._reader.sample_rate_hz,
            sample_rate_hz=self._reader.sample_rate_hz,
            num_channels=self._reader.num_channels,
            num_samples=self._num_samples,
            truncated=self._reader.truncated,
            health=health,
        )

    def _mono(self) -> Iterator[Samples]:
        rate = self._reader.sample_rate_hz
        for block in self._reader.blocks():
            self._num_decoded += len(block)
            if self._max_duration_s is not None and self._num_decoded > self._max_duration_s * rate:
                raise errors.TooLongError(
                    f"more than {self._max_duration_s:g} s of sound; raise --max_duration_s to embed it"
                )
            with measure("health"):
                is_finite = self._meter.hear_decoded(block)
            if not is_finite:
                raise errors.NonFiniteAudioError("the audio has NaN or infinite samples")
            with measure("downmix", block.nbytes):
                mono = downmix(block)
            yield mono


def downmix(block: Samples) -> Samples:
    """The average of the channels of [n, num_channels], as [n]; explicit adds are 20 times faster than mean(axis=1)."""
    num_channels = block.shape[1]
    if num_channels == 1:
        return block[:, 0]
    mono = block[:, 0] + block[:, 1]
    for channel in range(2, num_channels):
        mono += block[:, channel]
    mono *= np.float32(1.0 / num_channels)
    return mono


def resample(
    blocks: Iterator[Samples], sample_rate_hz: int, target_rate_hz: int = SAMPLE_RATE_HZ
) -> Iterator[Waveform]:
    """Resamples a stream of mono blocks [n]; the same, bit for bit, as the whole at once."""
    if sample_rate_hz == target_rate_hz:
        yield from blocks
        return
    with measure("resample"):
        stream = soxr.ResampleStream(sample_rate_hz, target_rate_hz, 1, dtype="float32", quality="HQ")
    block = next(blocks, None)
    while block is not None:
        following = next(blocks, None)
        with measure("resample", block.nbytes):
            ends = range(PIECE_SAMPLES, len(block), PIECE_SAMPLES)
            *pieces, last = np.split(block, ends)
            parts = [stream.resample_chunk(piece) for piece in pieces]
            resampled = np.concatenate([*parts, stream.resample_chunk(last, last=following is None)])
        if len(resampled):
            yield resampled
        block = following


def open_audio(source: BinaryIO) -> Reader:
    """Opens a seekable source with libsndfile, else with FFmpeg.

    Raises:
      EmptyAudioError: no bytes at all.
      CorruptAudioError: it starts like a known format, and cannot be read.
      UnknownFormatError: neither library knows the format.
    """
    head = source.read(16)
    if not head:
        raise errors.EmptyAudioError("the file is empty: 0 bytes")
    source.seek(0)
    try:
        return SoundFileReader(source)
    except soundfile.LibsndfileError as problem:
        refusal = f"libsndfile: {problem.error_string.strip(' .')}"
        is_malformed = problem.code == 3  # a known format, damaged: SF_ERR_MALFORMED_FILE
    source.seek(0)
    try:
        reader = AvReader(source)
    except errors.UnknownFormatError as problem:
        message = f"it starts with {head!r}; {refusal}; {problem}"
        if _MAGIC.match(head):
            raise errors.CorruptAudioError(f"damaged or cut off at its start: {message}") from None
        raise errors.UnknownFormatError(f"not a known audio format: {message}") from None
    reader.truncated = is_malformed
    return reader


# How files of the formats above and below begin: RIFF, RF64, Wave64, FLAC, Ogg, AIFF, CAF, AU, ID3, MP4, Matroska, ASF.
_MAGIC = re.compile(rb"RIFF|RF64|riff|fLaC|OggS|FORM|caff|\.snd|ID3|....ftyp|\x1aE\xdf\xa3|0&\xb2u", re.DOTALL)
