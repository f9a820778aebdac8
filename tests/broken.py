"""Owns the ways in which a file can fail to be a clip, each with the stage and code of its dead letter."""

import io
import struct

import numpy as np
import sounds


def _wav(rate_hz: int = 16_000, num_channels: int = 1, data: bytes = b"\0" * 3200) -> bytes:
    """A 16-bit WAV whose header claims what it is told."""
    block = 2 * num_channels
    header = struct.pack("<HHIIHH", 1, num_channels, rate_hz, min(rate_hz * block, 2**32 - 1), block, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt \x10\0\0\0"
        + header
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def _with(value: float) -> bytes:
    samples = sounds.tone(duration_s=0.5)
    samples[1000] = value
    return sounds.sound_file(samples, subtype="FLOAT")


def _flac() -> bytes:
    return sounds.sound_file(sounds.noise(2.0), file_format="FLAC")


def _ogg() -> bytes:
    return sounds.sound_file(sounds.noise(2.0), 16_000, "OGG", "VORBIS")


# name -> (bytes, stage, code)
FILES: dict[str, tuple[bytes, str, str]] = {
    "empty.wav": (b"", "DecodeClips", "empty_audio"),
    "empty.flac": (b"", "DecodeClips", "empty_audio"),
    "page.mp3": (b"<html>not found</html>", "DecodeClips", "unknown_format"),
    "text.wav": (b"These are words, not samples. " * 40, "DecodeClips", "unknown_format"),
    "zeros.flac": (bytes(5000), "DecodeClips", "unknown_format"),
    "random.ogg": (np.random.default_rng(7).bytes(5000), "DecodeClips", "unknown_format"),
    "picture.wav": (b"\x89PNG\r\n\x1a\n" + bytes(400), "DecodeClips", "unknown_format"),
    "no samples.wav": (sounds.sound_file(np.zeros(0, np.float32)), "DecodeClips", "empty_audio"),
    "zero data size.wav": (_wav(data=b""), "DecodeClips", "empty_audio"),
    "header only.flac": (_flac()[:60], "DecodeClips", "corrupt_audio"),
    "first page only.ogg": (_ogg()[:40], "DecodeClips", "corrupt_audio"),
    "riff only.wav": (b"RIFF\x24\0\0\0WAVE", "DecodeClips", "corrupt_audio"),
    "nan.wav": (_with(float("nan")), "DecodeClips", "non_finite_audio"),
    "inf.wav": (_with(float("inf")), "DecodeClips", "non_finite_audio"),
    "many channels.wav": (_wav(num_channels=1024, data=bytes(2048 * 10)), "DecodeClips", "implausible_header"),
    "fast.wav": (_wav(rate_hz=2**31 - 1), "DecodeClips", "implausible_header"),
    "slow.wav": (_wav(rate_hz=10), "DecodeClips", "implausible_header"),
    "too long.wav": (sounds.sound_file(sounds.tone(duration_s=35.0)), "DecodeClips", "too_long"),
    "bomb.flac": (sounds.sound_file(sounds.silence(120.0), file_format="FLAC"), "DecodeClips", "too_long"),
    "too large.wav": (sounds.sound_file(sounds.noise(20.0), subtype="DOUBLE"), "ReadClips", "too_large"),
}  # fmt: skip
MAX_DURATION_S = 30.0
MAX_BYTES = 2_000_000


def test_every_broken_file_has_the_size_it_should() -> None:
    """Guards the limits above: only `too large` is over the bytes, so that each file dies of its own trouble."""
    over = [name for name, (content, _, _) in FILES.items() if len(io.BytesIO(content).getvalue()) > MAX_BYTES]
    assert over == ["too large.wav"]
