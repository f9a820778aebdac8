"""Owns the network: YAMNet rebuilt to take batches of patches, batch norm folded, loaded once per process.

TF-Hub's YAMNet takes one waveform a call; nothing in the network mixes patches, so those of many clips share a block.
TensorFlow is imported when a network is built, never before.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms import engine, fused
from transforms import weights as tensors
from transforms.layers import Layer, folded_layers
from transforms.weights import Weights

Array = npt.NDArray[np.float32]
Precision = Literal["float32", "bfloat16"]

BLOCK_PATCHES = 32  # larger blocks leave the processor's caches, smaller ones cost more per patch


class Outputs(NamedTuple):
    """What the network says of patches.

    Attributes:
      embeddings: float32 [num_patches, 1024], not negative.
      scores: float32 [num_patches, 521], independent sigmoids, not calibrated.
    """

    embeddings: Array
    scores: Array


def forward(patches: Any, layers: Iterable[Layer], head: tuple[Any, Any], dtype: Any) -> tuple[Any, Any]:
    """The network as plain TensorFlow operations, to be exported or trained; `fused.forward` is faster.

    Args:
      patches: float32 tensor [num_patches, 96, 64] of log-mel.
      layers: as `layers.folded_layers` gives them, tensors or arrays.
      head: kernel [1024, 521] and bias [521] of the classifier.
      dtype: of the convolutions; features, embeddings and scores stay float32.

    Returns:
      Tensors embeddings [num_patches, 1024] and scores [num_patches, 521].
    """
    tf = engine.tensorflow()

    net = tf.cast(patches[..., tf.newaxis], dtype)
    for layer in layers:
        kernel, stride = tf.cast(layer.kernel, dtype), layer.stride
        if layer.depthwise:
            net = tf.nn.depthwise_conv2d(net, kernel, [1, stride, stride, 1], "SAME")
        else:
            net = tf.nn.conv2d(net, kernel, stride, "SAME")
        net = tf.nn.relu(tf.nn.bias_add(net, tf.cast(layer.bias, dtype)))
    embeddings = tf.reduce_mean(tf.cast(net, tf.float32), axis=[1, 2])
    return embeddings, tf.sigmoid(tf.matmul(embeddings, head[0]) + head[1])


class Classes(NamedTuple):
    """The 521 classes by index.

    Attributes:
      names: display names.
      mids: AudioSet machine ids.
    """

    names: tuple[str, ...]
    mids: tuple[str, ...]


class Yamnet:
    """The network in memory, ready for patches. Thread-safe; hold one per process.

    Attributes:
      version: fingerprint of the weights.
      classes: what the scores mean.
      precision: of the convolutions.
    """

    def __init__(self, weights: Weights, classes: Classes, *, precision: Precision = "float32") -> None:
        """Builds and traces the network.

        Args:
          weights: as `transforms.weights` reads them.
          classes: what the scores mean.
          precision: of the convolutions.
        """
        tf = engine.tensorflow()

        self.version = tensors.fingerprint(weights)
        self.classes = classes
        self.precision = precision
        layers = folded_layers(weights)  # folded one by one while the network is traced, which happens once
        head = weights["logits/kernel"], weights["logits/bias"]
        dtype = tf.dtypes.as_dtype(precision)

        compute = fused.forward if fused.is_possible() else forward

        def network(patches: Any) -> tuple[Any, Any]:
            return compute(patches, layers, head, dtype)

        signature = tf.TensorSpec([None, 96, 64], tf.float32)
        self._network = tf.function(network, autograph=False).get_concrete_function(signature)
        self._to_tensor = tf.constant

    def embed(self, batch: Sequence[Array]) -> list[Outputs]:
        """Runs the network over a batch of clips' or segments' patches, each [num_patches, 96, 64].

        The patches of all are laid one after the other into blocks of 32. The last block is filled up to one of a
        few sizes, so that TensorFlow prepares each size once.
        """
        if not batch:
            return []
        ends = np.cumsum([len(patches) for patches in batch])
        embeddings = np.empty((ends[-1], tensors.EMBEDDING_SIZE), np.float32)
        scores = np.empty((ends[-1], tensors.NUM_CLASSES), np.float32)
        for start, stop, block in _blocks(batch):
            block_embeddings, block_scores = self._network(self._to_tensor(block))
            embeddings[start:stop] = block_embeddings.numpy()[: stop - start]
            scores[start:stop] = block_scores.numpy()[: stop - start]
        return [
            Outputs(*pair) for pair in zip(np.split(embeddings, ends[:-1]), np.split(scores, ends[:-1]), strict=True)
        ]


def _blocks(batch: Sequence[Array]) -> Iterator[tuple[int, int, Array]]:
    """Yields (start, stop, block): block[: stop - start] holds patches start to stop of the whole batch."""
    total = sum(map(len, batch))
    pieces = iter(batch)
    piece = next(pieces)
    for start in range(0, total, BLOCK_PATCHES):
        stop = min(start + BLOCK_PATCHES, total)
        block = np.empty((block_size(stop - start), *piece.shape[1:]), np.float32)
        filled = 0
        while filled < stop - start:
            taken = piece[: stop - start - filled]
            block[filled : filled + len(taken)] = taken
            filled += len(taken)
            piece = piece[len(taken) :] if len(taken) < len(piece) else next(pieces, piece)
        block[filled:] = 0
        yield start, stop, block


def block_size(num_patches: int) -> int:
    """Patches in the block that `num_patches` <= 32 run in: a power of two; fewer than 4 oneDNN rounds otherwise."""
    return max(4, 1 << (num_patches - 1).bit_length())
