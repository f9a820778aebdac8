"""How far bfloat16 lies from float32, on the golden clips: cuts of a real recording, and sounds made by formula."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import YamnetEncoder

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def differences(names: list[str], waveforms: list[Any]) -> dict[str, dict[str, Any]]:
    """By clip: the largest difference of a patch score and of a mean score, and the smallest cosine of embeddings."""
    exact, rounded = (YamnetEncoder(precision=precision).embed(waveforms) for precision in ("float32", "bfloat16"))
    found = {}
    for name, one, other in zip(names, exact, rounded, strict=True):
        dots = (one.embeddings * other.embeddings).sum(1)
        norms = np.linalg.norm(one.embeddings, axis=1) * np.linalg.norm(other.embeddings, axis=1)
        pooled = float(one.pooled @ other.pooled / (np.linalg.norm(one.pooled) * np.linalg.norm(other.pooled)))
        found[name] = {
            "score": float(np.abs(one.scores - other.scores).max()),
            "mean_score": float(np.abs(one.pooled_scores - other.pooled_scores).max()),
            "cosine": float((dots / norms).min()),
            "mean_cosine": pooled,
            "same_top_class": one.top(1)[0][0] == other.top(1)[0][0],
        }
    return found


def worst(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst of several clips."""
    return {
        "clips": len(found),
        "score": max(clip["score"] for clip in found),
        "mean_score": max(clip["mean_score"] for clip in found),
        "cosine": min(clip["cosine"] for clip in found),
        "mean_cosine": min(clip["mean_cosine"] for clip in found),
        "same_top_class": sum(clip["same_top_class"] for clip in found),
    }


def compare(output: str) -> dict[str, Any]:
    """Both precisions over all golden clips, the recorded ones apart."""
    sys.path.insert(0, str(GOLDEN))
    sys.modules.pop("clips", None)  # this folder has a module of that name as well
    import clips

    golden = np.load(GOLDEN / "golden.npz")
    waveforms = {}
    for name in map(str, golden["names"]):
        with contextlib.suppress(clips.ClipDiffersError):
            waveforms[name] = clips.load_clip(golden, name)
    found = differences(list(waveforms), list(waveforms.values()))
    recorded = [clip for name, clip in found.items() if name.startswith("recorded")]
    return {"accuracy": {"recorded": worst(recorded), "all": worst(list(found.values()))}}
