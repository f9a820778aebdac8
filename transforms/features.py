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
    bins, weights = _used_bins()
    # Made once: of this size, the allocator would fetch and return every array anew.
    windowed = np.zeros((BLOCK_FRAMES, FFT_SAMPLES))  # the zeros behind the window stay
    spectrum = np.empty((BLOCK_FRAMES, FFT_SAMPLES // 2 + 1), np.complex128)
    magnitudes = np.empty((BLOCK_FRAMES, len(weights)), np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = frames[start : start + BLOCK_FRAMES]
        count = len(block)
        np.multiply(block, hann_window(), out=windowed[:count, :WINDOW_SAMPLES])
        np.fft.rfft(windowed[:count], axis=1, out=spectrum[:count])
        magnitudes[:count] = np.abs(spectrum[:count, bins])
        mel = np.matmul(magnitudes[:count], weights, out=log_mel[start : start + count])
        mel += np.float32(LOG_OFFSET)
        np.log(mel, out=mel)
    return log_mel


@functools.cache
def _used_bins() -> tuple[slice, Array]:
    """The bins that any mel band hears, and their rows of `mel_matrix`; the others weigh nothing."""
    heard = np.flatnonzero(mel_matrix().any(axis=1))
    bins = slice(int(heard[0]), int(heard[-1]) + 1)
    return bins, np.ascontiguousarray(mel_matrix()[bins])


def patches_of(log_mel: Array) -> Array:
    """The overlapping patches of log-mel frames [num_frames, 64], as a view [num_patches, 96, 64]."""
    windows = np.lib.stride_tricks.sliding_window_view(log_mel, PATCH_FRAMES, axis=0)
    return windows[::PATCH_HOP_FRAMES].swapaxes(1, 2)


assert PATCH_SAMPLES == (PATCH_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES
