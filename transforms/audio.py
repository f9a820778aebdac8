"""Owns decoding: bytes of any common format in, blocks of mono float32 at 16 kHz out.

libsndfile reads what it knows; PyAV (FFmpeg) reads the rest (AAC, WebM, WMA, AC-3 ...). Channels are averaged before
resampling, and resampling is soxr's HQ: lower qualities alias and move scores by up to 0.9.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from transforms import errors
from transforms.health import AudioHealth, HealthMeter
from transforms.segments import SAMPLE_RATE_HZ, Waveform
from transforms.stopwatch import measure

MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 64
BLOCK_VALUES = 1 << 21  # samples times channels decoded at a time: 8 MB, 23 s of CD stereo
PROBE_SAMPLES = 4096  # asked for past the end that the header claims

Samples = npt.NDArray[np.float32]


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


class Reader(Protocol):
    """One opened source; `truncated` is known once `blocks` is exhausted."""

    sample_rate_hz: int
    num_channels: int
    truncated: bool

    def blocks(self) -> Iterator[Samples]:
        """Yields decoded samples, float32 [n, num_channels], n > 0."""


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
        return AudioFacts(
            duration_s=self._num_decoded / self._reader.sample_rate_hz,
            sample_rate_hz=self._reader.sample_rate_hz,
            num_channels=self._reader.num_channels,
            num_samples=self._num_samples,
            truncated=self._reader.truncated,
            health=self._meter.result(),
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
            resampled = stream.resample_chunk(block, last=following is None)
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


class SoundFileReader:
    """Reads with libsndfile: WAV, RF64, W64, FLAC, Ogg Vorbis, Opus, MP3, AIFF, AU, CAF."""

    def __init__(self, source: BinaryIO) -> None:
        self._file = soundfile.SoundFile(source)
        self._source = source
        self.sample_rate_hz: int = self._file.samplerate
        self.num_channels: int = self._file.channels
        self.truncated = False

    def blocks(self) -> Iterator[Samples]:
        """Yields float32 [n, num_channels]; what a damaged stream still holds before its damage is kept."""
        size = max(1, BLOCK_VALUES // self.num_channels)
        num_decoded = 0
        with self._file as file:
            while True:
                claimed = file.frames - num_decoded
                # Past the claimed end there is rarely more, and libsndfile fills the whole block with zeros.
                block = np.empty((min(size, claimed) if claimed > 0 else PROBE_SAMPLES, self.num_channels), np.float32)
                with measure("decode", block.nbytes):
                    try:
                        num_read = len(file.read(out=block))
                    except soundfile.LibsndfileError:
                        num_read = max(0, file.tell() - num_decoded)  # the samples before the damage
                        self.truncated = True
                num_decoded += num_read
                if num_read:
                    yield block[:num_read]
                if num_read < len(block) or self.truncated:
                    break
            self.truncated = self.truncated or self._promised_more(num_decoded)

    def _promised_more(self, num_decoded: int) -> bool:
        """Whether the container says that sound is missing; libsndfile reads short without an error."""
        if self._file.format == "OGG":
            return not _ends_ogg_stream(self._source)
        if self._file.format == "MP3":
            # Without a Xing or Info header the number of frames is an estimate.
            missing = self._file.frames - num_decoded
            return missing > _MP3_SLACK and _has_mp3_frame_count(self._source)
        if self._file.frames > num_decoded and self._file.format == "FLAC":
            return True
        return any(
            found < claimed < _STREAMED_SIZE
            for claimed, found in (map(int, pair) for pair in _SHORT_SIZE.findall(self._file.extra_info))
        )


# libsndfile's log of a size that the file does not hold: "data : 882000 (should be 529182)".
_SHORT_SIZE = re.compile(r"(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)")
_STREAMED_SIZE = 0x7FFF0000  # writers to a pipe put 0x7FFFF000 or more where they cannot know the size
_MP3_SLACK = 2 * 1152  # samples of two MP3 frames: encoder delay and padding


def _ends_ogg_stream(source: BinaryIO) -> bool:
    """Whether the last Ogg page is whole and carries the end-of-stream flag (RFC 3533, section 6)."""
    end = source.seek(0, io.SEEK_END)
    source.seek(max(0, end - (1 << 17)))  # a page has at most 65 307 bytes
    tail = source.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27:
        return False
    lacing = tail[page + 27 : page + 27 + tail[page + 26]]
    is_whole = len(tail) >= page + 27 + tail[page + 26] + sum(lacing)
    return is_whole and bool(tail[page + 5] & 4)


def _has_mp3_frame_count(source: BinaryIO) -> bool:
    source.seek(0)
    head = source.read(10)
    if head[:3] == b"ID3":  # a tag's size: 28 bits in four bytes of seven
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        source.seek(10 + size)
    first_frame = source.read(4096)
    return b"Xing" in first_frame or b"Info" in first_frame


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
                if num_gathered * self.num_channels >= BLOCK_VALUES:
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
        return num_decoded / self.sample_rate_hz < claimed_s - _CONTAINER_SLACK_S


_CONTAINER_SLACK_S = 0.1  # encoder delay and padding
