"""The exported SavedModel: TF-Hub's answers, integer padding, and batches of patches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from pipeline.encoder import YamnetEncoder
from transforms import engine, export, features, golden

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def directory(model_directory: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "yamnet"
    export.export(model_directory, str(path))
    return path


@pytest.fixture(scope="module")
def exported(directory: Path) -> Any:
    return engine.tensorflow().saved_model.load(str(directory))


@pytest.mark.parametrize(("num_samples", "num_patches"), [(1, 1), (15_600, 1), (15_601, 2), (23_280, 2), (23_281, 3)])
def test_waveforms_are_padded_to_whole_patches(exported: Any, num_samples: int, num_patches: int) -> None:
    scores, embeddings, log_mel = exported(sounds.noise(2.0)[:num_samples])
    assert scores.shape == (num_patches, 521)
    assert embeddings.shape == (num_patches, 1024)
    assert log_mel.shape == (96 + 48 * (num_patches - 1), 64)


def test_it_answers_like_the_pipeline(exported: Any, model_directory: str) -> None:
    for waveform in golden.signals().values():
        scores, embeddings, _ = exported(waveform)
        ours = YamnetEncoder(model_directory).embed(waveform)
        # Its front end is TensorFlow's, in float32, as upstream's: pure tones differ by up to 1e-3.
        np.testing.assert_allclose(scores, ours.scores, atol=1e-3)
        np.testing.assert_allclose(embeddings, ours.embeddings, atol=1e-2)


def test_patches_of_many_clips_go_in_one_batch(exported: Any, model_directory: str) -> None:
    waveform = sounds.noise(5.0)
    patches = np.ascontiguousarray(features.patches_of(features.log_mel_spectrogram(waveform)))
    outputs = exported.embed_patches(patches)
    ours = YamnetEncoder(model_directory).embed(waveform)
    np.testing.assert_allclose(outputs["scores"], ours.scores, atol=1e-6)
    assert set(exported.signatures) == {"serving_default", "waveform", "patches"}


def test_the_class_map_travels_with_it(exported: Any, directory: Path) -> None:
    path = Path(exported.class_map_path().numpy().decode())
    assert path.is_relative_to(directory)
    assert len(path.read_text().splitlines()) == 522
