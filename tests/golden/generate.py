"""Computes golden.npz: what the plain float64 YAMNet of reference.py says of every clip.

    python tests/golden/generate.py --checkpoint DIR/variables/variables --recording mini-test.wav

README.md lists the keys and says where both arguments come from.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import clips
import numpy as np
import reference

# Short and unlike each other: kept patch by patch, with their log-mel.
IN_FULL = (
    "upstream_sine_440",
    "loud_quiet",
    "short_100_ms",
    "samples_15601",
    "samples_23281",
    "recorded_2_9_s",
    "recorded_band_8k_other",
)


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def compute(waveforms: dict[str, np.ndarray], weights: reference.Weights) -> dict[str, np.ndarray | list]:
    """Returns the arrays of golden.npz, apart from the kept waveforms."""
    rows: dict[str, list] = {}
    full: dict[str, np.ndarray] = {}
    for name, waveform in waveforms.items():
        started = time.perf_counter()
        scores, embeddings, log_mel = reference.run(waveform, weights)
        their_scores, their_embeddings, their_log_mel = reference.run(
            waveform, weights, reference.upstream_float32_log_mel
        )
        row = {
            "names": name,
            "sha256": clips.sha256(waveform),
            "num_samples": len(waveform),
            "num_patches": len(scores),
            "embedding_mean": embeddings.mean(0).astype(np.float32),
            "scores_mean": scores.mean(0),
            "scores_max": scores.max(0),
            "upstream_difference_scores_mean": _largest(scores.mean(0), their_scores.mean(0)),
            "upstream_difference_scores": _largest(scores, their_scores),
            "upstream_difference_embedding_mean": _largest(embeddings.mean(0), their_embeddings.mean(0)),
            "upstream_difference_embeddings": _largest(embeddings, their_embeddings),
            "upstream_difference_log_mel": _largest(log_mel, their_log_mel),
        }
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
        if name in IN_FULL:
            full[f"scores/{name}"] = scores
            full[f"embeddings/{name}"] = embeddings.astype(np.float32)
            full[f"log_mel/{name}"] = log_mel
        print(
            f"{name:24} {len(scores):3} patches  upstream's float32: scores "
            f"{row['upstream_difference_scores']:.1e} mean scores "
            f"{row['upstream_difference_scores_mean']:.1e} log-mel "
            f"{row['upstream_difference_log_mel']:.1e}  {time.perf_counter() - started:.2f} s"
        )
    return {key: np.array(values) for key, values in rows.items()} | full


def keep(waveform: np.ndarray) -> np.ndarray:
    """Returns the waveform as int16 where that loses nothing, or else as it is."""
    as_int16 = (waveform * 32768).astype(np.int16)
    return as_int16 if np.array_equal(as_int16 / np.float32(32768), waveform) else waveform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", required=True, help="prefix of YAMNet's TF checkpoint")
    parser.add_argument("--recording", required=True, help="mini-test.wav")
    default = Path(__file__).with_name("golden.npz")
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()

    weights = reference.load_weights(arguments.checkpoint)
    kept = clips.make_kept(arguments.recording)
    golden = compute(clips.make_clips(arguments.recording), weights)
    golden |= {f"waveform/{name}": keep(waveform) for name, waveform in kept.items()}
    np.savez_compressed(arguments.output, **golden)
    seconds = golden["num_samples"].sum() / clips.SAMPLE_RATE
    print(
        f"{arguments.output}: {len(golden['names'])} clips, {seconds:.0f} s of audio, "
        f"{arguments.output.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
