"""YAMNet's tensors: their fingerprint, and the files that hold them."""

import io
import re
from collections.abc import Iterator

import h5py
import numpy as np
import pytest

from transforms import errors, weights
from transforms.weights import TENSORS, Weights


def keras_h5(tensors: Weights, *, dense: str = "dense") -> bytes:
    """A file as Keras 2 writes it for upstream's yamnet.py: a group for each layer, the variables by full name."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for tensor in TENSORS:
        layer = dense if tensor.name.startswith("logits/") else tensor.name.rsplit("/", 1)[0]
        layers.setdefault(layer, {})[f"{layer}/{tensor.variable}:0"] = tensors[tensor.name]
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in ("input_1", *layers, "activation")]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for layer in ("input_1", "activation"):
            file.create_group(layer).attrs["weight_names"] = np.array([], "S")
        for layer, variables in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in variables]
            for name, array in variables.items():
                group.create_dataset(name, data=array)
    return buffer.getvalue()


def assert_same(left: Weights, right: Weights) -> None:
    assert list(left) == list(right) == [tensor.name for tensor in TENSORS]
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name])


def test_the_network_has_the_published_number_of_weights():
    assert len(TENSORS) == 110
    assert sum(int(np.prod(tensor.shape)) for tensor in TENSORS) == 3_751_369
    assert len({tensor.name for tensor in TENSORS}) == 110
    assert sorted({tensor.layer_index for tensor in TENSORS}) == list(range(55))


def test_npz_gives_back_the_same_weights(random_weights):
    assert_same(weights.from_npz(weights.to_npz(random_weights), "here"), random_weights)


def test_the_same_weights_make_the_same_npz(random_weights):
    shuffled = dict(reversed(random_weights.items()))
    assert weights.to_npz(shuffled) == weights.to_npz(random_weights)


def test_the_fingerprint_is_that_of_the_numbers_alone(random_weights):
    shuffled = {name: np.asfortranarray(array) for name, array in reversed(random_weights.items())}
    assert weights.fingerprint(shuffled) == weights.fingerprint(random_weights)
    assert re.fullmatch("[0-9a-f]{64}", weights.fingerprint(random_weights))


def one_bit_flipped(tensors: Weights) -> Iterator[Weights]:
    """The weights with the lowest bit of one number flipped, in the first, a middle and the last tensor."""
    for number in (0, 57, 109):
        name = TENSORS[number].name
        array = tensors[name].copy()
        array.reshape(-1).view(np.uint32)[-1] ^= 1
        yield {**tensors, name: array}


def test_the_fingerprint_changes_with_a_single_bit(random_weights):
    others = [weights.fingerprint(flipped) for flipped in one_bit_flipped(random_weights)]
    assert len({weights.fingerprint(random_weights), *others}) == 4


def test_a_flipped_bit_in_an_npz_is_a_model_error_or_changes_no_weight(random_weights):
    content = weights.to_npz(random_weights)
    for place in (*range(0, 150, 9), len(content) // 2, *range(len(content) - 150, len(content), 9)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        try:
            found = weights.from_npz(bytes(damaged), "weights.npz")
        except errors.ModelError:
            continue
        assert_same(found, random_weights)  # the archive has bytes that hold nothing


@pytest.mark.parametrize("content", [b"", b"words", b"\x93NUMPY\x01\x00", b"PK\5\6" + bytes(18)])
def test_what_is_no_npz_is_refused(content):
    with pytest.raises(errors.ModelError, match=r"weights\.npz"):
        weights.from_npz(content, "weights.npz")


def test_an_npy_is_refused():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    with pytest.raises(errors.ModelError, match=r"weights\.npz"):
        weights.from_npz(buffer.getvalue(), "weights.npz")


def test_an_npz_with_a_damaged_directory_is_refused(random_weights):
    content = bytearray(weights.to_npz(random_weights))
    entry = content.rfind(b"PK\1\2")
    content[entry + 10] ^= 0x10  # how the member is compressed
    with pytest.raises(errors.ModelError, match=r"weights\.npz is damaged"):
        weights.from_npz(bytes(content), "weights.npz")


def test_half_an_npz_is_refused(random_weights):
    content = weights.to_npz(random_weights)
    with pytest.raises(errors.ModelError, match=r"weights\.npz is damaged"):
        weights.from_npz(content[: len(content) // 2], "weights.npz")


def test_a_missing_tensor_is_named(random_weights):
    del (lacking := dict(random_weights))["layer7/pointwise_conv/bn/beta"]
    with pytest.raises(errors.ModelError, match="here has no layer7/pointwise_conv/bn/beta"):
        weights.checked(lacking, "here")


def test_a_tensor_of_another_shape_is_named(random_weights):
    wrong = {**random_weights, "logits/bias": np.zeros(520, np.float32)}
    with pytest.raises(errors.ModelError, match=r"logits/bias of here has shape \(520,\); YAMNet's is \(521,\)"):
        weights.checked(wrong, "here")


def test_weights_that_are_no_numbers_are_refused(random_weights):
    wrong = {**random_weights, "logits/bias": np.full(521, np.nan, np.float32)}
    with pytest.raises(errors.ModelError, match="logits/bias of here holds NaN"):
        weights.checked(wrong, "here")


@pytest.mark.parametrize("dense", ["dense", "dense_1", "logits"])
def test_upstreams_h5_gives_back_its_weights(random_weights, dense):
    assert_same(weights.from_keras_h5(keras_h5(random_weights, dense=dense), "yamnet.h5"), random_weights)


def test_an_h5_of_another_network_is_refused():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["conv1/conv1/kernel:0"] = np.zeros((3, 3, 1, 32))
    with pytest.raises(errors.ModelError, match=r"other\.h5 has no layer1/conv/kernel"):
        weights.from_keras_h5(buffer.getvalue(), "other.h5")


@pytest.mark.parametrize("content", [b"", b"these are words"])
def test_what_is_no_h5_is_refused(content):
    with pytest.raises(errors.ModelError, match=r"yamnet\.h5 is not an HDF5 file"):
        weights.from_keras_h5(content, "yamnet.h5")
