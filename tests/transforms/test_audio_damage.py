"""Decoding of files that are not as they should be: cut, broken, or no sound at all."""

import functools
import io
import re
import struct

import numpy as np
import pytest
import sounds

from transforms import errors
from transforms.audio import AudioFacts, Decoder


def decode(content: bytes) -> tuple[np.ndarray, AudioFacts]:
    decoder = Decoder(io.BytesIO(content))
    return np.concatenate(list(decoder)), decoder.facts


def wav(
    data: bytes = bytes(3200), *, rate_hz: int = 16_000, num_channels: int = 1, claimed: int | None = None
) -> bytes:
    """A 16-bit WAV whose header claims what it is told, `claimed` bytes of data."""
    claimed = len(data) if claimed is None else claimed
    width = 2 * num_channels
    layout = struct.pack("<HHIIHH", 1, num_channels, rate_hz, rate_hz * width & 0xFFFFFFFF, width & 0xFFFF, 16)
    riff = struct.pack("<I", min(claimed + 36, 0xFFFFFFFF))
    return b"".join([b"RIFF", riff, b"WAVEfmt \x10\0\0\0", layout, b"data", struct.pack("<I", claimed), data])


def with_one(value: float) -> bytes:
    samples = sounds.tone()
    samples[777] = value
    return sounds.sound_file(samples, subtype="FLOAT")


SOUND = sounds.tone(duration_s=10.0) + sounds.noise(10.0, peak=0.1)
PCM = np.round(sounds.tone(duration_s=1.0) * 32_767).astype("<i2").tobytes()

# kind -> how it is made by `sounds`
KINDS: dict[str, tuple[str, ...]] = {
    "wav": ("WAV", "PCM_16"),
    "wav float": ("WAV", "FLOAT"),
    "wav adpcm": ("WAV", "IMA_ADPCM"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf alac": ("CAF", "ALAC_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "wma": ("asf", "wmav2"),
    "wavpack": ("wv", "wavpack"),
}


@functools.cache
def file_of(kind: str) -> bytes:
    """Ten seconds of tone and noise at 16 kHz, in a file of this kind."""
    container, codec = KINDS[kind]
    if container.isupper():
        return sounds.sound_file(SOUND, 16_000, container, codec)
    options = {"movflags": "+faststart"} if container == "ipod" else {}  # the index first
    return sounds.ffmpeg_file(SOUND, 16_000, container, codec, container_options=options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_flagged_and_what_it_holds_is_kept(kind):
    whole = file_of(kind)
    waveform, facts = decode(whole[: len(whole) * 6 // 10])
    assert facts.truncated
    assert 4 <= facts.duration_s < 6.5  # codecs lose their last block
    assert facts.num_samples == len(waveform) == pytest.approx(facts.duration_s * 16_000, abs=1)
    np.testing.assert_allclose(waveform[16_000:32_000], decode(whole)[0][16_000:32_000], atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_not_flagged(kind):
    _, facts = decode(file_of(kind))
    assert not facts.truncated
    assert facts.duration_s == pytest.approx(10, abs=0.15)


def test_a_cut_pcm_caf_is_flagged():
    whole = sounds.sound_file(SOUND, file_format="CAF")
    _, facts = decode(whole[: len(whole) * 6 // 10])
    assert 5 < facts.duration_s < 6.5
    assert facts.truncated


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
@pytest.mark.parametrize("missing", [1, 100])
def test_an_ogg_cut_inside_its_last_page_is_flagged(kind, missing):
    _, facts = decode(file_of(kind)[:-missing])
    assert facts.truncated


def test_a_cut_stream_without_any_promise_is_read_as_far_as_it_goes():
    whole = sounds.ffmpeg_file(np.repeat(SOUND, 3), 48_000, "ac3", "ac3")  # frames, and no count of them
    _, facts = decode(whole[: len(whole) * 6 // 10])
    assert facts.duration_s == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("other", [(48_000, 6), (44_100, 2)], ids=["more channels", "another rate"])
def test_a_broadcast_that_changes_its_format_is_read_up_to_there(other):
    rate_hz, num_channels = other
    first = sounds.ffmpeg_file(sounds.tones(2, 2.0, 48_000), 48_000, "ac3", "ac3")
    second = sounds.ffmpeg_file(sounds.tones(num_channels, 2.0, rate_hz), rate_hz, "ac3", "ac3")
    _, facts = decode(first + second)
    assert facts.duration_s == pytest.approx(2.0, abs=0.06)
    assert facts.truncated


def test_flac_damaged_in_the_middle_keeps_what_came_before():
    whole = bytearray(file_of("flac"))
    middle = len(whole) // 2
    whole[middle : middle + 200] = bytes(200)
    waveform, facts = decode(bytes(whole))
    assert facts.truncated
    assert 4 < facts.duration_s < 6
    np.testing.assert_array_equal(waveform[:48_000], decode(file_of("flac"))[0][:48_000])


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFF024])
def test_a_stream_of_unknown_size_is_not_flagged(claimed):
    waveform, facts = decode(wav(PCM, claimed=claimed))
    assert (facts.truncated, facts.duration_s) == (False, 1.0)
    np.testing.assert_array_equal(waveform, np.frombuffer(PCM, "<i2") / np.float32(32_768))


@pytest.mark.parametrize("rate_hz", [1000, 768_000])
def test_the_widest_rates_are_read(rate_hz):
    assert decode(wav(rate_hz=rate_hz))[1].sample_rate_hz == rate_hz


def test_sixty_four_channels_are_read():
    assert decode(wav(num_channels=64))[1].num_channels == 64


BROKEN = {
    "no bytes": (b"", errors.EmptyAudioError, "0 bytes"),
    "text": (b"These are words, not samples. " * 40, errors.UnknownFormatError, "libsndfile: .*FFmpeg: "),
    "a web page": (b"<!DOCTYPE html><html>404 Not Found</html>", errors.UnknownFormatError, "libsndfile: .*FFmpeg: "),
    "one byte": (b"R", errors.UnknownFormatError, "libsndfile: .*FFmpeg: "),
    "zeros": (bytes(5000), errors.UnknownFormatError, "libsndfile: .*FFmpeg: "),
    "random bytes": (np.random.RandomState(0).bytes(5000), errors.UnknownFormatError, "libsndfile: .*FFmpeg: "),
    "a zip archive": (b"PK\3\4" + bytes(500), errors.UnknownFormatError, "libsndfile: .*FFmpeg: "),
    "a tag alone": (b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014), errors.CorruptAudioError, "cut off at its start"),
    "a start alone": (b"RIFF\x24\0\0\0WAVE", errors.CorruptAudioError, "cut off at its start"),
    "half a FLAC header": (file_of("flac")[:60], errors.CorruptAudioError, "cut off at its start"),
    "half an Ogg page": (file_of("vorbis")[:40], errors.CorruptAudioError, "cut off at its start"),
    "an M4A without its index": (
        sounds.ffmpeg_file(SOUND, 16_000, "ipod", "aac")[:-2000],
        errors.CorruptAudioError,
        "cut off at its start",
    ),
    "a header alone": (file_of("wav")[:44], errors.CorruptAudioError, "no sample could be decoded"),
    "a FLAC header alone": (file_of("flac")[:86], errors.CorruptAudioError, "no sample could be decoded"),
    "an Ogg header alone": (file_of("vorbis")[:4500], errors.CorruptAudioError, "no sample could be decoded"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(400), errors.UnknownFormatError, "without an audio stream"),
    "no samples": (wav(b""), errors.EmptyAudioError, "no samples"),
    "a data size of zero": (wav(PCM, claimed=0), errors.EmptyAudioError, "no samples"),
    "NaN": (with_one(np.nan), errors.NonFiniteAudioError, "NaN or infinite"),
    "Inf": (with_one(np.inf), errors.NonFiniteAudioError, "NaN or infinite"),
    "-Inf": (with_one(-np.inf), errors.NonFiniteAudioError, "NaN or infinite"),
    "65 channels": (wav(bytes(1300), num_channels=65), errors.ImplausibleHeaderError, "65 channels.* at most 64"),
    "1024 channels": (wav(bytes(4096), num_channels=1024), errors.ImplausibleHeaderError, "1024 channels"),
    "999 Hz": (wav(rate_hz=999), errors.ImplausibleHeaderError, "999 Hz.* 1000 to 768000 Hz"),
    "768001 Hz": (wav(rate_hz=768_001), errors.ImplausibleHeaderError, "768001 Hz.* 1000 to 768000 Hz"),
    "two gigahertz": (wav(rate_hz=2**31 - 1), errors.ImplausibleHeaderError, "2147483647 Hz"),
}


def test_a_silent_film_is_not_called_damaged():
    with pytest.raises(errors.AudioError, match="without an audio stream") as refusal:
        decode(sounds.video_file(None))
    assert "damaged" not in str(refusal.value)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_sound_is_refused_with_its_code_and_a_reason(kind):
    content, error, message = BROKEN[kind]
    with pytest.raises(errors.AudioError) as refusal:
        decode(content)
    assert refusal.value.code == error.code
    assert re.search(message, str(refusal.value))
    assert not refusal.value.retryable


# soundfile hands a damaged offset to seek and prints the ValueError that it then ignores.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["wav", "flac", "aiff", "vorbis", "opus", "mp3", "webm"])
def test_wherever_a_file_is_cut_it_decodes_or_dies_of_an_audio_error(kind):
    whole = file_of(kind)
    for length in np.geomspace(1, len(whole) - 1, 40).astype(int):
        try:
            waveform, facts = decode(whole[:length])
        except errors.AudioError:
            continue
        assert facts.num_samples == len(waveform) > 0


def test_wherever_the_index_of_an_m4a_is_cut_it_dies_of_an_audio_error():
    whole = file_of("m4a")
    for length in range(36, whole.find(b"mdat"), 11):
        with pytest.raises(errors.AudioError):
            decode(whole[:length])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["wav", "flac", "aiff", "vorbis", "mp3", "m4a"])
def test_random_damage_decodes_or_dies_of_an_audio_error(kind):
    rng = np.random.default_rng(3)
    for _ in range(20):
        damaged = bytearray(file_of(kind))
        for place in rng.integers(0, len(damaged), 30):
            damaged[place] = rng.integers(256)
        try:
            waveform, facts = decode(bytes(damaged))
        except errors.AudioError:
            continue
        assert np.isfinite(waveform).all()
        assert facts.num_samples == len(waveform)
