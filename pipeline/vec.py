"""The surface of vectorhub's Yamnet2Vec, over our own code path."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from pipeline.encoder import Array, Audio, Embedding, YamnetEncoder, blocks_of
from transforms import errors, features
from transforms.segments import SAMPLE_RATE_HZ, Waveform
from transforms.weights import EMBEDDING_SIZE, NUM_CLASSES

Operation = Literal["mean", "sum", "min", "max"]
Layer = Literal["embeddings", "scores", "log_mel_spectrogram"]
IfError = Literal["raise", "zero_vector", "none"]

_SIZES: dict[Layer, int] = {
    "embeddings": EMBEDDING_SIZE,
    "scores": NUM_CLASSES,
    "log_mel_spectrogram": features.NUM_BANDS,
}


class Yamnet2Vec:
    """Audio to one vector a clip: 1024 numbers of the embedding, 521 scores or 64 log-mel bands."""

    def __init__(self, model: str | None = None) -> None:
        """Takes a model directory; None for the published weights, which the first call fetches."""
        self._encoder = YamnetEncoder(model)

    def read(self, audio: Audio, new_sampling_rate: int = SAMPLE_RATE_HZ) -> Waveform:
        """Mono float32 [num_samples] at `new_sampling_rate` of a path, URL, gs:// URI, bytes or open file.

        Raises:
          ClipError: it cannot be read, or is not audio.
        """
        return np.concatenate(list(blocks_of(audio, target_rate_hz=new_sampling_rate)))

    def encode(
        self,
        audio: Audio,
        vector_operation: Operation = "mean",
        layer: Layer = "embeddings",
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        if_error: IfError = "raise",
    ) -> list[float] | None:
        """One vector for one clip: patches (or, of log-mel, frames) pooled by `vector_operation`.

        Raises:
          ClipError: with if_error="raise".
        """
        vectors = self.bulk_encode([audio], vector_operation, layer, sample_rate_hz=sample_rate_hz, if_error=if_error)
        return vectors[0]

    def bulk_encode(
        self,
        audios: Sequence[Audio],
        vector_operation: Operation = "mean",
        layer: Layer = "embeddings",
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        if_error: IfError = "raise",
    ) -> list[list[float] | None]:
        """One vector a clip, the patches of all clips in shared batches.

        Raises:
          UsageError: an unknown layer or operation.
          ClipError: with if_error="raise", the first clip's that fails.
        """
        if layer not in _SIZES or vector_operation not in ("mean", "sum", "min", "max"):
            raise errors.UsageError(
                f"layer={layer!r}, vector_operation={vector_operation!r}: layers are {', '.join(_SIZES)}; "
                "operations are mean, sum, min, max"
            )
        keep: Literal["raise", "none"] = "raise" if if_error == "raise" else "none"
        if layer == "log_mel_spectrogram":
            found: list[Any] = [_log_mel(audio, sample_rate_hz, keep) for audio in audios]
        else:
            found = self._encoder.embed(list(audios), sample_rate_hz=sample_rate_hz, if_error=keep)
        nothing = [0.0] * _SIZES[layer] if if_error == "zero_vector" else None
        return [nothing if one is None else _pooled(one, vector_operation, layer) for one in found]


def _log_mel(audio: Audio, sample_rate_hz: int, if_error: str) -> Array | None:
    try:
        return features.log_mel_spectrogram(np.concatenate(list(blocks_of(audio, sample_rate_hz))))
    except errors.ClipError:
        if if_error == "raise":
            raise
        return None


def _pooled(found: Embedding | Array, operation: Operation, layer: Layer) -> list[float]:
    values = getattr(found, layer) if isinstance(found, Embedding) else found
    pooled: list[float] = getattr(values.astype(np.float64), operation)(0).astype(np.float32).tolist()
    return pooled
