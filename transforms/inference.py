"""Owns the step from waveforms to embeddings: log-mel, one pass over the patches of all, results to their owners.

A segment on which the network raises is found by halving the batch, and fails alone.
"""

from collections.abc import Sequence

import numpy as np

from transforms import errors, features
from transforms.segments import Waveform
from transforms.stopwatch import measure
from transforms.yamnet import Outputs, Yamnet

Patches = features.Array


def embed_waveforms(model: Yamnet, waveforms: Sequence[Waveform]) -> list[Outputs | errors.EmbeddingError]:
    """Embeds 16 kHz waveforms, float32 [num_samples] each; one result a waveform, in order.

    Raises:
      Exception: whatever the network raises if it fails on silence too: then no clip is to blame.
    """
    batch = []
    for waveform in waveforms:
        with measure("log_mel", waveform.nbytes):
            batch.append(features.patches_of(features.log_mel_spectrogram(waveform)))
    return [_checked(result) for result in _embed_or_halve(model, batch)]


def _embed_or_halve(model: Yamnet, batch: list[Patches]) -> list[Outputs | errors.EmbeddingError]:
    try:
        with measure("network"):
            results = model.embed(batch)
    except (MemoryError, OSError):
        raise
    except Exception as problem:
        if len(batch) > 1:
            middle = len(batch) // 2
            return _embed_or_halve(model, batch[:middle]) + _embed_or_halve(model, batch[middle:])
        if not _works_on_silence(model):
            raise
        return [errors.EmbeddingError(f"the network failed on this clip alone: {type(problem).__name__}: {problem}")]
    if len(results) != len(batch):
        raise RuntimeError(f"the network gave {len(results)} results for {len(batch)} segments")
    return list(results)


def _works_on_silence(model: Yamnet) -> bool:
    silence = np.full((1, features.PATCH_FRAMES, features.NUM_BANDS), np.log(features.LOG_OFFSET), np.float32)
    try:
        return len(model.embed([silence])) == 1
    except Exception:  # noqa: BLE001  whatever it is, it is not this clip's fault
        return False


def _checked(result: Outputs | errors.EmbeddingError) -> Outputs | errors.EmbeddingError:
    if isinstance(result, Outputs) and not np.isfinite(result.embeddings.sum() + result.scores.sum()):
        return errors.EmbeddingError("the network returned NaN or infinite numbers")
    return result
