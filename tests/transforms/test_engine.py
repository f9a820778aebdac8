"""How TensorFlow comes into a process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

AFTERWARDS = """
import sys
from transforms import engine
tensorflow = engine.tensorflow()
assert "keras" not in sys.modules
from tensorflow.keras import layers
import tensorflow.keras.models
import keras
assert layers.Dense is tensorflow.keras.layers.Dense is keras.layers.Dense
print(tensorflow.keras.Sequential([layers.Dense(3)])(tensorflow.ones([1, 2])).shape)
"""


def test_keras_is_not_imported_and_works_when_it_is_wanted():
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 3)\n"
