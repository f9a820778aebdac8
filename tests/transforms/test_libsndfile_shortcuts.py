"""The shortcuts past libsndfile: the same samples, bit for bit, and the same verdict on what is damaged."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
import sounds

from transforms.readers.libsndfile import SoundFileReader

RATE_HZ = 44_100
STEREO = np.stack([sounds.noise(1.5, RATE_HZ, peak=1.0, seed=seed) for seed in (1, 2)], axis=1)


def read(content: bytes) -> tuple[np.ndarray, bool]:
    reader = SoundFileReader(io.BytesIO(content))
    blocks = list(reader.blocks())
    return np.concatenate(blocks) if blocks else np.empty((0, reader.num_channels), np.float32), reader.truncated


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
        *((container, "PCM_16") for container in ("AIFF", "AU", "CAF", "W64", "RF64", "WAVEX")),
        *(("FLAC", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24")),
    ],
)
def test_samples_are_those_of_libsndfile(container: str, subtype: str) -> None:
    content = sounds.sound_file(STEREO, RATE_HZ, container, subtype)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    found, truncated = read(content)
    assert not truncated
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_a_whole_flac_does_not_pass_through_libsndfile(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("libsndfile decoded it")

    content = sounds.sound_file(STEREO, RATE_HZ, "FLAC")
    monkeypatch.setattr(soundfile.SoundFile, "read", refuse)
    assert len(read(content)[0]) == len(STEREO)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_flac_is_what_libsndfile_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sounds.sound_file(STEREO, RATE_HZ, "FLAC")
    rng = np.random.default_rng(7)
    cases = [whole[: rng.integers(90, len(whole))] for _ in range(20)]
    for count in (1, 3, 100):
        for _ in range(25):
            damaged = bytearray(whole)
            for place in rng.integers(42, len(whole), count):
                damaged[place] ^= 1 << rng.integers(8)
            cases.append(bytes(damaged))
    found = [read(case) for case in cases]
    monkeypatch.setattr(SoundFileReader, "_whole_flac", lambda self: np.empty((0, self.num_channels), np.float32))
    for (samples, truncated), case in zip(found, cases, strict=True):
        expected, expected_truncated = read(case)
        assert truncated == expected_truncated
        np.testing.assert_array_equal(samples, expected)


def test_a_flac_with_many_bytes_of_something_else_is_read_all_the_same() -> None:
    whole = sounds.sound_file(STEREO, RATE_HZ, "FLAC")
    padding = bytes([1]) + (9 << 20).to_bytes(3, "big") + bytes(9 << 20)  # RFC 9639, 8.3: not the last metadata block
    samples, truncated = read(whole[:42] + padding + whole[42:])
    assert (len(samples), truncated) == (len(STEREO), False)
