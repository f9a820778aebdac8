"""What the machine is, and what it can do at best: GEMM in float32 and bfloat16.

python machine.py     # prints the ceilings of one core as JSON
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = (512, 1024, 2048)
SECONDS = 0.2  # of each size, after one call to warm up
FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
PACKAGES = ("apache-beam", "tensorflow", "numpy", "soundfile", "soxr", "librosa")


def describe() -> dict[str, Any]:
    """Processor, features, memory, and the versions that matter."""
    text = Path("/proc/cpuinfo").read_text()
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].replace("\t", "").splitlines() if ":" in line)
    flags = lines.get("flags", "").split()
    return {
        "processor": lines.get("model name", platform.processor()).strip(),
        "family_model_stepping": "/".join(lines.get(key, "?").strip() for key in ("cpu family", "model", "stepping")),
        "features": [feature for feature in FEATURES if feature in flags],
        "feature_class": feature_class(flags),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def feature_class(flags: list[str]) -> str:
    """What the bars depend on: amx, avx512_bf16 (without AMX) or neither."""
    return "amx" if "amx_bf16" in flags else "avx512_bf16" if "avx512_bf16" in flags else "neither"


def ceilings(output: str) -> dict[str, dict[str, float]]:
    """GFLOP/s of square matrix products, the best over sizes."""
    import numpy as np
    import tensorflow as tf

    def best(make: Callable[[int], Callable[[], Any]]) -> float:
        return max(_gflops(make(size), size) for size in SIZES)

    def numpy_product(size: int) -> Callable[[], Any]:
        matrix = np.random.RandomState(0).standard_normal((size, size)).astype(np.float32)
        return lambda: matrix @ matrix

    def tensorflow_product(dtype: Any) -> Callable[[int], Callable[[], Any]]:
        def make(size: int) -> Callable[[], Any]:
            matrix = tf.cast(np.random.RandomState(0).standard_normal((size, size)), dtype)
            product = tf.function(lambda left: tf.matmul(left, matrix), autograph=False)
            return lambda: product(matrix)

        return make

    gflops = {
        "numpy_float32": best(numpy_product),
        "tensorflow_float32": best(tensorflow_product(tf.float32)),
        "tensorflow_bfloat16": best(tensorflow_product(tf.bfloat16)),
    }
    return {"gflops": gflops}


def _gflops(product: Callable[[], Any], size: int) -> float:
    product()
    fastest, until = float("inf"), time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < until:
        product()
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest / 1e9
