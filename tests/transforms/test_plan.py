"""What is to be done with a listed clip."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import runs
from transforms.plan import MAX_ATTEMPTS, NUM_PARTITIONS, Policy, decision, partitioned
from transforms.records import Clip
from transforms.runs import Done

pytestmark = pytest.mark.slow

CLIP = Clip.of("/a.wav", "v1")
EMBEDDED = Done(
    committed_at="2026-11-01",
    clip_id=CLIP.clip_id,
    uri=CLIP.uri,
    listed_by="/*.wav",
    source_version="v1",
    pipeline_version="p1",
    status=runs.EMBEDDED,
    retryable=None,
    attempt=1,
)
DEAD = EMBEDDED._replace(status=runs.DEAD, retryable=False)
MAY_LIVE = DEAD._replace(retryable=True)


@pytest.mark.parametrize(
    ("source_version", "done", "expected"),
    [
        ("v1", None, "new"),
        ("v1", EMBEDDED, "unchanged"),
        ("v2", EMBEDDED, "changed"),
        (None, EMBEDDED, "changed"),
        (None, EMBEDDED._replace(source_version=None), "unchanged"),
        ("v1", EMBEDDED._replace(pipeline_version="p0"), "stale"),
        ("v2", EMBEDDED._replace(pipeline_version="p0"), "stale"),
        ("v1", DEAD, "unchanged"),
        ("v2", DEAD, "changed"),
        ("v1", DEAD._replace(pipeline_version="p0"), "stale"),
        ("v1", MAY_LIVE, "retry"),
        ("v1", MAY_LIVE._replace(attempt=MAX_ATTEMPTS - 1), "retry"),
        ("v1", MAY_LIVE._replace(attempt=MAX_ATTEMPTS), "unchanged"),
        ("v2", MAY_LIVE._replace(attempt=MAX_ATTEMPTS), "changed"),
    ],
)
def test_the_decision_follows_the_table(source_version, done, expected):
    assert decision(dataclasses.replace(CLIP, source_version=source_version), done, Policy("p1")) == expected


STATES = [
    None,
    EMBEDDED,
    EMBEDDED._replace(pipeline_version="p0"),
    EMBEDDED._replace(source_version="v0"),
    DEAD,
    MAY_LIVE,
    EMBEDDED._replace(status=runs.DELETED),
    EMBEDDED._replace(status=runs.DROPPED),
]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("refresh", ["new", "unchanged", "stale", "changed", "unchanged", "retry", "new", "new"]),
        ("force", ["new", "forced", "stale", "changed", "forced", "retry", "new", "new"]),
        ("only_new", ["new", *["unchanged"] * 5, "new", "new"]),
        ("retry", [*["unchanged"] * 4, "retry", "retry", "unchanged", "unchanged"]),
    ],
)
def test_the_mode_narrows_or_widens_what_is_done(mode, expected):
    assert [decision(CLIP, done, Policy("p1", mode=mode)) for done in STATES] == expected


uris = st.lists(st.text(st.characters(codec="ascii"), max_size=5), max_size=50)


@given(uris)
def test_a_partition_holds_each_of_its_clips_once(names):
    batch = [Clip.of(name) for name in names]
    parts = list(partitioned(batch))
    assert sorted(clip.uri for _, clips in parts for clip in clips) == sorted(names)
    assert len({number for number, _ in parts}) == len(parts)
    assert all(0 <= number < NUM_PARTITIONS for number, _ in parts)


@given(uris)
def test_a_clip_and_what_was_done_of_it_meet_in_one_partition(names):
    clips = [Clip.of(name) for name in names]
    done = [EMBEDDED._replace(clip_id=clip.clip_id) for clip in clips]
    of_clips = {clip.clip_id: number for number, part in partitioned(clips) for clip in part}
    of_done = {item.clip_id: number for number, part in partitioned(done) for item in part}
    assert of_clips == of_done


def test_clips_spread_over_all_partitions():
    numbers = {number for number, _ in partitioned([Clip.of(f"/{number}.wav") for number in range(5000)])}
    assert len(numbers) == NUM_PARTITIONS
