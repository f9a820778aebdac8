"""A second, deliberately plain YAMNet in float64 numpy, to judge the product's by.

It shares no code with the product: the front end is written from the formulas, the network walks
the layers one by one with its batch norms unfolded. Sources: params.py, features.py and yamnet.py
of https://github.com/tensorflow/models/tree/master/research/audioset/yamnet, and the definitions of
tf.signal.stft and tf.signal.linear_to_mel_weight_matrix.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import expit

# Upstream's params.py, in samples at 16 kHz and in frames.
SAMPLE_RATE = 16_000
WINDOW, HOP, FFT = 400, 160, 512
MEL_BANDS, MEL_LOW_HZ, MEL_HIGH_HZ = 64, 125.0, 7500.0
LOG_OFFSET = 0.001
PATCH_FRAMES, PATCH_HOP_FRAMES = 96, 48
PATCH_SAMPLES = (PATCH_FRAMES - 1) * HOP + WINDOW  # 15600
PATCH_HOP_SAMPLES = PATCH_HOP_FRAMES * HOP  # 7680

# The depthwise stride of each of the 13 separable blocks; the filter counts are in the weights.
SEPARABLE_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
BATCH_NORM_EPSILON = 1e-4

# [(layer number, variable name)] -> float64 array.
Weights = dict[tuple[int, str], np.ndarray]

_VARIABLE = re.compile(
    r"layer_with_weights-(\d+)/(kernel|depthwise_kernel|beta|moving_mean|moving_variance|bias)"
    r"/\.ATTRIBUTES/VARIABLE_VALUE$"
)
NUM_VARIABLES = 110  # 28 kernels, 27 batch norms of three, one bias


def load_weights(checkpoint: str | Path) -> Weights:
    """Reads the network's variables of a TF checkpoint (`.../variables/variables`) as float64.

    Layers count in network order: 0 is the first convolution, 1 its batch norm, ..., 54 the dense
    layer. Whatever stands before `layer_with_weights-N` in a key is left out of account.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint))
    weights: Weights = {}
    for key in reader.get_variable_to_shape_map():
        match = _VARIABLE.search(key)
        if match:
            place = (int(match[1]), match[2])
            if place in weights:
                raise ValueError(f"{checkpoint} holds layer {place} twice")
            weights[place] = reader.get_tensor(key).astype(np.float64)
    if len(weights) != NUM_VARIABLES:
        raise ValueError(f"{checkpoint} has {len(weights)} of YAMNet's {NUM_VARIABLES} variables")
    return weights


# ---------------------------------------------------------------- front end


def pad(waveform: np.ndarray) -> np.ndarray:
    """Appends zeros to [num_samples] up to a whole number of patches, at least one."""
    beyond_first = max(0, len(waveform) - PATCH_SAMPLES)
    hops = -(-beyond_first // PATCH_HOP_SAMPLES)
    return np.pad(waveform, (0, PATCH_SAMPLES + hops * PATCH_HOP_SAMPLES - len(waveform)))


def mel_matrix() -> np.ndarray:
    """Returns the HTK mel weights [257, 64] in float64: triangles of peak 1 in mel, DC bin zero."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(MEL_LOW_HZ), mel(MEL_HIGH_HZ), MEL_BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return matrix


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Returns the padded waveform's log-mel spectrogram [num_frames, 64], all in float64."""
    samples = pad(np.asarray(waveform, np.float64))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # periodic
    magnitude = np.abs(np.fft.rfft(frames * hann, n=FFT))
    return np.log(magnitude @ mel_matrix() + LOG_OFFSET)


def upstream_float32_log_mel(waveform: np.ndarray) -> np.ndarray:
    """Returns what upstream's own float32 graph gives for `log_mel`, as float32 [num_frames, 64].

    The operations of features.py, in its order. Only the padding is ours, in integers: upstream's
    float32 ceil gives the same up to some minutes.
    """
    import tensorflow as tf

    spectrum = tf.signal.stft(
        tf.constant(pad(np.asarray(waveform, np.float32))),
        frame_length=WINDOW,
        frame_step=HOP,
        fft_length=FFT,
    )
    to_mel = tf.signal.linear_to_mel_weight_matrix(
        num_mel_bins=MEL_BANDS,
        num_spectrogram_bins=FFT // 2 + 1,
        sample_rate=float(SAMPLE_RATE),
        lower_edge_hertz=MEL_LOW_HZ,
        upper_edge_hertz=MEL_HIGH_HZ,
    )
    return tf.math.log(tf.matmul(tf.abs(spectrum), to_mel) + LOG_OFFSET).numpy()


def cut_patches(log_mel_frames: np.ndarray) -> np.ndarray:
    """Cuts [num_frames, 64] into [num_patches, 96, 64]; the padding made them fit exactly."""
    starts = range(0, len(log_mel_frames) - PATCH_FRAMES + 1, PATCH_HOP_FRAMES)
    return np.stack([log_mel_frames[start : start + PATCH_FRAMES] for start in starts])


# ------------------------------------------------------------------ network


def _windows(x: np.ndarray, stride: int) -> dict[tuple[int, int], np.ndarray]:
    """Returns, per tap (row, column) of a 3x3 kernel, the view of x [N, H, W, C] it multiplies.

    TF's 'same' padding: ceil(size / stride) outputs, the odd zero goes after (bottom, right).
    """
    outputs, before_after = [], []
    for size in x.shape[1:3]:
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + 3 - size)
        outputs.append(out)
        before_after.append((total // 2, total - total // 2))
    padded = np.pad(x, ((0, 0), *before_after, (0, 0)))
    height, width = outputs
    return {
        (row, column): padded[
            :,
            row : row + (height - 1) * stride + 1 : stride,
            column : column + (width - 1) * stride + 1 : stride,
        ]
        for row in range(3)
        for column in range(3)
    }


def _convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Full 3x3 convolution: [N, H, W, C] by [3, 3, C, F]."""
    return sum(view @ kernel[tap] for tap, view in _windows(x, stride).items())


def _convolve_depthwise(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """One 3x3 filter a channel: [N, H, W, C] by [3, 3, C, 1]."""
    return sum(view * kernel[tap][:, 0] for tap, view in _windows(x, stride).items())


def _norm_relu(x: np.ndarray, weights: Weights, layer: int) -> np.ndarray:
    mean, variance = weights[layer, "moving_mean"], weights[layer, "moving_variance"]
    x = (x - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) + weights[layer, "beta"]
    return np.maximum(x, 0.0)


def _network_batch(x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    x = _convolve(x[..., None], weights[0, "kernel"], stride=2)
    x = _norm_relu(x, weights, 1)
    layer = 2
    for stride in SEPARABLE_STRIDES:
        x = _convolve_depthwise(x, weights[layer, "depthwise_kernel"], stride)
        x = _norm_relu(x, weights, layer + 1)
        x = x @ weights[layer + 2, "kernel"][0, 0]
        x = _norm_relu(x, weights, layer + 3)
        layer += 4
    embeddings = x.mean(axis=(1, 2))
    scores = expit(embeddings @ weights[layer, "kernel"] + weights[layer, "bias"])
    return scores, embeddings


def network(patches: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Runs [N, 96, 64] through the float64 network: scores [N, 521] and embeddings [N, 1024]."""
    patches = np.asarray(patches, np.float64)
    batches = [patches[start : start + 8] for start in range(0, len(patches), 8)]  # bounds memory
    scores, embeddings = zip(*(_network_batch(batch, weights) for batch in batches), strict=True)
    return np.concatenate(scores), np.concatenate(embeddings)


def run(
    waveform: np.ndarray,
    weights: Weights,
    front_end: Callable[[np.ndarray], np.ndarray] = log_mel,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs a mono 16 kHz waveform [num_samples] in [-1, 1] from samples to scores.

    Args:
        waveform: the samples, of any float type.
        weights: what `load_weights` returned.
        front_end: `log_mel`, or `upstream_float32_log_mel` to see what upstream's rounding does.

    Returns:
        scores [num_patches, 521] and embeddings [num_patches, 1024] in float64, and the front end's
        log-mel [num_frames, 64].
    """
    frames = front_end(waveform)
    scores, embeddings = network(cut_patches(frames), weights)
    return scores, embeddings, frames
