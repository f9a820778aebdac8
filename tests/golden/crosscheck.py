"""Holds reference.py against TF-Hub's own YAMNet, the module inside the wheel's SavedModel.

    python tests/golden/crosscheck.py --saved-model .../yamnet_base --recording .../mini-test.wav

Prints, per clip, how far the reference is from it with the reference's float64 front end and with
upstream's float32 one, then runs upstream's three tests (yamnet_test.py) on the reference. Needed
only when reference.py changes.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import clips
import numpy as np
import reference
import tensorflow as tf

# Upstream's three tests: the class that has to be among the ten best of the mean scores.
EXPECTED_CLASSES = {
    "silence": "Silence",
    "upstream_white_noise": "White noise",
    "upstream_sine_440": "Sine wave",
}


def load_tf_hub_yamnet(saved_model: str) -> tf.types.experimental.GenericFunction:
    """Returns waveform -> (scores, embeddings, log_mel), dug out of the layers around it."""
    wrapper = tf.saved_model.load(saved_model)
    module = getattr(wrapper, "layer-1").layer._func
    module.keep_alive = wrapper  # its variables die with the wrapper
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--saved-model", required=True)
    parser.add_argument("--recording", required=True, help="mini-test.wav")
    arguments = parser.parse_args()

    yamnet = load_tf_hub_yamnet(arguments.saved_model)
    weights = reference.load_weights(f"{arguments.saved_model}/variables/variables")
    with (Path(arguments.saved_model) / "assets/yamnet_class_map.csv").open() as lines:
        classes = [row["display_name"] for row in csv.DictReader(lines)]

    print("max |reference - TF-Hub's module|: scores, embeddings, log-mel")
    mean_scores, largest = {}, {}
    for name, waveform in clips.make_clips(arguments.recording).items():
        theirs = [tensor.numpy() for tensor in yamnet(waveform)]
        for label, front_end in (
            ("float64", reference.log_mel),
            ("float32", reference.upstream_float32_log_mel),
        ):
            ours = reference.run(waveform, weights, front_end)
            differences = [np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)]
            print(f"  {name:24} {label} front end ", *(f"{d:.1e}" for d in differences))
            largest[label] = np.maximum(largest.get(label, 0), differences)
            if label == "float64":
                mean_scores[name] = ours[0].mean(0)
    for label, differences in largest.items():
        print(f"  {'LARGEST':24} {label} front end ", *(f"{d:.1e}" for d in differences))

    print("upstream's tests: rank of the expected class, its mean score")
    for name, expected in EXPECTED_CLASSES.items():
        scores = mean_scores[name]
        rank = int((scores > scores[classes.index(expected)]).sum()) + 1
        print(f"  {name:24} {expected}: {rank}, {scores[classes.index(expected)]:.4f}")
        if rank > 10:
            raise SystemExit(f"{name}: {expected} is not among the ten best")


if __name__ == "__main__":
    main()
