"""Collections of clips, and a way to run the embed command on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import broken
import numpy as np
import pytest
import sounds
from results import Embed, Result

from pipeline import run
from pipeline.options import EmbedOptions

NUM_GOOD = 180


@pytest.fixture
def embed(tmp_path: Path, model_directory: str) -> Embed:
    """Runs the command on inputs; the dataset is below tmp_path unless `output` is given."""

    def call(inputs: Sequence[str], *, beam: Sequence[str] = (), output: Path | None = None, **settings: Any) -> Result:
        dataset = output or tmp_path / "dataset"
        before = set(dataset.glob("run=*"))
        settings.setdefault("model", model_directory)
        code = run.embed(EmbedOptions(input=tuple(inputs), output=str(dataset), **settings), beam)
        (directory,) = set(dataset.glob("run=*")) - before
        return Result(code, directory)

    return call


@pytest.fixture(scope="session")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small clips of many kinds, two of them longer than a segment of 8 patches."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    for number in range(NUM_GOOD):
        duration_s = float(rng.uniform(0.05, 2.5)) if number % 30 else 6.0
        rate_hz = (8_000, 16_000, 22_050, 44_100, 48_000)[number % 5]
        samples = sounds.noise(duration_s, rate_hz, peak=0.3, seed=number)
        samples += sounds.tone(200 + 20 * number, duration_s, rate_hz, peak=0.4)
        if number % 3 == 0:
            samples = np.stack([samples, 0.5 * samples], axis=1)
        file_format, subtype = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "FLOAT"))[number % 4]
        content = sounds.sound_file(samples, rate_hz, file_format, subtype)
        place = folder / ("day one", "day#2", "50%")[number % 3]
        place.mkdir(exist_ok=True)
        (place / f"klang {number:03} ü.{file_format.lower()}").write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def few_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dozen clips of 1 to 12 s."""
    folder = tmp_path_factory.mktemp("few")
    for number in range(12):
        content = sounds.sound_file(sounds.noise(number + 1, 22_050, seed=number), 22_050)
        (folder / f"{number:02}.wav").write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def mixed_files(tmp_path_factory: pytest.TempPathFactory, good_files: Path) -> Path:
    """180 clips and 20 files broken in different ways."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "good").symlink_to(good_files)
    (folder / "broken").mkdir()
    for name, (content, _, _) in broken.FILES.items():
        (folder / "broken" / name).write_bytes(content)
    return folder
