"""What a dataset looks like on disk."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import errors, runs
from transforms.records import Row
from transforms.runs import Done, Run
from transforms.schemas import INDEX_FIELDS
from transforms.writers import FileWriter


def index_row(clip_id: str, source_version: str | None = "v1", status: str = "embedded") -> Row:
    return {
        "clip_id": clip_id,
        "uri": f"/{clip_id}.wav",
        "source_version": source_version,
        "listed_by": "/data/*.wav",
        "pipeline_version": "p1",
        "status": status,
        "code": None if status == "embedded" else "not_found",
        "retryable": None if status == "embedded" else True,
        "attempt": 1,
        "as_of": None,
        "num_patches": 2,
        "duration_s": 1.0,
    }


def commit(dataset: Path, run_id: str, finished_at: str, rows: list[Row]) -> None:
    """Leaves a committed run behind that has only an index."""
    directory = runs.run_directory(str(dataset), run_id)
    writer = FileWriter(directory, "index-0", kind="index", file_format="parquet", fields=INDEX_FIELDS, class_names=())
    for row in rows:
        writer.write(row)
    file = writer.close()
    outputs = [{"path": Path(file.uri).name, "kind": "index", "format": "parquet"}]
    manifest = {"run_id": run_id, "finished_at": finished_at, "outputs": outputs}
    Path(directory, runs.SUCCESS_FILE).write_text(json.dumps(manifest))


def everything_done(dataset: Path) -> list[Done]:
    return [done for file in runs.index_files(str(dataset)) for batch in runs.read_index(file) for done in batch]


def test_committed_runs_come_oldest_first_whatever_their_names(tmp_path):
    commit(tmp_path, "a", "2026-11-03", [])
    commit(tmp_path, "b", "2026-11-01", [])
    commit(tmp_path, "c", "2026-11-02", [])
    assert [run.manifest["run_id"] for run in runs.committed(str(tmp_path))] == ["b", "c", "a"]


def test_a_run_without_success_does_not_exist(tmp_path):
    commit(tmp_path, "a", "2026-11-01", [index_row("x")])
    directory = Path(runs.run_directory(str(tmp_path), "a"))
    assert runs.manifest_of(str(directory))["run_id"] == "a"
    (directory / runs.SUCCESS_FILE).rename(directory / runs.MANIFEST_FILE)
    assert runs.manifest_of(str(directory)) is None
    assert runs.committed(str(tmp_path)) == []
    assert everything_done(tmp_path) == []


def test_a_dataset_that_is_not_there_has_no_runs(tmp_path):
    assert runs.committed(str(tmp_path / "none")) == []


def test_a_dataset_with_an_odd_name_has_its_own_runs_only(tmp_path):
    for name in ("data [1]", "data 1"):
        commit(tmp_path / name, name, "2026-11-01", [])
    assert [run.manifest["run_id"] for run in runs.committed(str(tmp_path / "data [1]"))] == ["data [1]"]


def test_the_index_gives_back_what_was_done(tmp_path):
    commit(tmp_path, "a", "2026-11-01", [index_row("x"), index_row("y", None, "dead")])
    embedded = Done(
        committed_at="2026-11-01",
        clip_id="x",
        uri="/x.wav",
        listed_by="/data/*.wav",
        source_version="v1",
        pipeline_version="p1",
        status=runs.EMBEDDED,
        retryable=None,
        attempt=1,
    )
    dead = embedded._replace(clip_id="y", uri="/y.wav", source_version=None, status=runs.DEAD, retryable=True)
    assert everything_done(tmp_path) == [embedded, dead]


def test_a_dataset_can_be_moved(tmp_path):
    commit(tmp_path / "old", "a", "2026-11-01", [index_row("x")])
    (tmp_path / "old").rename(tmp_path / "new")
    assert [done.clip_id for done in everything_done(tmp_path / "new")] == ["x"]


def test_the_newest_run_has_the_last_word(tmp_path):
    commit(tmp_path, "b", "2026-11-01T00:00:00.000+00:00", [index_row("x", "old"), index_row("y")])
    commit(tmp_path, "a", "2026-11-02T00:00:00.000+00:00", [index_row("x", "new", "dead")])
    newest = runs.newest(everything_done(tmp_path))
    assert (newest["x"].source_version, newest["x"].status) == ("new", "dead")
    assert newest["y"].status == "embedded"


done_of_a_few_clips = st.builds(
    Done,
    committed_at=st.integers(1, 40).map(lambda day: f"2026-{1 + day // 28:02}-{1 + day % 28:02}"),
    clip_id=st.sampled_from("xyz"),
    source_version=st.none(),
    pipeline_version=st.just("p"),
    status=st.just("embedded"),
    retryable=st.none(),
    attempt=st.integers(1, 3),
    uri=st.just("/x.wav"),
    listed_by=st.none(),
)


@given(st.lists(done_of_a_few_clips, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_reading_does_not_matter(done, shuffle):
    expected = {item.clip_id: max(i.committed_at for i in done if i.clip_id == item.clip_id) for item in done}
    shuffle.shuffle(done)
    assert {clip_id: item.committed_at for clip_id, item in runs.newest(done).items()} == expected


@pytest.mark.parametrize("dropped", [False, True])
def test_a_clip_that_is_gone_keeps_its_place_in_the_index(tmp_path, dropped):
    commit(tmp_path, "a", "2026-11-01", [index_row("x")])
    (before,) = everything_done(tmp_path)
    commit(tmp_path, "b", "2026-11-02", [runs.gone_row(before, dropped=dropped)])
    after = runs.newest(everything_done(tmp_path))["x"]
    assert after.status == (runs.DROPPED if dropped else runs.DELETED)
    assert after.status in runs.GONE
    assert after._replace(status="embedded", committed_at="2026-11-01") == before


def test_files_are_found_by_kind_and_format():
    outputs = [("clips-1.parquet", "clips", "parquet"), ("clips-1.tfrecord.gz", "clips", "tfrecord")]
    manifest = {"outputs": [dict(zip(("path", "kind", "format"), output, strict=True)) for output in outputs]}
    run = Run("/data/run=a", manifest)
    assert runs.files(run, "clips", "parquet") == ["/data/run=a/clips-1.parquet"]
    assert len(runs.files(run, "clips")) == 2
    assert runs.files(run, "index") == []


def test_an_index_file_that_has_gone_is_not_taken_for_an_empty_one(tmp_path):
    commit(tmp_path, "a", "2026-11-01", [index_row("x")])
    next(tmp_path.glob("run=a/index-*")).unlink()
    with pytest.raises(errors.NotFoundError):
        everything_done(tmp_path)
