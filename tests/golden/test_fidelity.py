"""As near to the exact numbers as upstream's own graph: judged by an independent float64 implementation."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.encoder import YamnetEncoder
from transforms import features

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the reference stands apart: its scripts find each other by bare name
import clips  # noqa: E402

pytestmark = pytest.mark.slow

GOLDEN = np.load(HERE / "golden.npz")
NAMES = [str(name) for name in GOLDEN["names"]]
ROUNDING = 1e-5  # of the float32 network, on scores


@pytest.fixture(scope="module")
def encoder(model_directory: str) -> YamnetEncoder:
    return YamnetEncoder(model_directory)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def waveform_of(name: str) -> np.ndarray:
    try:
        return clips.load_clip(GOLDEN, name)
    except clips.ClipDiffersError as problem:
        pytest.skip(str(problem))


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_scores_are_as_near_as_upstreams_own(encoder: YamnetEncoder, number: int) -> None:
    embedding = encoder.embed(waveform_of(NAMES[number]))
    assert len(embedding.scores) == GOLDEN["num_patches"][number]
    bound = ROUNDING + 2 * GOLDEN["upstream_difference_scores_mean"][number]
    assert np.abs(embedding.scores.mean(0, dtype=np.float64) - GOLDEN["scores_mean"][number]).max() <= bound
    assert cosine(embedding.pooled, GOLDEN["embedding_mean"][number]) >= 0.999999


@pytest.mark.parametrize("name", [key.split("/")[1] for key in GOLDEN.files if key.startswith("log_mel/")])
def test_every_patch_and_frame_is_as_near(encoder: YamnetEncoder, name: str) -> None:
    number = NAMES.index(name)
    embedding = encoder.embed(waveform_of(name))
    bound = ROUNDING + 2 * GOLDEN["upstream_difference_scores"][number]
    assert np.abs(embedding.scores - GOLDEN[f"scores/{name}"]).max() <= bound
    log_mel = features.log_mel_spectrogram(waveform_of(name))
    bound = ROUNDING + 2 * GOLDEN["upstream_difference_log_mel"][number]
    assert np.abs(log_mel - GOLDEN[f"log_mel/{name}"]).max() <= bound


def test_the_clips_are_many_and_include_narrow_bands() -> None:
    assert len(NAMES) >= 20
    assert sum("8k" in name for name in NAMES) >= 3
