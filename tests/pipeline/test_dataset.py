"""Reading a dataset of several runs, and making one run of them."""

from pathlib import Path

import pytest
import sounds
from results import Embed

from pipeline import compact
from pipeline.__main__ import main
from pipeline.dataset import Dataset
from transforms import errors, runs

pytestmark = pytest.mark.slow


def write(path: Path, seed: int, duration_s: float = 1.0) -> None:
    path.write_bytes(sounds.sound_file(sounds.noise(duration_s, seed=seed)))


@pytest.fixture
def dataset(tmp_path: Path, embed: Embed) -> str:
    """Three nights: clips 0 to 4; then 1 is another, 2 is broken, and 3 is gone and dropped; then 4 is gone."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(5):
        write(clips / f"{number}.wav", number)
    embed([f"{clips}/*.wav"], rows="both")
    write(clips / "1.wav", 11, 2.0)
    (clips / "2.wav").write_bytes(b"broken")
    (clips / "3.wav").unlink()
    embed([f"{clips}/*.wav"], rows="both", drop_deleted=True)
    (clips / "4.wav").unlink()
    embed([f"{clips}/*.wav"], rows="both")
    return str(tmp_path / "dataset")


def names_and_durations(uri: str) -> dict[str, float]:
    rows = Dataset.open(uri).table(["uri", "duration_s"]).to_pylist()
    return {Path(row["uri"]).stem: row["duration_s"] for row in rows}


def test_the_newest_row_of_each_clip_counts(dataset: str) -> None:
    assert names_and_durations(dataset) == {"0": 1.0, "1": 2.0, "2": 1.0, "4": 1.0}
    opened = Dataset.open(dataset)
    assert len(opened) == 4
    assert len(opened.table(kind="patches")) == 2 + 4 + 2 + 2
    assert opened.schema().metadata[b"class_names"].startswith(b'["Speech"')


def test_compacting_changes_nothing_for_readers_and_planners(dataset: str, tmp_path: Path, embed: Embed) -> None:
    before = Dataset.open(dataset).table().sort_by("clip_id")
    assert main(["compact", dataset, "--remove_old"]) == 0
    assert len(runs.committed(dataset)) == 1
    assert Dataset.open(dataset).table().sort_by("clip_id").equals(before)
    assert [path.name for path in Path(dataset).iterdir()] == [f"run={runs.committed(dataset)[0].manifest['run_id']}"]
    again = embed([f"{tmp_path}/clips/*.wav"], rows="both").manifest
    assert [again[word] for word in ("listed", "embedded", "unchanged", "unchanged_dead", "deleted")] == [3, 0, 3, 1, 0]


def test_a_run_that_commits_while_another_is_compacted_is_not_lost(dataset: str, tmp_path: Path, embed: Embed) -> None:
    opened = Dataset.open(dataset)
    write(tmp_path / "clips" / "0.wav", 20, 3.0)
    embed([f"{tmp_path}/clips/*.wav"], rows="both")
    compact.compact(opened)  # of what was there before
    assert names_and_durations(dataset)["0"] == 3.0


def test_info_counts_clips_and_runs(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", dataset]) == 0
    shown = capsys.readouterr().out
    assert '"clips": 4' in shown
    assert '"committed_runs": 3' in shown


def test_a_folder_without_runs_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="no committed run"):
        Dataset.open(str(tmp_path))
