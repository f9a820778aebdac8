"""The records that travel between the transforms."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import errors
from transforms.records import Clip, DeadLetter, EmbeddedSegment, Segment, clip_id


@given(st.binary())
def test_a_clip_id_is_the_start_of_the_uris_sha256(name):
    # What SQL computes: SUBSTR(TO_HEX(SHA256(uri)), 1, 32). The names of files need not be UTF-8.
    uri = name.decode("utf-8", "surrogateescape")
    assert clip_id(uri) == Clip.of(uri).clip_id == hashlib.sha256(name).hexdigest()[:32]


def test_the_clip_id_of_a_known_uri_never_changes():
    assert clip_id("gs://bucket/a.wav") == hashlib.sha256(b"gs://bucket/a.wav").hexdigest()[:32]
    assert clip_id("") == "e3b0c44298fc1c149afbf4c8996fb924"


def test_a_letter_says_which_clip_died_where_and_of_what():
    clip = Clip("id", "/a.wav", "v1", 7, attempt=2)
    letter = DeadLetter.of(clip, "ReadClips", errors.NotFoundError("no such file: /a.wav"))
    assert letter == DeadLetter(
        clip_id="id",
        uri="/a.wav",
        source_version="v1",
        stage="ReadClips",
        code="not_found",
        message="no such file: /a.wav",
        retryable=True,
        attempt=2,
    )


@pytest.mark.parametrize("num_segments", [1, 3])
def test_only_a_segment_that_is_first_and_last_is_a_whole_clip(num_segments, facts):
    empty = np.empty((0, 0), np.float32)
    for position in range(num_segments):
        last = position == num_segments - 1
        segment = EmbeddedSegment(Clip.of("/a"), position, 0, "sha", facts if last else None, empty, empty)
        assert segment.is_whole_clip == (num_segments == 1)


def test_records_survive_pickling(facts):
    waveform = np.arange(5, dtype=np.float32)
    segment = pickle.loads(pickle.dumps(Segment(Clip.of("/a"), 0, 0, waveform, "sha", facts)))
    assert (segment.clip, segment.facts) == (Clip.of("/a"), facts)
    np.testing.assert_array_equal(segment.waveform, waveform)
