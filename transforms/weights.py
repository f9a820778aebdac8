"""Owns YAMNet's tensors: their names, order and shapes, where checkpoints keep them, and their fingerprint.

Architecture from tensorflow/models research/audioset/yamnet/yamnet.py: a 3x3 convolution and 13 separable blocks, each
followed by batch norm without gamma and ReLU, then a dense layer of 521 sigmoids. 110 tensors, 3 751 369 numbers.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms import engine, errors

NUM_CLASSES = 521
EMBEDDING_SIZE = 1024
FIRST_STRIDE, FIRST_FILTERS = 2, 32
BLOCKS = (  # (stride, filters) of the separable blocks
    *((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *((1, 512),) * 5,
    *((2, 1024), (1, 1024)),
)
BATCH_NORM_EPSILON = 1e-4

Weights = Mapping[str, npt.NDArray[np.float32]]


class Tensor(NamedTuple):
    """One tensor of the network: its name here, its shape, and its places elsewhere.

    Attributes:
      name: such as layer2/depthwise_conv/kernel (upstream's layer names).
      shape: as TensorFlow holds it.
      layer_index: N of `layer_with_weights-N` in a SavedModel's or checkpoint's object graph.
      variable: the variable's name in that layer.
    """

    name: str
    shape: tuple[int, ...]
    layer_index: int
    variable: str


def _tensors() -> Iterator[Tensor]:
    index = 0

    def convolution(name: str, shape: tuple[int, ...], variable: str) -> Iterator[Tensor]:
        nonlocal index
        channels = shape[2] if variable == "depthwise_kernel" else shape[3]
        yield Tensor(f"{name}/kernel", shape, index, variable)
        for statistic in ("beta", "moving_mean", "moving_variance"):
            yield Tensor(f"{name}/bn/{statistic}", (channels,), index + 1, statistic)
        index += 2

    yield from convolution("layer1/conv", (3, 3, 1, FIRST_FILTERS), "kernel")
    channels = FIRST_FILTERS
    for number, (_, filters) in enumerate(BLOCKS, start=2):
        yield from convolution(f"layer{number}/depthwise_conv", (3, 3, channels, 1), "depthwise_kernel")
        yield from convolution(f"layer{number}/pointwise_conv", (1, 1, channels, filters), "kernel")
        channels = filters
    yield Tensor("logits/kernel", (EMBEDDING_SIZE, NUM_CLASSES), index, "kernel")
    yield Tensor("logits/bias", (NUM_CLASSES,), index, "bias")


TENSORS = tuple(_tensors())


def fingerprint(weights: Weights) -> str:
    """sha256 (hex) over the tensors in network order, as little-endian float32: the model_version of every row."""
    digest = hashlib.sha256()
    for tensor in TENSORS:
        digest.update(np.ascontiguousarray(weights[tensor.name], dtype="<f4").tobytes())
    return digest.hexdigest()


def checked(weights: Mapping[str, npt.NDArray[np.float32]], source: str) -> Weights:
    """The same weights in network order, after checking names, shapes and finiteness.

    Raises:
      ModelError: a tensor is missing, has another shape, or holds NaN; names the tensor and `source`.
    """
    ordered = {}
    for tensor in TENSORS:
        if tensor.name not in weights:
            raise errors.ModelError(f"{source} has no {tensor.name}: it does not hold YAMNet's variables")
        array = np.asarray(weights[tensor.name], dtype=np.float32)
        if array.shape != tensor.shape:
            raise errors.ModelError(f"{tensor.name} of {source} has shape {array.shape}; YAMNet's is {tensor.shape}")
        if not np.isfinite(array).all():
            raise errors.ModelError(f"{tensor.name} of {source} holds NaN or infinite numbers")
        ordered[tensor.name] = array
    return ordered


def to_npz(weights: Weights) -> bytes:
    """The weights as an .npz archive without compression, the same bytes for the same weights."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for tensor in TENSORS:
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(weights[tensor.name], "<f4"))
            archive.writestr(zipfile.ZipInfo(f"{tensor.name}.npy"), member.getvalue())
    return buffer.getvalue()


def from_npz(content: bytes, source: str) -> Weights:
    """Reads what `to_npz` wrote.

    Raises:
      ModelError: the archive is damaged or does not hold YAMNet's tensors.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            loaded = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, EOFError) as problem:
        raise errors.ModelError(f"{source} is damaged ({problem})") from problem
    return checked(loaded, source)


def from_checkpoint(prefix: str) -> Weights:
    """Reads a TensorFlow checkpoint (TF-Hub's, a SavedModel's variables/variables, or a Keras one), local or remote.

    TF-Hub's keys and those of re-exports end alike, whatever object they hang from.

    Raises:
      ModelError: no checkpoint there, or one without YAMNet's variables.
    """
    tf = engine.tensorflow()

    try:
        reader = tf.train.load_checkpoint(prefix)
    except (tf.errors.OpError, ValueError, OSError) as problem:
        raise errors.ModelError(f"no readable checkpoint at {prefix}: {problem}") from problem
    ending = re.compile(r"(?:^|/)layer_with_weights-(\d+)/(\w+)/\.ATTRIBUTES/VARIABLE_VALUE$")
    keys: dict[tuple[int, str], list[str]] = {}
    for key in reader.get_variable_to_shape_map():
        if match := ending.search(key):
            keys.setdefault((int(match[1]), match[2]), []).append(key)
    weights = {}
    for tensor in TENSORS:
        candidates = keys.get((tensor.layer_index, tensor.variable), [])
        # Where a larger model wraps YAMNet and has layers of its own, YAMNet's hang from `_yamnet`.
        candidates = [key for key in candidates if "_yamnet/" in key] or candidates
        if candidates:
            try:
                weights[tensor.name] = reader.get_tensor(min(candidates, key=len))
            except (tf.errors.OpError, ValueError, RuntimeError) as problem:
                raise errors.ModelError(f"the checkpoint {prefix} is damaged: {problem}") from problem
    return checked(weights, prefix)


def from_keras_h5(content: bytes, source: str) -> Weights:
    """Reads upstream's yamnet.h5 (Keras' legacy weights file).

    Raises:
      ModelError: not such a file, or one without YAMNet's variables.
    """
    import h5py

    found: dict[str, npt.NDArray[np.float32]] = {}
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(lambda path, item: _take_h5(path, item, found))
    except OSError as problem:
        raise errors.ModelError(f"{source} is not an HDF5 file ({problem})") from problem
    return checked(found, source)


def _take_h5(path: str, item: object, found: dict[str, npt.NDArray[np.float32]]) -> None:
    """Keeps a dataset such as layer2/depthwise_conv/layer2/depthwise_conv/depthwise_kernel:0 by its last layer name."""
    match = re.search(r"(layer\d+/(?:\w+_)?conv(?:/bn)?|dense\w*|logits)/(\w+)(?::0)?$", path)
    if match and hasattr(item, "shape"):
        layer = "logits" if not match[1].startswith("layer") else match[1]
        found[f"{layer}/{match[2].removeprefix('depthwise_')}"] = np.asarray(item)
