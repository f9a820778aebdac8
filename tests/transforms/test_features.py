"""The front end: log-mel and patches."""

import math
import time

import numpy as np
import pytest
import sounds
from hypothesis import given
from hypothesis import strategies as st

from transforms.features import hann_window, log_mel_spectrogram, mel_matrix, patches_of
from transforms.segments import cut, num_patches


def hertz_to_mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)  # HTK's own formula


def mel_weight(fft_bin: int, band: int) -> float:
    """One weight from the definition: a triangle on the mel scale between its neighbours' centres."""
    low, high = hertz_to_mel(125), hertz_to_mel(7500)
    left, centre, right = (low + (high - low) * (band + edge) / 65 for edge in range(3))
    mel = hertz_to_mel(fft_bin * 16_000 / 512)
    if left < mel <= centre:
        return (mel - left) / (centre - left)
    return (right - mel) / (right - centre) if centre < mel < right else 0.0


def test_mel_weights_are_those_of_the_formula():
    expected = np.array([[mel_weight(fft_bin, band) for band in range(64)] for fft_bin in range(257)])
    expected[0] = 0
    assert mel_matrix().dtype == np.float32
    np.testing.assert_allclose(mel_matrix(), expected, rtol=0, atol=1e-6)


def test_the_window_is_periodic_hann():
    expected = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    np.testing.assert_allclose(hann_window(), expected, rtol=0, atol=1e-7)
    assert hann_window()[200] == 1


def test_log_mel_is_that_of_a_plain_float64_computation():
    waveform = sounds.noise(1.0)
    padded = np.pad(waveform.astype(np.float64), (0, 23_280 - 16_000))
    weights = np.array([[mel_weight(fft_bin, band) for band in range(64)] for fft_bin in range(257)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [padded[160 * k : 160 * k + 400] * window for k in range(144)]
    expected = [np.log(np.abs(np.fft.rfft(frame, 512)) @ weights + 0.001) for frame in frames]
    np.testing.assert_allclose(log_mel_spectrogram(waveform), expected, rtol=0, atol=2e-5)


def test_log_mel_is_computed_in_the_thread_that_asks_for_it_alone():
    waveform = sounds.noise(10.0)
    of_all_threads, of_this_one = time.process_time(), time.thread_time()
    for _ in range(100):
        log_mel_spectrogram(waveform)
    of_all_threads, of_this_one = time.process_time() - of_all_threads, time.thread_time() - of_this_one
    assert of_all_threads < 1.3 * of_this_one


@given(st.integers(1, 100_000))
def test_frames_and_patches_are_those_of_the_padded_waveform(num_samples):
    log_mel = log_mel_spectrogram(np.zeros(num_samples, np.float32))
    patches = patches_of(log_mel)
    count = num_patches(num_samples)
    assert log_mel.shape == (96 + 48 * (count - 1), 64)
    assert patches.shape == (count, 96, 64)
    assert log_mel.dtype == patches.dtype == np.float32


@pytest.mark.parametrize("num_samples", [1, 15_600, 48_000])
def test_silence_is_the_offset_everywhere(num_samples):
    log_mel = log_mel_spectrogram(np.zeros(num_samples, np.float32))
    np.testing.assert_array_equal(log_mel, np.log(np.float32(0.001)))


def test_patches_overlap_by_half():
    log_mel = np.arange(240 * 64, dtype=np.float32).reshape(240, 64)
    patches = patches_of(log_mel)
    for patch in range(4):
        np.testing.assert_array_equal(patches[patch], log_mel[48 * patch : 48 * patch + 96])


def test_a_tone_is_loudest_in_its_band():
    log_mel = log_mel_spectrogram(sounds.tone(1000, 3.0))
    centres = [hertz_to_mel(125) + (hertz_to_mel(7500) - hertz_to_mel(125)) * band / 65 for band in range(1, 65)]
    nearest = np.abs(np.array(centres) - hertz_to_mel(1000)).argmin()
    assert log_mel[:200].mean(0).argmax() == nearest


@pytest.mark.parametrize("max_patches", [1, 2, 5, 64])
def test_log_mel_of_segments_is_that_of_the_whole(max_patches):
    waveform = sounds.noise(11.3)
    whole = patches_of(log_mel_spectrogram(waveform))
    for piece in cut([waveform], max_patches):
        patches = patches_of(log_mel_spectrogram(piece.waveform))
        expected = whole[piece.first_patch : piece.first_patch + len(patches)]
        np.testing.assert_allclose(patches, expected, rtol=0, atol=1e-6)


def test_the_waveform_is_left_as_it_was():
    waveform = sounds.noise(1.0)
    before = waveform.copy()
    log_mel_spectrogram(waveform)
    np.testing.assert_array_equal(waveform, before)
