"""Patch arithmetic and cutting."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.segments import (
    PATCH_HOP_SAMPLES,
    PATCH_SAMPLES,
    cut,
    num_patches,
    padded_length,
    valid_fraction,
)

lengths = st.integers(1, 200_000)


def count_by_hand(num_samples: int) -> int:
    """Adds patches until they reach the last sample."""
    patches, reached = 1, PATCH_SAMPLES
    while reached < num_samples:
        patches, reached = patches + 1, reached + PATCH_HOP_SAMPLES
    return patches


@pytest.mark.parametrize(
    ("num_samples", "expected"),
    [(1, 1), (15_599, 1), (15_600, 1), (15_601, 2), (23_280, 2), (23_281, 3), (16_000, 2), (160_000, 20)],
)
def test_patches_are_counted_exactly_at_their_edges(num_samples, expected):
    assert num_patches(num_samples) == expected == count_by_hand(num_samples)


def test_the_length_on_which_upstream_fails_is_counted_exactly():
    # Upstream's ceil is in float32, where 16 780 801 is not a number.
    assert num_patches(16_796_401) == 2187 == count_by_hand(16_796_401)


def test_ten_hours_are_counted_exactly():
    assert num_patches(576_000_000) == count_by_hand(576_000_000)


@given(lengths)
def test_counting_agrees_with_adding_patches_one_by_one(num_samples):
    assert num_patches(num_samples) == count_by_hand(num_samples)


@given(lengths)
def test_every_sample_lies_in_a_patch_and_no_patch_is_only_padding(num_samples):
    last_start = PATCH_HOP_SAMPLES * (num_patches(num_samples) - 1)
    assert last_start + PATCH_SAMPLES >= num_samples
    assert last_start < num_samples


@given(lengths)
def test_padding_is_the_least_that_makes_whole_patches(num_samples):
    padded = padded_length(num_samples)
    assert padded >= num_samples
    assert (padded - PATCH_SAMPLES) % PATCH_HOP_SAMPLES == 0
    assert num_patches(padded) == num_patches(num_samples)
    assert num_patches(padded + 1) == num_patches(num_samples) + 1


@given(lengths)
def test_only_the_last_patch_holds_padding(num_samples):
    fractions = [valid_fraction(patch, num_samples) for patch in range(num_patches(num_samples))]
    assert all(0 < fraction <= 1 for fraction in fractions)
    assert all(fraction == 1 for fraction in fractions[:-1])
    assert (fractions[-1] == 1) == (num_samples == padded_length(num_samples))


def test_half_a_patch_of_sound_is_half_valid():
    assert valid_fraction(0, PATCH_SAMPLES // 2) == 0.5


@st.composite
def cuttings(draw) -> tuple[np.ndarray, list[np.ndarray], int]:
    """A waveform whose samples are their own positions, the same in blocks of any sizes, and max_patches."""
    num_samples = draw(st.integers(1, 120_000))
    edges = sorted(draw(st.lists(st.integers(0, num_samples), max_size=12)))
    waveform = np.arange(num_samples, dtype=np.float32)  # exact below 2**24
    return waveform, np.split(waveform, edges), draw(st.integers(1, 9))


@given(cuttings())
def test_cuts_hold_the_whole_waveform_each_sample_at_its_place(cutting):
    waveform, blocks, max_patches = cutting
    joined = np.full_like(waveform, np.nan)
    for piece in cut(blocks, max_patches):
        start = piece.first_patch * PATCH_HOP_SAMPLES
        joined[start : start + len(piece.waveform)] = piece.waveform
        np.testing.assert_array_equal(piece.waveform, waveform[start : start + len(piece.waveform)])
    np.testing.assert_array_equal(joined, waveform)


@given(cuttings())
def test_cuts_have_the_patches_of_the_whole_each_once(cutting):
    waveform, blocks, max_patches = cutting
    patches = [
        piece.first_patch + patch
        for piece in cut(blocks, max_patches)
        for patch in range(num_patches(len(piece.waveform)))
    ]
    assert patches == list(range(num_patches(len(waveform))))


@given(cuttings())
def test_all_cuts_but_the_last_are_full(cutting):
    _, blocks, max_patches = cutting
    *full, last = cut(blocks, max_patches)
    assert last.is_last
    assert num_patches(len(last.waveform)) <= max_patches
    for piece in full:
        assert not piece.is_last
        assert len(piece.waveform) == PATCH_SAMPLES + (max_patches - 1) * PATCH_HOP_SAMPLES


def test_a_waveform_of_exactly_one_full_segment_is_one_cut():
    samples = np.zeros(PATCH_SAMPLES + 63 * PATCH_HOP_SAMPLES, np.float32)
    assert [piece.is_last for piece in cut([samples])] == [True]
    assert [piece.is_last for piece in cut([samples, samples[:1]])] == [False, True]


def test_no_samples_make_no_cut():
    assert list(cut([])) == []
    assert list(cut([np.empty(0, np.float32)])) == []


def test_cutting_reads_no_further_than_a_block_beyond_the_segment():
    read = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(10_000):
            read += 1000
            yield np.zeros(1000, np.float32)

    for number, piece in zip(range(5), cut(blocks(), max_patches=4), strict=False):
        assert piece.first_patch == 4 * number
        assert read <= piece.first_patch * PATCH_HOP_SAMPLES + len(piece.waveform) + 1000
