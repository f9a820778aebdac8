"""The peer: what one writes without this project: one DoFn that calls librosa.load and the SavedModel, clip by clip."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import librosa
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

SAMPLE_RATE_HZ = 16_000


class NaiveFn(beam.DoFn):
    """Holds the SavedModel, as `tensorflow_hub.load` gives it."""

    def __init__(self, model: str) -> None:
        self._model_path = model

    def setup(self) -> None:
        self._model = load(self._model_path)

    def process(self, path: str) -> Iterator[bytes]:
        waveform, _ = librosa.load(path, sr=SAMPLE_RATE_HZ, mono=True)
        scores, embeddings, _ = self._model(waveform)
        features = {
            "uri": tf.train.Feature(bytes_list=tf.train.BytesList(value=[path.encode()])),
            "embedding": _floats(embeddings.numpy().mean(axis=0)),
            "scores": _floats(scores.numpy().mean(axis=0)),
        }
        yield tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@functools.cache
def load(model: str) -> Any:
    """The SavedModel; it stays loaded from run to run, as ours does."""
    found: Any = tf.saved_model.load(model)
    if hasattr(found, "layer-1"):  # TF-Hub's module as a Keras layer, as the published wheel has it
        module = getattr(found, "layer-1").layer._func
        module.keep_alive = found  # its variables die with the wrapper
        return module
    return found


def _floats(values: Any) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def embed(folder: str, output: str, *, model: str) -> dict[str, Any]:
    """Embeds the clips of a folder into TFRecord files below `output`."""
    paths = sorted(map(str, Path(folder).iterdir()))
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as root:
        _ = (
            root
            | beam.Create(paths)
            | beam.ParDo(NaiveFn(model))
            | beam.io.WriteToTFRecord(f"{output}/clips", file_name_suffix=".tfrecord")
        )
    return {"rows": len(paths)}
