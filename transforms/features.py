"""Owns YAMNet's front end: log-mel spectrograms of waveforms.

Window and FFT are computed in float64: in float32 their rounding fills the empty bands of tones and narrow-band sound,
and moves scores by up to 1e-3. In cache-sized blocks it costs no more than a whole spectrogram in float32.

Numbers from tensorflow/models research/audioset/yamnet (params.py, features.py): window 400, hop 160,
FFT 512, periodic Hann, magnitudes, 64 HTK mel bands from 125 to 7500 Hz, ln(mel + 0.001).
"""

import functools

import numpy as np
import numpy.typing as npt

from transforms.segments import PATCH_SAMPLES, SAMPLE_RATE_HZ, Waveform, padded_length

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SAMPLES = 512
NUM_BANDS = 64
MIN_HZ, MAX_HZ = 125.0, 7500.0
LOG_OFFSET = 0.001
BLOCK_FRAMES = 128  # at a time: 0.8 MB, which stays in a core's cache
GROUP_BANDS = 16  # at a time
PATCH_FRAMES = 96
PATCH_HOP_FRAMES = 48

Array = npt.NDArray[np.float32]


@functools.cache
def hann_window() -> npt.NDArray[np.float64]:
    """Periodic Hann window, float64 [400]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)


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
        waveform = np.concatenate([waveform, np.zeros(padding, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW_SAMPLES)[::HOP_SAMPLES]
    log_mel = np.empty((len(frames), NUM_BANDS), np.float32)
    groups = _groups_of_bands()
    # Made once: of this size, the allocator would fetch and return every array anew.
    windowed = np.zeros((BLOCK_FRAMES, FFT_SAMPLES))  # the zeros behind the window stay
    spectrum = np.empty((BLOCK_FRAMES, FFT_SAMPLES // 2 + 1), np.complex128)
    rounded = np.empty_like(spectrum, np.complex64)  # float32 is enough for magnitudes, and half the work
    magnitudes = np.empty_like(spectrum, np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = frames[start : start + BLOCK_FRAMES]
        count = len(block)
        np.multiply(block, hann_window(), out=windowed[:count, :WINDOW_SAMPLES])
        np.fft.rfft(windowed[:count], axis=1, out=spectrum[:count])
        rounded[:count] = spectrum[:count]
        np.abs(rounded[:count], out=magnitudes[:count])
        mel = log_mel[start : start + count]
        for bins, bands, weights in groups:
            np.matmul(magnitudes[:count, bins], weights, out=mel[:, bands])
        mel += np.float32(LOG_OFFSET)
        np.log(mel, out=mel)
    return log_mel


@functools.cache
def _groups_of_bands() -> list[tuple[slice, slice, Array]]:
    """`mel_matrix` in pieces: (bins, bands, weights) of 16 bands each, without the bins that none of them hears.

    That is half the work, and each product is so small that numpy's BLAS does it in the thread that asks: with threads
    of its own, as for the whole matrix, processes on all cores would spend their time waiting for each other's.
    """
    groups = []
    for first in range(0, NUM_BANDS, GROUP_BANDS):
        bands = slice(first, first + GROUP_BANDS)
        heard = np.flatnonzero(mel_matrix()[:, bands].any(axis=1))
        bins = slice(int(heard[0]), int(heard[-1]) + 1)
        groups.append((bins, bands, np.ascontiguousarray(mel_matrix()[bins, bands])))
    return groups


def patches_of(log_mel: Array) -> Array:
    """The overlapping patches of log-mel frames [num_frames, 64], as a view [num_patches, 96, 64]."""
    windows = np.lib.stride_tricks.sliding_window_view(log_mel, PATCH_FRAMES, axis=0)
    return windows[::PATCH_HOP_FRAMES].swapaxes(1, 2)


assert PATCH_SAMPLES == (PATCH_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES
