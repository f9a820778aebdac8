"""Pooling of a clip's parts."""

import dataclasses
import functools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import errors
from transforms.audio import AudioFacts
from transforms.pooling import Part
from transforms.records import Clip, ClipEmbedding, DeadLetter, EmbeddedSegment

CLIP = Clip.of("/a.wav")
LETTER = DeadLetter.of(CLIP, "EmbedSegments", errors.EmbeddingError("it failed"))
EMPTY = np.empty((0, 0), np.float32)


def segments(sizes: list[int], facts: AudioFacts, seed: int = 0) -> list[EmbeddedSegment]:
    """The segments of a clip, of so many patches each."""
    rng = np.random.RandomState(seed)
    return [
        EmbeddedSegment(
            clip=CLIP,
            position=position,
            first_patch=sum(sizes[:position]),
            content_sha256="sha",
            facts=facts if position == len(sizes) - 1 else None,
            embeddings=rng.uniform(0, 5, (size, 1024)).astype(np.float32),
            scores=rng.uniform(0, 1, (size, 521)).astype(np.float32),
        )
        for position, size in enumerate(sizes)
    ]


def add_up(parts: list[Part], splits: list[int]) -> Part:
    """Adds parts in some association: the two sums on either side of each split first."""
    if len(parts) > 1 and splits:
        middle = 1 + splits[0] % (len(parts) - 1)
        return add_up(parts[:middle], splits[1:]) + add_up(parts[middle:], splits[1:])
    return functools.reduce(operator.add, parts)


def pooled(segments: list[EmbeddedSegment]) -> ClipEmbedding:
    result = functools.reduce(operator.add, map(Part.of, segments)).finish()
    assert isinstance(result, ClipEmbedding)
    return result


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=7),
    shuffle=st.randoms(use_true_random=False),
    splits=st.lists(st.integers(0, 10), max_size=3),
)
def test_parts_add_up_to_the_same_clip_in_any_order(sizes, shuffle, splits, facts):
    parts = segments(sizes, facts)
    embeddings = np.concatenate([part.embeddings for part in parts]).astype(np.float64)
    scores = np.concatenate([part.scores for part in parts]).astype(np.float64)
    shuffle.shuffle(parts)
    clip = add_up([Part.of(part) for part in parts], splits).finish()
    assert (clip.clip, clip.facts, clip.content_sha256, clip.num_patches) == (CLIP, facts, "sha", sum(sizes))
    np.testing.assert_allclose(clip.embedding, embeddings.mean(0), rtol=1e-6)
    np.testing.assert_allclose(clip.scores, scores.mean(0), rtol=1e-6)
    np.testing.assert_array_equal(clip.scores_max, scores.max(0).astype(np.float32))


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=6), data=st.data())
def test_a_missing_part_is_never_averaged_over(sizes, data, facts):
    parts = segments(sizes, facts)
    missing = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
    total = functools.reduce(operator.add, map(Part.of, parts))
    with pytest.raises(RuntimeError, match=rf"/a\.wav: {len(parts)} segments arrived"):
        total.finish()
    (total + Part.of(missing)).finish()


def test_a_repeated_part_is_never_averaged_over(facts):
    first, last = map(Part.of, segments([2, 2], facts))
    with pytest.raises(RuntimeError, match="3 segments arrived, 2 were sent"):
        (first + first + last).finish()


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), data=st.data())
def test_a_letter_wins_in_any_order(sizes, data, facts):
    parts = segments(sizes, facts)
    dead = data.draw(st.integers(0, len(parts) - 1))
    parts[dead] = dataclasses.replace(parts[dead], letter=LETTER, embeddings=EMPTY, scores=EMPTY)
    order = data.draw(st.permutations(parts))
    assert functools.reduce(operator.add, map(Part.of, order)).finish() == LETTER


def test_of_two_letters_one_is_kept(facts):
    parts = [dataclasses.replace(part, letter=LETTER) for part in segments([1, 1], facts)]
    assert functools.reduce(operator.add, map(Part.of, parts)).finish() == LETTER


def test_a_recording_pools_alike_however_it_is_cut(facts):
    (whole,) = segments([64], facts)
    cuts = [
        dataclasses.replace(
            whole,
            position=position,
            facts=facts if position == 63 else None,
            embeddings=whole.embeddings[position : position + 1],
            scores=whole.scores[position : position + 1],
        )
        for position in range(64)
    ]
    np.testing.assert_array_equal(pooled(cuts).embedding, pooled([whole]).embedding)
    np.testing.assert_array_equal(pooled(cuts).scores, pooled([whole]).scores)


def test_vectors_are_float32(facts):
    clip = pooled(segments([3], facts))
    assert clip.embedding.dtype == clip.scores.dtype == clip.scores_max.dtype == np.float32
    assert (clip.embedding.shape, clip.scores.shape, clip.scores_max.shape) == ((1024,), (521,), (521,))
