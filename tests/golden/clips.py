"""The golden clips: deterministic 16 kHz mono float32 waveforms, loud and faint, full and empty.

`SYNTHETIC` clips are made from formulas and numpy's frozen `RandomState` stream, so they are made
anew wherever they are needed. The others (cuts of a real recording, and whatever went through soxr,
whose samples may change with its version) are kept inside golden.npz. `load_clip` hides which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

SAMPLE_RATE = 16_000


class ClipDiffersError(ValueError):
    """This platform makes other samples for a clip than the golden results were computed from."""


def sha256(waveform: np.ndarray) -> str:
    """Returns the hex digest of the samples as little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(waveform, "<f4").tobytes()).hexdigest()


# ---------------------------------------------------------------- ingredients (all in float64)


def _seconds(duration_s: float) -> np.ndarray:
    return np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE


def _sine(hertz: float, duration_s: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * _seconds(duration_s))


def _gaussian(seed: int, duration_s: float) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(round(duration_s * SAMPLE_RATE))


def _sweep(hertz: np.ndarray) -> np.ndarray:
    """A sine whose frequency follows `hertz`, one value a sample."""
    return np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE)


def _pink(seed: int, duration_s: float) -> np.ndarray:
    # J. O. Smith's third-order 1/f filter, https://ccrma.stanford.edu/~jos/sasp/Example_Synthesis_1_F_Noise.html
    b = [0.049922035, -0.095993537, 0.050612699, -0.004408786]
    a = [1, -2.494956002, 2.017265875, -0.522189400]
    return lfilter(b, a, _gaussian(seed, duration_s))


def _voice(duration_s: float, pitch_hz: float = 120.0) -> np.ndarray:
    """A buzz of 40 harmonics under three formants that glide between two vowels, in syllables."""
    t = _seconds(duration_s)
    pitch = pitch_hz * (1 + 0.15 * np.sin(2 * np.pi * 0.4 * t) + 0.01 * np.sin(2 * np.pi * 5.5 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * t)  # 0: "ah", 1: "ee"
    buzz = np.zeros_like(t)
    for harmonic in range(1, 41):
        hertz = harmonic * pitch
        gain = 0.02 / harmonic
        for ah, ee, width, level in (
            (730, 270, 90, 1.0),
            (1090, 2290, 130, 0.5),
            (2440, 3010, 200, 0.2),
        ):
            formant = ah + (ee - ah) * vowel
            gain = gain + level / (1 + ((hertz - formant) / width) ** 2)
        buzz += gain * np.sin(harmonic * phase)
    syllables = np.clip(1.2 * np.sin(2 * np.pi * 1.9 * t) + 0.4, 0, 1)
    return 0.15 * buzz * syllables


def _narrow_band(waveform: np.ndarray) -> np.ndarray:
    """Takes a waveform to 8 kHz and back (soxr HQ): nothing is left above 4 kHz."""
    import soxr

    return soxr.resample(soxr.resample(waveform, 16_000, 8_000, "HQ"), 8_000, 16_000, "HQ")


# ---------------------------------------------------------------- synthetic clips


def _upstream_white_noise() -> np.ndarray:
    return np.random.RandomState(51773).uniform(-1.0, +1.0, 3 * SAMPLE_RATE)


def _clicks() -> np.ndarray:
    waveform = np.zeros(3 * SAMPLE_RATE)
    starts = np.cumsum(np.random.RandomState(7).randint(400, 6000, 15))
    for start in starts[starts < len(waveform) - 40]:
        waveform[start : start + 40] = 0.8 * 0.85 ** np.arange(40) * (-1.0) ** np.arange(40)
    return waveform


def _impulse() -> np.ndarray:
    waveform = np.zeros(SAMPLE_RATE)
    waveform[5000] = 1.0
    return waveform


def _dtmf() -> np.ndarray:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    gap = np.zeros(SAMPLE_RATE // 10)
    tones = [0.4 * (_sine(rows[k % 4], 0.2) + _sine(columns[k // 2 % 4], 0.2)) for k in range(10)]
    return np.concatenate([part for tone in tones for part in (tone, gap)])


def _exponential_sweep(from_hz: float, to_hz: float, duration_s: float) -> np.ndarray:
    return 0.5 * _sweep(from_hz * (to_hz / from_hz) ** (_seconds(duration_s) / duration_s))


def _siren() -> np.ndarray:
    return 0.6 * _sweep(900 + 400 * np.sin(2 * np.pi * 1.5 * _seconds(3)))


def _ticking() -> np.ndarray:
    t = _seconds(3)
    return 0.3 * np.exp(-60 * (t % 0.5)) * _sine(2500, 3) + 0.002 * _gaussian(12, 3)


def _fade() -> np.ndarray:
    """A chord that sinks evenly from -6 to -120 dB."""
    chord = (_sine(261.63, 4) + _sine(329.63, 4) + _sine(392.0, 4)) / 3
    return chord * 10 ** (-(6 + 114 * _seconds(4) / 4) / 20)


def _loud_quiet() -> np.ndarray:
    """Full-scale noise between stretches 60 and 80 dB down and a voice."""
    loud = np.clip(0.5 * _gaussian(21, 1.5), -1, 1)
    return np.concatenate([0.001 * _voice(1.5) / 0.15, loud, np.zeros(8000), 1e-4 * _sine(1000, 1.5), _voice(1.5)])


def _texture(num_samples: int) -> np.ndarray:
    """Voice over faint noise, cut to an exact length: for the edges of the padding rule."""
    return (_voice(2, 180.0) + 0.003 * _gaussian(num_samples, 2))[:num_samples]


def _scene() -> np.ndarray:
    """Thirty seconds of changing sound, joined without gaps."""
    parts = [
        _voice(6),
        0.3 * _pink(31, 4),
        _siren(),
        np.zeros(2 * SAMPLE_RATE),
        _clicks(),
        _ticking(),
        0.2 * np.sign(_sine(220, 2)),
        _voice(4, 210.0) + 0.1 * _pink(32, 4),
        0.01 * _gaussian(33, 3),
    ]
    return np.concatenate(parts)


SYNTHETIC: dict[str, Callable[[], np.ndarray]] = {
    # upstream's own three tests (yamnet_test.py)
    "silence": lambda: np.zeros(3 * SAMPLE_RATE),
    "upstream_white_noise": _upstream_white_noise,
    "upstream_sine_440": lambda: np.sin(2 * np.pi * 440 * np.arange(0, 3, 1 / SAMPLE_RATE)),
    # noises
    "white_noise": lambda: 0.1 * _gaussian(1, 3),
    "pink_noise": lambda: _pink(2, 3),
    "brown_noise": lambda: 0.005 * lfilter([1], [1, -0.999], _gaussian(3, 3)),
    "quiet_noise_60_db": lambda: 0.001 * _gaussian(4, 3),
    "quiet_noise_96_db": lambda: 10 ** (-96 / 20) * _gaussian(5, 2),
    # tones
    "chirp": lambda: _exponential_sweep(50, 7900, 4),
    "chirp_down_quiet": lambda: 0.01 * _exponential_sweep(6000, 100, 2),
    "dtmf": _dtmf,
    "am_tone": lambda: 0.25 * (1 + 0.9 * _sine(6, 3)) * _sine(1500, 3),
    "siren": _siren,
    "tone_7900_hz": lambda: 0.5 * _sine(7900, 1),
    "tone_60_hz": lambda: 0.5 * _sine(60, 2),
    "square_full_scale": lambda: np.where(_sine(441, 2) >= 0, 1.0, -1.0),
    # events
    "clicks": _clicks,
    "impulse": _impulse,
    "ticking": _ticking,
    "voice_like": lambda: _voice(5),
    "voice_clipped": lambda: np.clip(12 * _voice(3, 160.0), -1, 1),
    # levels
    "dc_offset": lambda: 0.5 + 0.1 * _sine(300, 2),
    "dc_only": lambda: np.full(SAMPLE_RATE, 0.5),
    "fade": _fade,
    "loud_quiet": _loud_quiet,
    # lengths: fewer samples than a patch, exactly one and two patches, and a sample more
    # (the first sample meets the Hann window's zero: "one_sample" is silence to the network)
    "one_sample": lambda: np.array([0.5]),
    "short_100_ms": lambda: _texture(1600),
    "samples_15600": lambda: _texture(15600),
    "samples_15601": lambda: _texture(15601),
    "samples_23280": lambda: _texture(23280),
    "samples_23281": lambda: _texture(23281),
    "scene_30_s": _scene,
}


def make_synthetic(name: str) -> np.ndarray:
    """Makes one clip of `SYNTHETIC`, as float32 [num_samples]."""
    return SYNTHETIC[name]().astype(np.float32)


# ---------------------------------------------------------------- kept clips


def make_kept(recording: str | Path) -> dict[str, np.ndarray]:
    """Makes the clips that golden.npz keeps, as float32.

    Args:
        recording: a 16 kHz mono 16-bit wav of a minute, the mini-test.wav of README.md.
    """
    import soundfile

    samples, sample_rate = soundfile.read(recording, dtype="float32")
    if sample_rate != SAMPLE_RATE or samples.ndim != 1 or len(samples) != 60 * SAMPLE_RATE:
        raise ValueError(f"{recording} is not a minute of mono at 16 kHz: is it mini-test.wav?")

    def cut(start_s: float, stop_s: float) -> np.ndarray:
        return samples[round(start_s * SAMPLE_RATE) : round(stop_s * SAMPLE_RATE)]

    clips = {
        "recorded_30_s": cut(0, 30),
        "recorded_5_s": cut(31, 36),
        "recorded_2_9_s": cut(37.1, 40),
        "recorded_0_7_s": cut(44.4, 45.1),
        "recorded_quiet_40_db": cut(50, 52) * np.float32(0.01),
        "recorded_band_8k": _narrow_band(cut(9, 12)),
        "recorded_band_8k_other": _narrow_band(cut(40.5, 42.5)),
        "voice_band_8k": _narrow_band(_voice(3).astype(np.float32)),
        "white_noise_band_8k": _narrow_band((0.1 * _gaussian(41, 2)).astype(np.float32)),
        "sine_band_8k": _narrow_band((0.5 * _sine(1000, 1)).astype(np.float32)),
    }
    return {name: waveform.astype(np.float32) for name, waveform in clips.items()}


# ---------------------------------------------------------------- use


def make_clips(recording: str | Path) -> dict[str, np.ndarray]:
    """Makes every clip: name -> float32 [num_samples], mono at 16 kHz."""
    return {name: make_synthetic(name) for name in SYNTHETIC} | make_kept(recording)


def load_clip(golden: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Returns the waveform that the golden results of `name` were computed from.

    Args:
        golden: the opened golden.npz.
        name: one of its `names`.

    Raises:
        ClipDiffersError: this platform's numpy or scipy makes other samples; judge nothing by them.
    """
    if f"waveform/{name}" in golden:
        waveform = golden[f"waveform/{name}"]
        if waveform.dtype == np.int16:
            waveform = waveform.astype(np.float32) / np.float32(32768)
    else:
        waveform = make_synthetic(name)
    expected = str(golden["sha256"][list(golden["names"]).index(name)])
    if sha256(waveform) != expected:
        raise ClipDiffersError(
            f"{name}: the samples' sha256 is {sha256(waveform)}, golden.npz has {expected};"
            " rerun tests/golden/generate.py on this platform"
        )
    return waveform
