"""From waveforms to embeddings, and what happens when the network raises."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import sounds

from transforms import errors, inference
from transforms.features import Array
from transforms.segments import num_patches
from transforms.yamnet import Outputs


class Network:
    """Answers like YAMNet, in shape, unless `trouble` has something to say of a piece of the batch."""

    def __init__(self, trouble: Callable[[Array], None] | None = None) -> None:
        self.trouble = trouble
        self.calls: list[int] = []

    def embed(self, batch: Sequence[Array]) -> list[Outputs]:
        self.calls.append(len(batch))
        for patches in batch if self.trouble else ():
            self.trouble(patches)
        return [answer(patches) for patches in batch]


def answer(patches: Array) -> Outputs:
    """Numbers that tell one clip from another."""
    mean = patches.mean(axis=(1, 2), keepdims=True)[:, :, 0]
    return Outputs(np.repeat(mean, 1024, axis=1), np.repeat(mean, 521, axis=1))


def raise_if_loud(error: Exception) -> Callable[[Array], None]:
    def trouble(patches: Array) -> None:
        if patches.max() > 3:
            raise error

    return trouble


def raise_always(error: Exception) -> Callable[[Array], None]:
    def trouble(patches: Array) -> None:
        raise error

    return trouble


QUIET = [sounds.noise(1.0 + 0.3 * number, peak=0.01, seed=number) for number in range(16)]
LOUD = sounds.tone(1000, 2.0, peak=1.0)


def test_every_waveform_gets_its_own_outputs_in_order():
    results = inference.embed_waveforms(Network(), QUIET)
    alone = [inference.embed_waveforms(Network(), [waveform])[0] for waveform in QUIET]
    for waveform, together, single in zip(QUIET, results, alone, strict=True):
        assert together.embeddings.shape == (num_patches(len(waveform)), 1024)
        np.testing.assert_array_equal(together.scores, single.scores)
    assert len({float(result.scores[0, 0]) for result in results}) == len(QUIET)


@pytest.mark.parametrize("place", [0, 1, 7, 15, 16])
def test_only_the_clip_on_which_the_network_raises_is_lost(place):
    network = Network(raise_if_loud(ValueError("too loud")))
    results = inference.embed_waveforms(network, [*QUIET[:place], LOUD, *QUIET[place:]])
    failed = [number for number, result in enumerate(results) if isinstance(result, errors.EmbeddingError)]
    assert failed == [place]
    assert "ValueError: too loud" in str(results[place])
    assert len(network.calls) <= 2 * 5 + 2  # halving, not one by one


def test_two_bad_clips_are_both_found():
    batch = [LOUD, *QUIET[:5], LOUD]
    results = inference.embed_waveforms(Network(raise_if_loud(RuntimeError("no"))), batch)
    assert [isinstance(result, errors.EmbeddingError) for result in results] == [True] + [False] * 5 + [True]


@pytest.mark.parametrize("waveforms", [QUIET, QUIET[:1]])
def test_a_network_that_always_raises_fails_the_job(waveforms):
    with pytest.raises(ValueError, match="broken"):
        inference.embed_waveforms(Network(raise_always(ValueError("broken"))), waveforms)


@pytest.mark.parametrize("error", [MemoryError("full"), OSError("gone")])
def test_trouble_of_the_machine_is_no_clips_fault(error):
    with pytest.raises(type(error)):
        inference.embed_waveforms(Network(raise_if_loud(error)), [LOUD, *QUIET])


@pytest.mark.parametrize("change", [lambda results: results[:-1], lambda results: [*results, results[0]]])
def test_results_that_are_too_few_or_too_many_fail_the_job(change):
    class Miscounting(Network):
        def embed(self, batch: Sequence[Array]) -> list[Outputs]:
            return change(super().embed(batch))

    with pytest.raises(RuntimeError, match="for 16 segments"):
        inference.embed_waveforms(Miscounting(), QUIET)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["embeddings", "scores"])
def test_outputs_that_are_no_numbers_are_a_clip_error(value, field):
    class Spoiling(Network):
        def embed(self, batch: Sequence[Array]) -> list[Outputs]:
            results = super().embed(batch)
            getattr(results[3], field)[-1, 5] = value
            return results

    results = inference.embed_waveforms(Spoiling(), QUIET)
    assert [isinstance(result, errors.EmbeddingError) for result in results] == [n == 3 for n in range(16)]
    assert "NaN or infinite" in str(results[3])


@pytest.mark.slow
def test_no_waveforms_give_no_results(model):
    assert inference.embed_waveforms(model, []) == []


@pytest.mark.slow
def test_yamnet_loses_only_the_clip_it_raises_on(model):
    class Refusing:
        def embed(self, batch: Sequence[Array]) -> list[Outputs]:
            raise_if_loud(ValueError("too loud"))(np.concatenate(batch))
            return model.embed(batch)

    results = inference.embed_waveforms(Refusing(), [*QUIET[:3], LOUD])
    assert isinstance(results[3], errors.EmbeddingError)
    for waveform, result in zip(QUIET[:3], results, strict=False):
        (alone,) = inference.embed_waveforms(model, [waveform])
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-6)
