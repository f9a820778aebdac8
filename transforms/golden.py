"""Owns the known answers: three signals whose outputs prove that loaded weights compute what they should.

Signals and classes are those of upstream's own test (research/audioset/yamnet/yamnet_test.py): 3 s each,
the class among the ten highest mean scores. The full vectors besides catch anything subtler.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from transforms import errors, features
from transforms.segments import SAMPLE_RATE_HZ, Waveform
from transforms.yamnet import Outputs, Precision, Yamnet

SIGNAL_SAMPLES = 3 * SAMPLE_RATE_HZ
UPSTREAM_RANK = 10


class Tolerance(NamedTuple):
    """How far outputs may lie from the known answers.

    Attributes:
      score: largest absolute difference of a mean score.
      cosine: smallest cosine between mean embeddings.
    """

    score: float
    cosine: float


TOLERANCES: Mapping[Precision, Tolerance] = {
    "float32": Tolerance(score=1e-4, cosine=0.99999),  # other processors round differently: 1e-6
    "bfloat16": Tolerance(score=0.1, cosine=0.99),  # measured: 0.07 and 0.997
}


def signals() -> dict[str, Waveform]:
    """The three test signals by the name of the class YAMNet must hear, float32 [48 000] at 16 kHz."""
    seconds = np.arange(SIGNAL_SAMPLES) / SAMPLE_RATE_HZ
    noise = np.random.RandomState(51773).uniform(-1.0, 1.0, SIGNAL_SAMPLES)
    return {
        "Silence": np.zeros(SIGNAL_SAMPLES, np.float32),
        "White noise": noise.astype(np.float32),
        "Sine wave": np.sin(2 * np.pi * 440 * seconds).astype(np.float32),
    }


def answers(model: Yamnet) -> dict[str, dict[str, list[float]]]:
    """Mean embedding [1024] and mean scores [521] of each signal, for model.json."""
    return {
        name: {
            "embedding": [float(f"{number:.9g}") for number in outputs.embeddings.mean(0)],
            "scores": [float(f"{number:.9g}") for number in outputs.scores.mean(0)],
        }
        for name, outputs in _outputs(model).items()
    }


def check(model: Yamnet, known: Mapping[str, Any]) -> None:
    """Compares a loaded model with the answers kept in its model.json.

    Raises:
      ModelError: an output is off; says which, by how much, and what to do.
    """
    tolerance = TOLERANCES[model.precision]
    for name, outputs in _outputs(model).items():
        scores, embedding = outputs.scores.mean(0), outputs.embeddings.mean(0)
        expected = {key: np.asarray(known[name][key], np.float32) for key in ("scores", "embedding")}
        off = float(np.abs(scores - expected["scores"]).max())
        cosine = _cosine(embedding, expected["embedding"])
        if not (off <= tolerance.score and cosine >= tolerance.cosine):
            raise errors.ModelError(
                f"the model gives other answers than it should: on {name!r} a score is off by {off:.2g} (allowed "
                f"{tolerance.score:g}) and the embedding's cosine is {cosine:.6f} (at least {tolerance.cosine:g}). Its "
                "files or this machine's TensorFlow are damaged: fetch the model again (python -m pipeline model fetch "
                "--force), and if that does not help try TF_ENABLE_ONEDNN_OPTS=0"
            )


def check_upstream(model: Yamnet) -> None:
    """Upstream's own test: each signal's class is among the ten highest mean scores.

    Raises:
      ModelError: it is not, or the class map has other classes.
    """
    for name, outputs in _outputs(model).items():
        top = outputs.scores.mean(0).argsort()[::-1][:UPSTREAM_RANK]
        heard = [model.classes.names[index] for index in top]
        if name not in heard:
            raise errors.ModelError(f"these weights are not YAMNet's: {name!r} is heard as {', '.join(heard)}")


def _outputs(model: Yamnet) -> dict[str, Outputs]:
    waveforms = signals()
    batch = [features.patches_of(features.log_mel_spectrogram(waveform)) for waveform in waveforms.values()]
    return dict(zip(waveforms, model.embed(batch), strict=True))


def _cosine(left: Any, right: Any) -> float:
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else 1.0
