"""Owns YAMNet's front end: log-mel spectrograms of waveforms, in float32 by scipy's FFT.

Numbers from tensorflow/models research/audioset/yamnet (params.py, features.py): window 400, hop 160,
FFT 512, periodic Hann, magnitudes, 64 HTK mel bands from 125 to 7500 Hz, ln(mel + 0.001).
"""

import functools

import numpy as np
import numpy.typing as npt
import scipy.fft

from transforms.segments import PATCH_SAMPLES, SAMPLE_RATE_HZ, Waveform, padded_length

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SAMPLES = 512
NUM_BANDS = 64
MIN_HZ, MAX_HZ = 125.0, 7500.0
LOG_OFFSET = 0.001
PATCH_FRAMES = 96
PATCH_HOP_FRAMES = 48

Array = npt.NDArray[np.float32]


@functools.cache
def hann_window() -> Array:
    """Periodic Hann window, float32 [400]."""
    phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


@functools.cache
def mel_matrix() -> Array:
    """HTK mel weights, float32 [257, 64]: triangles of peak 1, no area norm, DC row zero."""
    hertz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1)[1:]
    mels = 1127.0 * np.log1p(hertz / 700.0)
    low, high = 1127.0 * np.log1p(np.array([MIN_HZ, MAX_HZ]) / 700.0)
    edges = np.linspace(low, high, NUM_BANDS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (mels[:, None] - left) / (centre - left)
    falling = (right - mels[:, None]) / (right - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return np.concatenate([np.zeros((1, NUM_BANDS)), weights]).astype(np.float32)


def log_mel_spectrogram(waveform: Waveform) -> Array:
    """Log-mel frames, float32 [num_frames, 64], of a waveform float32 [num_samples] at 16 kHz.

    Zeros are appended up to whole patches first, so num_frames = 96 + 48 (num_patches - 1).
    """
    padding = padded_length(len(waveform)) - len(waveform)
    if padding:
        waveform = np.pad(waveform, (0, padding))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW_SAMPLES)[::HOP_SAMPLES]
    # scipy's rfft stays in float32; numpy's computes in double and takes three times as long.
    spectrum = scipy.fft.rfft(frames * hann_window(), FFT_SAMPLES, axis=1)
    mel = np.abs(spectrum) @ mel_matrix()
    mel += np.float32(LOG_OFFSET)
    return np.log(mel, out=mel)


def patches_of(log_mel: Array) -> Array:
    """The overlapping patches of log-mel frames [num_frames, 64], as a view [num_patches, 96, 64]."""
    windows = np.lib.stride_tricks.sliding_window_view(log_mel, PATCH_FRAMES, axis=0)
    return windows[::PATCH_HOP_FRAMES].swapaxes(1, 2)


assert PATCH_SAMPLES == (PATCH_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES
