"""Makes what is measured: music-like clips, the same every time, and recordings too long to hold in memory."""

import functools
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import lfilter

RATE_HZ = 44_100
NUM_SOUNDS = 8  # different ones; the other clips of a folder are hard links to them, under names of their own
NOTE_S = 0.25
SUBTYPES = {"flac": "PCM_16", "wav": "PCM_16", "mp3": "MPEG_LAYER_III"}

Samples = npt.NDArray[np.float32]


def music(duration_s: float, seed: int = 0, rate_hz: int = RATE_HZ) -> Samples:
    """Chords of decaying notes over noise that differs between left and right, float32 [n, 2].

    The noise keeps FLAC from packing it well (to some 60 % of WAV, as it does a rock song).
    """
    rng = np.random.RandomState(seed)
    num_samples, note_samples = round(duration_s * rate_hz), round(NOTE_S * rate_hz)
    seconds = np.arange(note_samples) / rate_hz
    notes = []
    for _ in range(-(-num_samples // note_samples)):
        hertz = 110.0 * 2 ** (rng.randint(0, 37, 4) / 12)
        tones = sum(np.sin(2 * np.pi * hertz[:, None] * h * seconds) / h for h in (1, 2, 3, 5))
        pan = rng.uniform(0.2, 0.8, (4, 1))
        decay = np.exp(-5 * seconds)
        notes.append(np.stack([(tones * pan).sum(0) * decay, (tones * (1 - pan)).sum(0) * decay], axis=1))
    tonal = np.concatenate(notes)[:num_samples] if notes else np.zeros((0, 2))
    noise = lfilter([1.0], [1.0, -0.9], rng.standard_normal((num_samples, 2)), axis=0)
    return np.clip(0.12 * tonal + 0.025 * noise, -0.99, 0.99).astype(np.float32)


def folder_of(root: Path, *, duration_s: float, file_format: str, count: int, rate_hz: int = RATE_HZ) -> Path:
    """A folder of `count` clips, made if it is not there yet."""
    name = f"{duration_s:g}s-{file_format}"
    folder = root / f"{name}-{count}"
    if folder.exists():
        return folder
    sounds = _sounds(root / name, duration_s, file_format, rate_hz)
    folder.mkdir(parents=True)
    for number in range(count):
        os.link(sounds[number % len(sounds)], folder / f"clip-{number:05}.{file_format}")
    return folder


@functools.cache
def _sounds(folder: Path, duration_s: float, file_format: str, rate_hz: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"sound-{seed}.{file_format}" for seed in range(NUM_SOUNDS)]
    for seed, path in enumerate(paths):
        soundfile.write(path, music(duration_s, seed, rate_hz), rate_hz, SUBTYPES[file_format])
    return paths


def recording(root: Path, *, duration_s: float, rate_hz: int, num_channels: int) -> Path:
    """A folder with one FLAC recording, written a minute at a time."""
    folder = root / f"recording-{duration_s:g}s-{rate_hz}-{num_channels}"
    folder.mkdir(parents=True)
    minute = music(60, rate_hz=rate_hz)[:, :num_channels]
    with soundfile.SoundFile(folder / "recording.flac", "w", rate_hz, num_channels, "PCM_16") as file:
        left = round(duration_s * rate_hz)
        while left > 0:
            file.write(minute[:left])
            left -= len(minute)
    return folder
