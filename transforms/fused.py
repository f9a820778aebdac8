"""Owns the network as TensorFlow's fused operations: convolution, bias and ReLU in one, by oneDNN.

TensorFlow's optimizer makes the same of `yamnet.forward`, and holds the weights a dozen times meanwhile. Written so in
the first place, and with the large kernels beside the graph instead of in it, a process needs 170 MB less and is ready
sooner. The operations are TensorFlow's own and not public: the pinned version has them, those that lack them take the
plain network, and every load is checked against known answers.
"""

import functools
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from transforms import engine
from transforms.layers import Layer

_ONEDNN = "_MklNativeFused"  # how the names of its operations begin


@functools.cache
def is_possible() -> bool:
    """Whether this build of TensorFlow has oneDNN's operations and may use them; tries them on a tiny network."""
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    tf = engine.tensorflow()
    kernel, bias = np.ones([3, 3, 1, 1], np.float32), np.ones(1, np.float32)
    layers = [Layer(False, 2, kernel, bias), Layer(True, 1, kernel, bias), Layer(False, 1, kernel[:1, :1], bias)]

    def network(patches: Any) -> Any:
        return forward(patches, layers, (kernel[0, 0], bias), tf.float32)

    try:
        tf.function(network, autograph=False)(tf.ones([1, 4, 4]))
    except (tf.errors.OpError, RuntimeError, ValueError):
        return False
    return True


def forward(patches: Any, layers: Iterable[Layer], head: tuple[Any, Any], dtype: Any) -> tuple[Any, Any]:
    """`yamnet.forward` of layers that never change, in a graph that is being traced.

    Args:
      patches: float32 tensor [num_patches, 96, 64] of log-mel.
      layers: as `layers.folded_layers` gives them.
      head: kernel [1024, 521] and bias [521] of the classifier.
      dtype: of the convolutions; features, embeddings and scores stay float32.

    Returns:
      Tensors embeddings [num_patches, 1024] and scores [num_patches, 521].
    """
    tf = engine.tensorflow()
    value = tf.compat.v1.AttrValue

    net = tf.cast(patches[..., tf.newaxis], dtype)
    for layer in layers:
        bias = tf.constant(layer.bias, dtype)
        if layer.kernel.shape[:2] == (1, 1):  # a matrix product over all pixels
            pixels = tf.reshape(net, [-1, net.shape[-1]])
            pixels = _fused("MatMul", pixels, _beside_the_graph(layer.kernel[0, 0], dtype), bias)
            net = tf.reshape(pixels, [-1, *net.shape[1:3], len(layer.bias)])
            continue
        steps = value(list=value.ListValue(i=[1, layer.stride, layer.stride, 1]))
        window = {"strides": steps, "padding": value(s=b"SAME")}
        kernel = tf.constant(layer.kernel, dtype)
        if layer.depthwise:
            net = _fused("DepthwiseConv2dNative", net, kernel, bias, **window)
        else:
            window["TArgs"] = value(list=value.ListValue(type=[dtype.as_datatype_enum]))
            net = _fused("Conv2D", net, kernel, bias, num_host_args=value(i=0), **window)
    embeddings = tf.reduce_mean(tf.cast(net, tf.float32), axis=[1, 2])
    return embeddings, tf.sigmoid(tf.matmul(embeddings, _beside_the_graph(head[0], tf.float32)) + head[1])


def _beside_the_graph(kernel: Any, dtype: Any) -> Any:
    """A tensor that the graph refers to; of one that is a constant in it, TensorFlow keeps half a dozen copies."""
    tf = engine.tensorflow()

    with tf.init_scope():
        return tf.cast(kernel, dtype)


def _fused(operation: str, net: Any, kernel: Any, bias: Any, **more: Any) -> Any:
    """oneDNN's operation, with bias and ReLU; it packs the kernel once."""
    tf = engine.tensorflow()

    value = tf.compat.v1.AttrValue
    attributes = {
        "T": value(type=net.dtype.as_datatype_enum),
        "num_args": value(i=1),
        "fused_ops": value(list=value.ListValue(s=[b"BiasAdd", b"Relu"])),
        "is_filter_const": value(b=True),
        "_kernel": value(s=b"MklNameChangeOp"),  # as TensorFlow marks what it puts in the place of its own
    }
    graph = tf.compat.v1.get_default_graph()
    inputs = [net, kernel, bias]
    return graph.create_op(_ONEDNN + operation, inputs, [net.dtype], name="fused", attrs=attributes | more).outputs[0]
