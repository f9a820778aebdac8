"""Owns the network's layers: YAMNet's convolutions with batch norm folded in."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms import weights as tensors
from transforms.weights import Weights

Array = npt.NDArray[np.float32]


class Layer(NamedTuple):
    """A convolution with its batch norm folded in, to be followed by ReLU.

    Attributes:
      depthwise: whether `kernel` is [3, 3, channels, 1], else [height, width, channels, filters].
      stride: in both directions.
      bias: [channels] or [filters].
    """

    depthwise: bool
    stride: int
    kernel: Array
    bias: Array


def folded_layers(weights: Weights) -> Iterator[Layer]:
    """The network's convolutions with batch norm folded into kernel and bias, computed in float64."""
    strides = [tensors.FIRST_STRIDE] + [s for stride, _ in tensors.BLOCKS for s in (stride, 1)]
    kernels = [tensor for tensor in tensors.TENSORS if len(tensor.shape) == 4]
    for tensor, stride in zip(kernels, strides, strict=True):
        norm = tensor.name.removesuffix("kernel") + "bn/"
        variance, mean, beta = (
            weights[norm + statistic].astype(np.float64) for statistic in ("moving_variance", "moving_mean", "beta")
        )
        scale = 1 / np.sqrt(variance + tensors.BATCH_NORM_EPSILON)
        depthwise = "depthwise" in tensor.variable
        kernel = weights[tensor.name] * (scale[:, None] if depthwise else scale)
        yield Layer(depthwise, stride, kernel.astype(np.float32), (beta - mean * scale).astype(np.float32))
