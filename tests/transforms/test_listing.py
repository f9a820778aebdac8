"""From inputs to clips."""

from pathlib import Path

import pytest

from transforms import errors, storage
from transforms.listing import BATCH_CLIPS, clip_batches, with_versions
from transforms.records import Clip

pytestmark = pytest.mark.slow


def clips_of(source: str) -> list[Clip]:
    return [clip for batch in clip_batches(source) for clip in batch]


def listed(uri: object) -> Clip:
    """A clip that is an input by itself."""
    return Clip.of(str(uri), listed_by=str(uri))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "ü b.wav", "[1].wav", "50%#.wav"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_glob_lists_files_with_their_versions(folder):
    clips = clips_of(str(folder / "*.wav"))
    assert {Path(clip.uri).name for clip in clips} == {"a.wav", "ü b.wav", "[1].wav", "50%#.wav"}
    for clip in clips:
        found = storage.stat(clip.uri)
        assert (clip.source_version, clip.num_bytes) == (found.version, found.num_bytes)


def test_a_name_with_brackets_is_a_file_not_a_glob(folder):
    assert clips_of(str(folder / "[1].wav")) == [listed(folder / "[1].wav")]


def test_a_uri_is_listed_even_if_nothing_is_there(tmp_path):
    assert clips_of("gs://bucket/a b.wav") == [listed("gs://bucket/a b.wav")]
    assert clips_of(str(tmp_path / "none.wav")) == [listed(tmp_path / "none.wav")]


def test_a_glob_that_matches_nothing_lists_nothing(tmp_path):
    assert clips_of(str(tmp_path / "*.wav")) == []


def test_a_text_file_names_inputs_of_every_kind(folder, tmp_path):
    listing = tmp_path / "inputs.txt"
    lines = ["# a comment", "", f"  {folder}/a.wav\r", f"{folder}/[a5]*.wav", "file:///x/y.wav", "https://host/a%20b"]
    listing.write_text("\n".join(lines), encoding="utf-8")
    uris = [clip.uri for clip in clips_of(f"@{listing}")]
    assert uris[0] == f"{folder}/a.wav"
    assert sorted(uris[1:3]) == [f"{folder}/50%#.wav", f"{folder}/a.wav"]
    assert uris[3:] == ["/x/y.wav", "https://host/a%20b"]


def test_a_list_that_is_no_utf8_keeps_its_names(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"/a/\xff.wav\n")
    (clip,) = clips_of(f"@{tmp_path}/list.txt")
    assert clip.uri.encode("utf-8", "surrogateescape") == b"/a/\xff.wav"


def test_every_clip_says_which_input_named_it(folder):
    (folder / "list.txt").write_text(f"{folder}/a.wav\n{folder}/*.wav\n")
    for source in (f"@{folder}/list.txt", f"{folder}/*.wav", f"{folder}/a.wav"):
        assert {clip.listed_by for clip in clips_of(source)} == {source}


def test_a_retried_dead_letter_stays_with_the_input_that_named_it_first(tmp_path):
    (tmp_path / "dead_letters-1.jsonl").write_text('{"uri": "/a.wav", "listed_by": "/*.wav"}\n{"uri": "/b.wav"}\n')
    source = f"@{tmp_path}/dead_letters-*.jsonl"
    assert [clip.listed_by for clip in clips_of(source)] == ["/*.wav", source]


def test_columns_of_a_list_travel_with_its_clips(tmp_path):
    (tmp_path / "list.csv").write_text("site,file\nnorth,gs://b/[1].wav\n,gs://b/2.wav\n", encoding="utf-8")
    (batch,) = clip_batches(f"@{tmp_path}/list.csv", "file", ("site", "none"))
    assert [clip.uri for clip in batch] == ["gs://b/[1].wav", "gs://b/2.wav"]
    assert [clip.metadata for clip in batch] == [("north", None), ("", None)]


def test_a_list_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(errors.NotFoundError):
        clips_of(f"@{tmp_path}/none.txt")


def test_batches_are_of_bounded_size(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"gs://b/{n}.wav\n" for n in range(2 * BATCH_CLIPS + 1)))
    assert [len(batch) for batch in clip_batches(f"@{tmp_path}/list.txt")] == [BATCH_CLIPS, BATCH_CLIPS, 1]


def test_versions_are_added_where_they_are_missing(folder):
    there, known, gone = Clip.of(f"{folder}/a.wav"), Clip.of("/x", "v7", 3), Clip.of(f"{folder}/none.wav")
    found = storage.stat(there.uri)
    assert with_versions([there, known, gone]) == [Clip.of(there.uri, found.version, found.num_bytes), known, gone]
