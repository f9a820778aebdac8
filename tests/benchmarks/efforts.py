"""How much is measured: of the smallest, quick, default and full benchmark."""

from typing import NamedTuple

import clips

HOUR_S = 3600


class Contest(NamedTuple):
    """Clips of one kind, and how often they are measured: runs of `few` and of `many` clips each time."""

    duration_s: float
    file_format: str
    few: int
    many: int
    repetitions: int = 1
    rate_hz: int = clips.RATE_HZ

    @property
    def name(self) -> str:
        """As shown: "10 s FLAC"."""
        return f"{self.duration_s:g} s {self.file_format.upper()}"


class Effort(NamedTuple):
    """All that is measured.

    Attributes:
      contests: of the naive peer and ours.
      tiny: clips so short that what Beam costs shows.
      growth: runs of few and of many clips, for the time per clip of the one over the other.
      recordings: names, seconds, sample rates and channels of long recordings, for memory.
      process_clips: clips of 10 s in a run of two processes; 0 leaves processes out.
      overlap: clips of the smaller and the larger runs from a bucket, and how often they are measured.
      planning_clips: clips in a bucket that has not changed since the last night; each number is measured.
      precisions: of ours.
    """

    contests: tuple[Contest, ...]
    tiny: Contest
    growth: tuple[Contest, ...] = ()
    recordings: tuple[tuple[str, float, int, int], ...] = ()
    process_clips: int = 0
    process_repetitions: int = 1
    overlap: tuple[int, int, int] | None = None
    planning_clips: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("float32", "bfloat16")


def tiny_clips(many: int, repetitions: int) -> Contest:
    """Clips of 0.1 s that need no resampling."""
    return Contest(0.1, "wav", 64, many, repetitions, rate_hz=16_000)


DEFAULT = Effort(
    contests=(
        Contest(10, "flac", 16, 208, 4),
        Contest(10, "wav", 16, 208, 4),
        Contest(10, "mp3", 16, 112, 2),
        Contest(1, "flac", 64, 576, 2),
        Contest(60, "flac", 4, 20, 2),
    ),
    tiny=tiny_clips(1088, 3),
    growth=(Contest(1, "flac", 64, 1_064), Contest(1, "flac", 64, 10_064)),
    recordings=(("1 h", HOUR_S, 44_100, 2), ("10 h", 10 * HOUR_S, 16_000, 1)),
    process_clips=256,
    process_repetitions=3,
    overlap=(16, 112, 3),
    planning_clips=(200_000,),
)
EFFORTS = {
    # For the test of this benchmark: every figure that is had in a second or two.
    "tiny": Effort(
        contests=(Contest(1, "flac", 16, 64),),
        tiny=tiny_clips(128, 1),
        overlap=(2, 4, 1),
        planning_clips=(1000,),
        precisions=("float32",),
    ),
    "quick": Effort(
        contests=(Contest(10, "flac", 16, 64), Contest(10, "wav", 16, 64)),
        tiny=tiny_clips(576, 1),
        recordings=(("10 min", 600, 44_100, 2),),
        process_clips=128,
    ),
    "default": DEFAULT,
    "full": DEFAULT._replace(
        contests=tuple(contest._replace(repetitions=8) for contest in DEFAULT.contests),
        process_clips=512,
        process_repetitions=5,
        overlap=(16, 112, 6),
        planning_clips=(200_000, 1_000_000),
    ),
}
