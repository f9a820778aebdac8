"""Owns how TensorFlow comes into a process: when first needed, quietly, and with the threads it is told to use."""

import contextlib
import functools
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any


@functools.cache
def tensorflow() -> Any:
    """The TensorFlow module."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet_stderr(), _without_keras():
        import tensorflow as module
    return module


def configure(num_threads: int | None) -> None:
    """Sets up this process's TensorFlow for our network alone, if it has not started yet.

    Args:
      num_threads: within one operation; None for one a core. Operations follow one another.
    """
    module = tensorflow()
    # Once TensorFlow has started in this process, its threads are what they are.
    with contextlib.suppress(RuntimeError):
        module.config.threading.set_intra_op_parallelism_threads(num_threads or 0)
        module.config.threading.set_inter_op_parallelism_threads(1)
        module.config.set_visible_devices([], "GPU")
        # It finds nothing to do in our graph, and copies the weights to look.
        module.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keeps TensorFlow from importing all of Keras, which takes a second and 20 to 150 MB, by what else is there.

    It does so to register optimizers. Whoever uses `tf.keras` afterwards imports it then.
    """
    if "keras" in sys.modules or not (spec := importlib.util.find_spec("keras")):
        yield
        return
    there = types.ModuleType("keras")  # it can be found, and has no modules
    there.__spec__ = spec
    sys.modules["keras"] = there
    try:
        yield
    finally:
        del sys.modules["keras"]


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Holds back what native code prints on stderr, where no log level reaches; shows it if the import fails."""
    try:
        stderr = sys.__stderr__.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # no stderr at all
        yield
        return
    kept = os.dup(stderr)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), stderr)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, stderr)
            os.close(kept)
