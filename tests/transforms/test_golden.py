"""The known answers, and the models that do not give them."""

import numpy as np
import pytest

from transforms import errors, golden
from transforms.weights import Weights
from transforms.yamnet import Classes, Yamnet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def known(model: Yamnet) -> dict:
    return golden.answers(model)


def changed(weights: Weights, name: str, factor: float, classes: Classes) -> Yamnet:
    return Yamnet({**weights, name: weights[name] * np.float32(factor)}, classes)


def test_the_signals_are_three_seconds_of_each():
    signals = golden.signals()
    assert list(signals) == ["Silence", "White noise", "Sine wave"]
    for waveform in signals.values():
        assert (waveform.shape, waveform.dtype) == ((48_000,), np.float32)


def test_the_model_gives_its_own_answers(model, known):
    golden.check(model, known)
    golden.check_upstream(model)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("logits/bias", 1.01), ("layer5/depthwise_conv/kernel", 1.01), ("layer14/pointwise_conv/bn/moving_mean", 0.9)],
)
def test_a_slightly_changed_weight_is_noticed(model, known, published_weights, name, factor):
    with pytest.raises(errors.ModelError, match=r"a score is off by .*python -m pipeline model fetch --force"):
        golden.check(changed(published_weights, name, factor, model.classes), known)


def test_a_network_of_other_weights_is_not_yamnet(model, random_weights):
    positive = {name: np.abs(array) if "variance" in name else array for name, array in random_weights.items()}
    with pytest.raises(errors.ModelError, match="these weights are not YAMNet's"):
        golden.check_upstream(Yamnet(positive, model.classes))


def test_the_right_network_with_the_wrong_class_names_is_noticed(model, published_weights):
    names = (*model.classes.names[1:], model.classes.names[0])
    with pytest.raises(errors.ModelError, match="'Silence' is heard as"):
        golden.check_upstream(Yamnet(published_weights, Classes(names, model.classes.mids)))


def test_a_network_that_gives_nan_is_noticed(model, known, published_weights):
    broken = Yamnet({**published_weights, "logits/bias": np.full(521, np.nan, np.float32)}, model.classes)
    with pytest.raises(errors.ModelError, match="off by nan"):
        golden.check(broken, known)
