"""Owns the measures of a clip's audio: how loud, clipped, silent and wide it is.

They cost under a tenth of decoding and answer the first questions about a surprising embedding:
is it silence, is it overdriven, is it a telephone line?
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft

from transforms.segments import SAMPLE_RATE_HZ, Waveform

CLIPPED_LEVEL = 0.999  # of full scale: 16-bit full scale is 0.99997, MP3 overshoots
SILENT_RMS = 1e-3  # -60 dBFS, of one frame
FRAME_SAMPLES = 512  # 32 ms: one step of silence and of the spectrum
BANDWIDTH_RANGE_DB = 60.0  # below the strongest bin: an empty upper band lies further down


class AudioHealth(NamedTuple):
    """Measures over one whole clip.

    Attributes:
      peak: largest absolute sample of any channel as decoded; 1.0 is full scale.
      rms_db: level of the 16 kHz mono waveform in dBFS; None for digital silence.
      clipped_fraction: of decoded samples at full scale or beyond.
      silent_fraction: of 32 ms frames below -60 dBFS.
      bandwidth_hz: highest frequency within 60 dB of the strongest; None for digital silence.
    """

    peak: float
    rms_db: float | None
    clipped_fraction: float
    silent_fraction: float
    bandwidth_hz: float | None


class HealthMeter:
    """Gathers the measures while blocks stream by; block sizes do not change the result."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._num_decoded = 0
        self._num_clipped = 0
        self._energy = 0.0
        self._num_samples = 0
        self._num_frames = 0
        self._num_silent = 0
        self._power = np.zeros(FRAME_SAMPLES // 2 + 1)
        self._rest: Waveform = np.empty(0, np.float32)

    def hear_decoded(self, block: npt.NDArray[np.float32]) -> bool:
        """Takes decoded samples [n, num_channels], n > 0; False if any is NaN or infinite."""
        peak = max(float(block.max()), -float(block.min()))
        self._peak = max(self._peak, peak)
        self._num_decoded += block.size
        if peak >= CLIPPED_LEVEL:
            self._num_clipped += int(np.count_nonzero(np.abs(block) >= CLIPPED_LEVEL))
        return bool(np.isfinite(peak))

    def hear_waveform(self, block: Waveform) -> None:
        """Takes the next 16 kHz mono samples [n]."""
        self._num_samples += len(block)
        waveform = np.concatenate([self._rest, block]) if len(self._rest) else block
        num_frames = len(waveform) // FRAME_SAMPLES
        self._rest = waveform[num_frames * FRAME_SAMPLES :].copy()
        self._hear_frames(waveform[: num_frames * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES))

    def _hear_frames(self, frames: npt.NDArray[np.float32]) -> None:
        energy = np.einsum("ij,ij->i", frames, frames)
        self._energy += float(energy.sum(dtype=np.float64))
        self._num_frames += len(frames)
        self._num_silent += int(np.count_nonzero(energy < SILENT_RMS**2 * FRAME_SAMPLES))
        self._power += _power(frames * _HANN)

    def result(self) -> AudioHealth:
        """The measures of all that was heard."""
        rest = len(self._rest)
        rest_energy = float(np.dot(self._rest, self._rest.astype(np.float64)))
        energy, power = self._energy + rest_energy, self._power
        if not power.any() and rest:
            # A clip of less than a frame; elsewhere the cut edge of the last one would look like a wide band.
            window = np.hanning(rest + 1)[:-1].astype(np.float32)
            power = _power(np.pad(self._rest * window, (0, FRAME_SAMPLES - rest))[None])
        rms_db = bandwidth_hz = None
        if energy > 0:
            rms_db = float(10 * np.log10(energy / self._num_samples))
            audible = power >= power.max() * 10 ** (-BANDWIDTH_RANGE_DB / 10)
            bandwidth_hz = float(np.flatnonzero(audible)[-1] * SAMPLE_RATE_HZ / FRAME_SAMPLES)
        num_frames = self._num_frames + bool(rest)
        num_silent = self._num_silent + (bool(rest) and rest_energy < SILENT_RMS**2 * rest)
        return AudioHealth(
            peak=self._peak,
            rms_db=rms_db,
            clipped_fraction=self._num_clipped / max(1, self._num_decoded),
            silent_fraction=num_silent / max(1, num_frames),
            bandwidth_hz=bandwidth_hz,
        )


_HANN = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)


def _power(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Power spectrum [257] summed over windowed frames [num_frames, 512]."""
    parts = scipy.fft.rfft(frames, axis=1).view(np.float32)  # real and imaginary, [num_frames, 2 * 257]
    squares = np.einsum("ij,ij->j", parts, parts)
    return squares.reshape(-1, 2).sum(axis=1, dtype=np.float64)
