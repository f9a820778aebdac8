"""The network: batches, blocks and precision."""

import numpy as np
import pytest
import sounds
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import engine, fused, golden, model_store
from transforms.features import Array, log_mel_spectrogram, patches_of
from transforms.layers import folded_layers
from transforms.yamnet import BLOCK_PATCHES, Classes, Outputs, Yamnet, block_size, forward

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patches() -> Array:
    """150 patches of very different sound: more than two blocks."""
    pieces = [sounds.noise(8.0, peak=0.8), sounds.silence(8.0), sounds.tone(440, 8.0), sounds.noise(8.0, peak=1e-3)]
    sweep = np.sin(2 * np.pi * np.cumsum(np.linspace(50, 7900, 42 * 16_000)) / 16_000).astype(np.float32)
    return patches_of(log_mel_spectrogram(np.concatenate([*pieces, sweep])))[:150]


@pytest.fixture(scope="module")
def one_by_one(model: Yamnet, patches: Array) -> Outputs:
    """What the network says of each patch alone."""
    singles = [model.embed([patches[number : number + 1]])[0] for number in range(len(patches))]
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*singles, strict=True)))


def assert_near(found: Outputs, expected: Outputs, scores: float = 1e-6) -> None:
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=scores)
    np.testing.assert_allclose(found.embeddings, expected.embeddings, rtol=1e-5, atol=1e-5)


def test_outputs_have_their_shapes_and_ranges(model, patches):
    (outputs,) = model.embed([patches])
    assert (outputs.embeddings.shape, outputs.scores.shape) == ((150, 1024), (150, 521))
    assert outputs.embeddings.dtype == outputs.scores.dtype == np.float32
    assert outputs.embeddings.min() >= 0
    assert 0 <= outputs.scores.min() <= outputs.scores.max() <= 1


def test_a_batch_gives_what_its_patches_give_one_by_one(model, patches, one_by_one):
    (outputs,) = model.embed([patches])
    assert_near(outputs, one_by_one)


@settings(max_examples=15)
@given(edges=st.lists(st.integers(1, 149), max_size=12))
def test_any_split_into_clips_gives_each_clip_its_patches(model, patches, one_by_one, edges):
    clips = np.split(patches, sorted(set(edges)))
    results = model.embed(clips)
    assert [len(result.scores) for result in results] == [len(clip) for clip in clips]
    joined = Outputs(*(np.concatenate(arrays) for arrays in zip(*results, strict=True)))
    assert_near(joined, one_by_one)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 63, 64, 65, 128, 129])
def test_any_number_of_patches_fits_its_blocks(model, patches, one_by_one, count):
    (outputs,) = model.embed([patches[:count]])
    assert_near(outputs, Outputs(one_by_one.embeddings[:count], one_by_one.scores[:count]))


def test_neighbours_of_a_patch_do_not_matter(model, patches, one_by_one):
    for neighbour in (np.zeros_like(patches[:1]), np.full_like(patches[:1], 30.0)):
        (outputs,) = model.embed([np.concatenate([neighbour, patches[40:41], neighbour])])
        np.testing.assert_allclose(outputs.scores[1], one_by_one.scores[40], rtol=0, atol=1e-6)


def test_blocks_are_at_least_as_large_as_needed_and_few_sizes_exist():
    sizes = [block_size(count) for count in range(1, BLOCK_PATCHES + 1)]
    assert all(size >= count for count, size in enumerate(sizes, start=1))
    assert all(size < max(5, 2 * count) for count, size in enumerate(sizes, start=1))
    assert sizes == sorted(sizes)
    assert set(sizes) == {4, 8, 16, 32}


@pytest.mark.parametrize(("precision", "closeness"), [("float32", 1e-6), ("bfloat16", 0.05)])
def test_the_fused_network_is_the_plain_one(published_weights, patches, precision, closeness):
    tf = engine.tensorflow()
    head = published_weights["logits/kernel"], published_weights["logits/bias"]
    layers = list(folded_layers(published_weights))
    plain = forward(tf.constant(patches[:32]), layers, head, tf.dtypes.as_dtype(precision))
    (found,) = Yamnet(published_weights, Classes((), ()), precision=precision).embed([patches[:32]])
    np.testing.assert_allclose(found.scores, plain[1].numpy(), rtol=0, atol=closeness)
    np.testing.assert_allclose(found.embeddings, plain[0].numpy(), rtol=0, atol=5 * closeness)


@pytest.mark.parametrize("lack", ["the operations", "the leave"])
def test_a_tensorflow_without_onednn_computes_the_same(published_weights, patches, one_by_one, monkeypatch, lack):
    monkeypatch.setattr(fused, "is_possible", fused.is_possible.__wrapped__)
    assert fused.is_possible()
    if lack == "the operations":
        monkeypatch.setattr(fused, "_ONEDNN", "_NoSuch")
    else:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert not fused.is_possible()
    (outputs,) = Yamnet(published_weights, Classes((), ())).embed([patches])
    np.testing.assert_allclose(outputs.scores, one_by_one.scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs.embeddings, one_by_one.embeddings, rtol=1e-4, atol=1e-4)


def test_folding_keeps_the_kernels_shapes_and_the_strides(published_weights):
    layers = list(folded_layers(published_weights))
    assert [layer.depthwise for layer in layers] == [False, *[True, False] * 13]
    assert [layer.stride for layer in layers if layer.stride == 2] == [2] * 5  # 96 x 64 becomes 3 x 2
    for layer in layers:
        assert layer.kernel.dtype == layer.bias.dtype == np.float32
        assert layer.bias.shape == (layer.kernel.shape[2 if layer.depthwise else 3],)


def test_the_version_is_the_fingerprint_of_the_published_weights(model):
    assert model.version == model_store.PUBLISHED_FINGERPRINT


def test_bfloat16_stays_within_its_tolerances(model_directory, patches, one_by_one):
    rough = model_store.load(model_directory, precision="bfloat16")  # whether it is fast here or not
    (outputs,) = rough.embed([patches])
    tolerance = golden.TOLERANCES["bfloat16"]
    assert outputs.embeddings.dtype == outputs.scores.dtype == np.float32
    scores, expected = outputs.scores.reshape(-1, 10, 521).mean(1), one_by_one.scores.reshape(-1, 10, 521).mean(1)
    assert np.abs(scores - expected).max() < tolerance.score
    left, right = (o.embeddings.reshape(-1, 10, 1024).mean(1) for o in (outputs, one_by_one))
    cosines = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    assert cosines.min() > tolerance.cosine
    assert not np.array_equal(outputs.scores, one_by_one.scores)
