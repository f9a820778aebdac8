"""libsndfile, through soundfile: WAV, FLAC, Ogg, MP3, AIFF and their like.

Two shortcuts give the same samples, bit for bit: integers are read as they are stored and scaled by numpy (libsndfile
scales one at a time), and a short FLAC that is whole is decoded by dr_flac, through miniaudio, in half the time.
"""

import io
import re
from collections.abc import Iterator
from typing import BinaryIO

import miniaudio
import numpy as np
import soundfile

from transforms.readers import base
from transforms.readers.base import Samples
from transforms.stopwatch import measure

PROBE_SAMPLES = 4096  # asked for past the end that the header claims
MAX_FLAC_BYTES = 8 << 20  # what a block takes without compression, and pictures
STORED = {"PCM_16": np.int16, "PCM_32": np.int32}  # what may be read as it is stored, by libsndfile's subtype


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
        size = max(1, base.BLOCK_VALUES // self.num_channels)
        dtype = STORED.get(self._file.subtype, np.float32)
        num_decoded = 0
        with self._file as file:
            with measure("decode") as step:
                whole = self._whole_flac()
                step.num_bytes = whole.nbytes
            if len(whole):
                yield whole
                return
            while True:
                claimed = file.frames - num_decoded
                # Past the claimed end there is rarely more, and libsndfile fills the whole block with zeros.
                block = np.empty((min(size, claimed) if claimed > 0 else PROBE_SAMPLES, self.num_channels), dtype)
                with measure("decode", block.nbytes):
                    try:
                        num_read = len(file.read(out=block))
                    except soundfile.LibsndfileError:
                        num_read = max(0, file.tell() - num_decoded)  # the samples before the damage
                        self.truncated = True
                    samples = _as_float(block[:num_read])
                num_decoded += num_read
                if num_read:
                    yield samples
                if num_read < len(block) or self.truncated:
                    break
            self.truncated = self.truncated or self._promised_more(num_decoded)

    def _whole_flac(self) -> Samples:
        """All samples [n, num_channels] of a FLAC of one block; none of one that is longer, damaged, or anything else.

        dr_flac leaves out the frames whose checksum is wrong, so what is damaged comes out short.
        """
        nothing = np.empty((0, self.num_channels), np.float32)
        if self._file.format != "FLAC" or not 0 < self._file.frames * self.num_channels <= base.BLOCK_VALUES:
            return nothing
        position = self._source.tell()
        self._source.seek(0)
        content = self._source.read(MAX_FLAC_BYTES + 1)
        self._source.seek(position)
        if len(content) > MAX_FLAC_BYTES:
            return nothing
        try:
            found = miniaudio.flac_read_f32(content)
        except miniaudio.DecodeError:
            return nothing
        is_whole = (found.num_frames, found.nchannels) == (self._file.frames, self.num_channels)
        return np.frombuffer(found.samples, np.float32).reshape(-1, self.num_channels) if is_whole else nothing

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


def _as_float(block: np.ndarray) -> Samples:
    """Integers in the range [-1, 1), as libsndfile scales them; floats as they are."""
    if block.dtype == np.float32:
        return block
    samples = block.astype(np.float32)
    samples *= np.float32(1 / -float(np.iinfo(block.dtype).min))
    return samples


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
