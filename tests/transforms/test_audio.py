"""Decoding of files that are as they should be."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile
import sounds
import soxr

from transforms import errors
from transforms.audio import AudioFacts, Decoder, downmix
from transforms.readers import base

CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF", "OGG", "MP3")
# Half a step of the coarsest rounding on the way, of full scale.
STEPS = {
    "PCM_S8": 2**-7,
    "PCM_U8": 2**-7,
    "PCM_16": 2**-15,
    "PCM_24": 2**-23,
    "PCM_32": 2**-23,  # float32 holds 24 bits
    "FLOAT": 2**-24,
    "DOUBLE": 2**-24,
    "ALAC_16": 2**-15,
    "ALAC_20": 2**-19,
    "ALAC_24": 2**-23,
    "ALAC_32": 2**-23,
}
# The least signal-to-noise ratio, in dB.
RATIOS = {
    "ULAW": 35,
    "ALAW": 35,
    "IMA_ADPCM": 30,
    "MS_ADPCM": 38,
    "GSM610": 20,
    "G721_32": 30,
    "VORBIS": 30,
    "OPUS": 20,
    "MPEG_LAYER_III": 30,
}
MONO = {"GSM610", "G721_32"}  # codecs of telephones

# Container, codec and rate that FFmpeg writes and libsndfile does not read.
FFMPEG_FILES = [
    ("mp4", "aac", 44_100),  # .mp4, .m4a
    ("ipod", "alac", 44_100),  # .m4a, lossless
    ("adts", "aac", 48_000),  # .aac
    ("webm", "libopus", 48_000),
    ("matroska", "pcm_s16le", 22_050),
    ("ac3", "ac3", 48_000),
    ("asf", "wmav2", 44_100),  # .wma
    ("wv", "wavpack", 44_100),
    ("mp2", "mp2", 32_000),
]


def decode(content: bytes, max_duration_s: float | None = None) -> tuple[np.ndarray, AudioFacts]:
    decoder = Decoder(io.BytesIO(content), max_duration_s=max_duration_s)
    return np.concatenate(list(decoder)), decoder.facts


def writable(subtypes: Sequence[str]) -> list[tuple[str, str]]:
    """What this libsndfile writes, except MP3 inside WAV: it says it does, and refuses."""
    pairs = [(container, subtype) for container in CONTAINERS for subtype in subtypes]
    return [pair for pair in pairs if soundfile.check_format(*pair) and pair != ("WAV", "MPEG_LAYER_III")]


def decibels(signal: np.ndarray, other: np.ndarray) -> float:
    """Signal to noise of `other`, which may be longer."""
    return float(10 * np.log10((signal**2).sum() / ((signal - other[: len(signal)]) ** 2).sum()))


def level_and_pitch(waveform: np.ndarray) -> tuple[float, float]:
    """RMS in dB and the strongest frequency of the middle half, where no codec fades in or out."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return 20 * np.log10(np.sqrt((middle**2).mean())), spectrum.argmax() * 16_000 / len(middle)


@pytest.mark.parametrize(("container", "subtype"), writable(list(STEPS)))
def test_lossless_files_decode_to_their_samples(container, subtype):
    samples = sounds.tones(2, 0.5)
    waveform, facts = decode(sounds.sound_file(samples, 16_000, container, subtype))
    np.testing.assert_allclose(waveform, samples.mean(axis=1), rtol=0, atol=STEPS[subtype])
    assert (facts.duration_s, facts.sample_rate_hz, facts.num_channels) == (0.5, 16_000, 2)
    assert (facts.num_samples, facts.truncated) == (8000, False)


@pytest.mark.parametrize(("container", "subtype"), writable(list(RATIOS)))
def test_lossy_files_decode_to_nearly_their_samples(container, subtype):
    samples = sounds.tones(1 if subtype in MONO else 2, 2.0)
    waveform, facts = decode(sounds.sound_file(samples, 16_000, container, subtype))
    assert decibels(samples.mean(axis=1), waveform) > RATIOS[subtype]
    assert (facts.sample_rate_hz, facts.num_channels, facts.truncated) == (16_000, samples.shape[1], False)
    assert facts.duration_s == pytest.approx(2.0, abs=0.04)  # ADPCM fills its last block


@pytest.mark.parametrize(("container", "codec", "rate_hz"), FFMPEG_FILES)
def test_files_that_libsndfile_does_not_know_decode_by_ffmpeg(container, codec, rate_hz):
    left = sounds.tone(1000, 2.0, rate_hz, peak=0.5)
    content = sounds.ffmpeg_file(np.stack([left, left], axis=1), rate_hz, container, codec)
    waveform, facts = decode(content)
    level, pitch = level_and_pitch(waveform)
    assert pitch == pytest.approx(1000, abs=2)
    assert level == pytest.approx(-9.03, abs=0.3)  # FFmpeg's own downmix would be 3 dB louder
    assert facts.duration_s == pytest.approx(2.0, abs=0.06)  # encoders fill their last block
    assert facts.num_samples == len(waveform) == pytest.approx(facts.duration_s * 16_000, abs=1)
    assert (facts.sample_rate_hz, facts.num_channels, facts.truncated) == (rate_hz, 2, False)


def test_six_channels_of_ac3_are_averaged():
    samples = np.repeat(sounds.tone(1000, 1.0, 48_000)[:, None], 6, axis=1)
    samples[:, 3] = 0  # the low-frequency channel holds no 1000 Hz
    waveform, facts = decode(sounds.ffmpeg_file(samples, 48_000, "ac3", "ac3"))
    assert facts.num_channels == 6
    assert level_and_pitch(waveform)[0] == pytest.approx(-9.03 + 20 * np.log10(5 / 6), abs=0.3)


def test_the_sound_of_a_video_is_found():
    content = sounds.video_file(sounds.tone(1000, 2.0, 48_000), 48_000)
    assert level_and_pitch(decode(content)[0])[1] == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("rate_hz", [1000, 8000, 11_025, 22_050, 44_100, 48_000, 96_000, 768_000])
def test_every_rate_keeps_pitch_level_and_duration(rate_hz):
    waveform, facts = decode(sounds.sound_file(sounds.tone(300, 2.0, rate_hz), rate_hz))
    level, pitch = level_and_pitch(waveform)
    assert (facts.duration_s, facts.sample_rate_hz) == (2.0, rate_hz)
    assert len(waveform) == pytest.approx(32_000, abs=1)
    assert (level, pitch) == pytest.approx((-9.03, 300), abs=1)


def test_sound_above_eight_kilohertz_does_not_fold_down():
    waveform, _ = decode(sounds.sound_file(sounds.tone(12_000, 1.0, 48_000), 48_000))
    assert np.abs(waveform[1000:-1000]).max() < 1e-4


@pytest.mark.parametrize("block_values", [2, 1000, 16_000, 50_001])
@pytest.mark.parametrize(
    ("rate_hz", "container", "subtype"),
    [(16_000, "WAV", "FLOAT"), (44_100, "WAV", "FLOAT"), (44_100, "FLAC", "PCM_16"), (48_000, "OGG", "VORBIS")],
)
def test_block_size_does_not_change_a_bit(monkeypatch, block_values, rate_hz, container, subtype):
    duration_s = 300 / rate_hz if block_values == 2 else 0.7
    samples = np.stack([sounds.noise(duration_s, rate_hz, seed=seed) for seed in (1, 2)], axis=1)
    content = sounds.sound_file(samples, rate_hz, container, subtype)
    whole, whole_facts = decode(content)
    monkeypatch.setattr(base, "BLOCK_VALUES", block_values)
    waveform, facts = decode(content)
    np.testing.assert_array_equal(waveform, whole)
    assert (facts.duration_s, facts.num_samples) == (whole_facts.duration_s, whole_facts.num_samples)


def test_block_size_does_not_change_a_bit_by_ffmpeg(monkeypatch):
    content = sounds.ffmpeg_file(sounds.noise(1.0, 44_100), 44_100, "mp4", "aac")
    whole, _ = decode(content)
    monkeypatch.setattr(base, "BLOCK_VALUES", 1500)
    np.testing.assert_array_equal(decode(content)[0], whole)


def test_streamed_resampling_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(base, "BLOCK_VALUES", 3001)
    samples = sounds.noise(1.0, 44_100)
    waveform, _ = decode(sounds.sound_file(samples, 44_100, subtype="FLOAT"))
    np.testing.assert_array_equal(waveform, soxr.resample(samples, 44_100, 16_000, quality="HQ"))


@pytest.mark.parametrize("num_channels", [1, 2, 3, 6, 64])
def test_downmix_is_the_mean_of_the_channels(num_channels):
    block = np.stack([sounds.noise(0.1, seed=channel) for channel in range(num_channels)], axis=1)
    before = block.copy()
    mono = downmix(block)
    assert (mono.dtype, mono.shape) == (np.float32, (1600,))
    np.testing.assert_allclose(mono, block.mean(axis=1, dtype=np.float64), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(block, before)


def test_a_single_sample_decodes():
    waveform, facts = decode(sounds.sound_file(np.array([0.5], np.float32)))
    assert waveform.tolist() == [0.5]
    assert facts.duration_s == 1 / 16_000


def test_a_clip_of_exactly_the_longest_duration_is_read():
    content = sounds.sound_file(sounds.tone(duration_s=1.0))
    assert decode(content, max_duration_s=1.0)[1].duration_s == 1.0
    with pytest.raises(errors.TooLongError, match=r"0\.9 s.*--max_duration_s"):
        decode(content, max_duration_s=0.9)


def test_a_compression_bomb_is_left_after_its_first_block():
    bomb = sounds.sound_file(sounds.silence(600.0, 44_100), 44_100, "FLAC")
    assert len(bomb) < 100_000
    decoder = Decoder(io.BytesIO(bomb), max_duration_s=5.0)
    with pytest.raises(errors.TooLongError):
        list(decoder)
    assert 5 < decoder.facts.duration_s <= 5 + base.BLOCK_VALUES / 44_100


def test_decoding_streams_blocks_of_bounded_size():
    source = io.BytesIO(sounds.sound_file(sounds.tones(2, 100.0, 44_100), 44_100))
    blocks = [len(block) for block in Decoder(source)]
    assert sum(blocks) == 1_600_000
    assert max(blocks) <= base.BLOCK_VALUES / 2 * 16_000 / 44_100 + 1000
