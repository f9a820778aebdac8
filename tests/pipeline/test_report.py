"""What people see while a run goes on."""

from pathlib import Path

import apache_beam as beam
import pytest

from pipeline import report
from transforms import errors
from transforms.metrics import Progress, ReportProgress, read_progress
from transforms.records import Clip, DeadLetter

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("progress", "elapsed_s", "line"),
    [
        (Progress(), 0.5, "listing  0.5 s"),
        (Progress(planned=1200), 2.0, "1,200 clips to do  2.0 s"),
        (Progress(5, 50.0, 1, 1200), 10.0, "5 of 1,200 clips  0.5 clips/s  0.01 h of audio  1 dead  10.0 s"),
        (
            Progress(300, 3600.0, 1, 1200),
            60.0,
            "300 of 1,200 clips  5.0 clips/s  1.00 h of audio  1 dead  1 min 00 s  about 3 min 00 s left",
        ),
        (Progress(1200, 7200.0, 0, 1200), 100.0, "1,200 clips  12.0 clips/s  2.00 h of audio  0 dead  1 min 40 s"),
    ],
)
def test_the_line_says_how_far_how_fast_and_how_long(progress: Progress, elapsed_s: float, line: str) -> None:
    assert report.progress_line(progress, elapsed_s) == line


def test_rows_letters_and_plans_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    path.touch()
    dead = DeadLetter.of(Clip.of("/a.wav"), "DecodeClips", errors.EmptyAudioError("why"))
    rows = [{"duration_s": 2.5, "listed": "a column of the user's"}, {"duration_s": 1.0}]
    tallies = [{"listed": 7, "new": 4, "unchanged": 3}, {"listed": 1, "new": 1}]
    with beam.Pipeline(runner="FnApiRunner") as root:
        done = [root | f"Make{n}" >> beam.Create(each) for n, each in enumerate((rows, [dead], tallies))]
        _ = tuple(done) | ReportProgress(str(path))
    with open(path, "rb") as file:
        assert read_progress(file, Progress()) == Progress(clips=3, audio_s=3.5, dead=1, planned=5)
        assert read_progress(file, Progress(9)) == Progress(9), "what was read is not read again"
