"""Owns the export: a SavedModel that answers like TF-Hub's YAMNet, and takes batches of patches besides."""

import tempfile
from pathlib import Path
from typing import Any

from transforms import engine, features, model_sources, model_store, storage, yamnet
from transforms.layers import Layer, folded_layers
from transforms.segments import PATCH_HOP_SAMPLES, PATCH_SAMPLES


def export(model_directory: str, output: str) -> None:
    """Writes a SavedModel to a local directory.

        model = tf.saved_model.load(output)
        scores, embeddings, log_mel = model(waveform)         # float32 [num_samples] at 16 kHz
        model.class_map_path()
        model.embed_patches(patches)                          # float32 [batch, 96, 64]

    Signatures: `waveform` and `patches`.

    Raises:
      ModelError: the model directory cannot be used.
    """
    tf = engine.tensorflow()

    weights = model_store.load_weights(model_directory)
    with tempfile.TemporaryDirectory() as scratch:
        class_map = Path(scratch) / model_sources.CLASS_MAP_FILE
        class_map.write_bytes(storage.read_bytes(model_store.class_map_path(model_directory)))
        module: Any = tf.Module(name="yamnet")
        module.class_map = tf.saved_model.Asset(str(class_map))
        module.layers = [
            Layer(layer.depthwise, layer.stride, tf.Variable(layer.kernel), tf.Variable(layer.bias))
            for layer in folded_layers(weights)
        ]
        module.head = tf.Variable(weights["logits/kernel"]), tf.Variable(weights["logits/bias"])

        @tf.function(input_signature=[tf.TensorSpec([None, 96, 64], tf.float32, name="patches")])
        def embed_patches(patches: Any) -> dict[str, Any]:
            embeddings, scores = yamnet.forward(patches, module.layers, module.head, tf.float32)
            return {"embeddings": embeddings, "scores": scores}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
        def call(waveform: Any) -> tuple[Any, Any, Any]:
            log_mel = log_mel_tensor(waveform)
            patches = tf.signal.frame(log_mel, features.PATCH_FRAMES, features.PATCH_HOP_FRAMES, axis=0)
            outputs = embed_patches(patches)
            return outputs["scores"], outputs["embeddings"], log_mel

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
        def waveform_signature(waveform: Any) -> dict[str, Any]:
            scores, embeddings, log_mel = call(waveform)
            return {"scores": scores, "embeddings": embeddings, "log_mel_spectrogram": log_mel}

        @tf.function(input_signature=[])
        def class_map_path() -> Any:
            return module.class_map.asset_path

        module.__call__ = call
        module.embed_patches = embed_patches
        module.class_map_path = class_map_path
        signatures = {"serving_default": waveform_signature, "waveform": waveform_signature, "patches": embed_patches}
        tf.saved_model.save(module, output, signatures=signatures)


def log_mel_tensor(waveform: Any) -> Any:
    """The front end as TensorFlow operations: log-mel [num_frames, 64] of a waveform [num_samples], in float32."""
    tf = engine.tensorflow()

    num_samples = tf.shape(waveform)[0]
    # Integers: upstream's float32 ceil is wrong for long waveforms.
    hops = tf.maximum(0, -((PATCH_SAMPLES - num_samples) // PATCH_HOP_SAMPLES))
    padded = tf.pad(waveform, [[0, PATCH_SAMPLES + PATCH_HOP_SAMPLES * hops - num_samples]])
    spectrum = tf.signal.stft(padded, features.WINDOW_SAMPLES, features.HOP_SAMPLES, features.FFT_SAMPLES)
    return tf.math.log(tf.abs(spectrum) @ features.mel_matrix() + features.LOG_OFFSET)
