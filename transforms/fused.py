"""Owns the network as TensorFlow's fused operations: convolution, bias and ReLU in one.

TensorFlow's optimizer makes the same of `yamnet.forward`, and holds the weights a dozen times meanwhile. Written so in
the first place, and with the large kernels beside the graph instead of in it, a process needs 170 MB less and is ready
sooner. The operations are TensorFlow's own and not public: the pinned version has them, and every load is checked
against known answers.
"""

import functools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from transforms import engine

if TYPE_CHECKING:
    from transforms.yamnet import Layer


def forward(patches: Any, layers: "Iterable[Layer]", head: tuple[Any, Any], dtype: Any) -> tuple[Any, Any]:
    """`yamnet.forward` of constant layers, in a graph that is being traced.

    Args:
      patches: float32 tensor [num_patches, 96, 64] of log-mel.
      layers: as `yamnet.folded_layers` gives them.
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
        if layer.depthwise:
            kernel = tf.constant(layer.kernel, dtype)
            steps = [1, layer.stride, layer.stride, 1]
            window = {"strides": value(list=value.ListValue(i=steps)), "padding": value(s=b"SAME")}
            net = _fused("_FusedDepthwiseConv2dNative", net, kernel, bias, **window)
        elif layer.kernel.shape[:2] == (1, 1):  # a matrix product over all pixels
            pixels = tf.reshape(net, [-1, net.shape[-1]])
            operation, details = _product()
            pixels = _fused(operation, pixels, _beside_the_graph(layer.kernel[0, 0], dtype), bias, **details)
            net = tf.reshape(pixels, [-1, *net.shape[1:3], len(layer.bias)])
        else:
            net = tf.nn.conv2d(net, tf.constant(layer.kernel, dtype), layer.stride, "SAME")
            net = tf.nn.relu(tf.nn.bias_add(net, bias))
    embeddings = tf.reduce_mean(tf.cast(net, tf.float32), axis=[1, 2])
    return embeddings, tf.sigmoid(tf.matmul(embeddings, _beside_the_graph(head[0], tf.float32)) + head[1])


def _beside_the_graph(kernel: Any, dtype: Any) -> Any:
    """A tensor that the graph refers to; of one that is a constant in it, TensorFlow keeps half a dozen copies."""
    tf = engine.tensorflow()
    with tf.init_scope():
        return tf.cast(kernel, dtype)


@functools.cache
def _product() -> tuple[str, dict[str, Any]]:
    """The operation, with its attributes, for products with a matrix that stays the same.

    It is oneDNN's, which packs the matrix once, unless this build of TensorFlow has none or is told to do without it.
    TensorFlow chooses it by itself, too, but packs only what is a constant in the graph.
    """
    tf = engine.tensorflow()
    value = tf.compat.v1.AttrValue
    packed = "_MklNativeFusedMatMul", {"is_filter_const": value(b=True), "_kernel": value(s=b"MklNameChangeOp")}

    def once() -> Any:
        ones = tf.ones([1, 1])
        return _fused(packed[0], ones, ones, tf.ones([1]), **packed[1])

    try:
        if os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
            tf.function(once, autograph=False)()
            return packed
    except (tf.errors.OpError, RuntimeError, ValueError):
        pass
    return "_FusedMatMul", {}


def _fused(operation: str, net: Any, kernel: Any, bias: Any, **more: Any) -> Any:
    tf = engine.tensorflow()

    value = tf.compat.v1.AttrValue
    attributes = {
        "T": value(type=net.dtype.as_datatype_enum),
        "num_args": value(i=1),
        "fused_ops": value(list=value.ListValue(s=[b"BiasAdd", b"Relu"])),
    }
    graph = tf.compat.v1.get_default_graph()
    inputs = [net, kernel, bias]
    return graph.create_op(operation, inputs, [net.dtype], name="fused", attrs=attributes | more).outputs[0]
