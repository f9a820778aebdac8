"""Mixed clips: many small ones of several formats, some broken, one long recording."""

from pathlib import Path

import broken
import numpy as np
import sounds

FORMATS = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "FLOAT"))
RATES_HZ = (8_000, 16_000, 22_050, 44_100, 48_000)
BROKEN = [name for name in broken.FILES if name not in ("too long.wav", "bomb.flac", "too large.wav")]  # need limits


def make(folder: Path, *, num_clips: int, num_broken: int, recording_s: float) -> Path:
    """Fills a folder with `num_clips` files: `num_broken` of them broken, one a recording, the rest of 0.2 to 6 s."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(6)
    for number in range(num_clips - num_broken - 1):
        duration_s, rate_hz = float(rng.uniform(0.2, 6.0)), RATES_HZ[number % 5]
        samples = sounds.noise(duration_s, rate_hz, peak=0.2, seed=number)
        samples += sounds.tone(200 + 10 * number, duration_s, rate_hz, peak=0.4)
        if number % 3 == 0:
            samples = np.stack([samples, 0.5 * samples], axis=1)
        file_format, subtype = FORMATS[number % 4]
        content = sounds.sound_file(samples, rate_hz, file_format, subtype)
        (folder / f"clip {number:03}.{file_format.lower()}").write_bytes(content)
    for number in range(num_broken):
        name = BROKEN[number % len(BROKEN)]
        (folder / f"{number:03} {name}").write_bytes(broken.FILES[name][0])
    recording = sounds.noise(recording_s, seed=1) * np.linspace(0, 1, round(recording_s * 16_000), dtype=np.float32)
    (folder / "recording.flac").write_bytes(sounds.sound_file(recording, file_format="FLAC"))
    return folder
