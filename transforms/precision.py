"""Owns the choice of the network's precision: bfloat16 only where this processor is faster at it.

With AMX or AVX512-BF16 it is twice to three times as fast; without them TensorFlow widens every number, at half the
speed of float32. A hypervisor may hide the instructions, so the processor's name tells nothing: it is measured.
"""

import functools
import time
from typing import Any, Literal, TypeAlias

import numpy as np

from transforms import engine, errors
from transforms.yamnet import Precision

Wanted: TypeAlias = Literal["float32", "bfloat16", "auto"]

MIN_SPEEDUP = 1.1  # where the instructions are there it is 1.8 or more, elsewhere about 0.5
REPETITIONS = 10  # of a product of [768, 512] and [512, 512], as in the network's middle: 2 ms


def chosen_precision(wanted: Wanted) -> Precision:
    """The precision for this process: as wanted, or with `auto` the faster one.

    Raises:
      ModelError: bfloat16 is wanted, and this processor is not faster at it.
    """
    if wanted == "float32" or (wanted == "auto" and bfloat16_speedup() < MIN_SPEEDUP):
        return "float32"
    if (speedup := bfloat16_speedup()) < MIN_SPEEDUP:
        raise errors.ModelError(
            f"--precision=bfloat16: this processor is {speedup:.2f} times as fast in it as in float32, so it "
            "would only cost accuracy. Take float32, or machines with AMX or AVX512-BF16"
        )
    return "bfloat16"


@functools.cache
def bfloat16_speedup() -> float:
    """How many times as fast as in float32 this process multiplies in bfloat16; measured at the first call, 0.2 s."""
    tf = engine.tensorflow()
    left, right = (np.random.RandomState(0).standard_normal(shape).astype(np.float32) for shape in _SHAPES)
    products = [_product(tf.cast(left, dtype), tf.constant(right, dtype)) for dtype in (tf.float32, tf.bfloat16)]
    # The fastest of turns: others who use the processor slow single ones down.
    turns = [[_seconds(product) for product in products] for _ in range(REPETITIONS + 1)]
    exact, rounded = (min(times) for times in zip(*turns[1:], strict=True))
    return exact / rounded


_SHAPES = (768, 512), (512, 512)


def _product(left: Any, right: Any) -> Any:
    tf = engine.tensorflow()
    traced = tf.function(lambda matrix: tf.matmul(matrix, right), autograph=False)
    return functools.partial(traced.get_concrete_function(left), left)


def _seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
