"""The lists that name clips."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms import errors, manifests
from transforms.manifests import Entry

ROWS = [{"uri": "/ü a.wav", "site": "north", "n": 1}, {"uri": "gs://b/[2].wav", "site": None, "n": 2}]
NAMES = [row["uri"] for row in ROWS]


def write(folder: Path, kind: str) -> str:
    """The rows as a list of a kind."""
    path = folder / f"list.{kind}"
    match kind:
        case "csv":
            path.write_text("uri,site,n\n/ü a.wav,north,1\ngs://b/[2].wav,,2\n", encoding="utf-8")
        case "jsonl":
            path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
        case "parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        case "txt":
            path.write_text("# a comment\n\n  /ü a.wav \r\ngs://b/[2].wav", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "txt"])
def test_a_list_of_any_kind_names_its_clips(tmp_path, kind):
    assert list(manifests.entries(write(tmp_path, kind))) == [Entry(name) for name in NAMES]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_are_carried_as_text_and_missing_ones_are_none(tmp_path, kind):
    found = manifests.entries(write(tmp_path, kind), metadata_columns=("n", "site", "other"))
    assert [entry.metadata for entry in found] == [("1", "north", None), ("2", None, None)]


def test_a_dead_letter_says_which_input_had_named_its_clip(tmp_path):
    (tmp_path / "dead_letters-1.jsonl").write_text('{"uri": "/a.wav", "listed_by": "/*.wav", "code": "timeout"}\n')
    assert list(manifests.entries(f"{tmp_path}/dead_letters-1.jsonl")) == [Entry("/a.wav", (), "/*.wav")]


def test_a_text_file_has_no_columns(tmp_path):
    source = write(tmp_path, "txt")
    assert manifests.columns(source) == []
    assert [entry.metadata for entry in manifests.entries(source, metadata_columns=("a", "b"))] == [(None, None)] * 2


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_columns_of_a_list_are_known_before_it_is_read(tmp_path, kind):
    assert manifests.columns(write(tmp_path, kind)) == ["uri", "site", "n"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_list_without_the_column_of_uris_is_a_usage_error(tmp_path, kind):
    with pytest.raises(errors.UsageError, match=r"column 'file', only in uri, site, n.*--uri_column=NAME"):
        list(manifests.entries(write(tmp_path, kind), "file"))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b"words"), ("a.jsonl", b"{\n"), ("a.jsonl", b"[1]\n"), ("a.csv", b"uri\n\n,\n"), ("a.parquet", b"")],
)
def test_a_damaged_list_is_a_usage_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.UsageError, match=name):
        list(manifests.entries(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "none.txt"])
def test_a_list_that_is_not_there_is_not_found(tmp_path, name):
    with pytest.raises(errors.NotFoundError, match=name):
        list(manifests.entries(str(tmp_path / name)))


@pytest.mark.parametrize("kind", ["csv", "txt"])
def test_a_list_that_windows_marked_as_utf8_is_read(tmp_path, kind):
    path = Path(write(tmp_path, kind))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().removeprefix(b"# a comment\n\n  "))
    assert [entry.uri for entry in manifests.entries(str(path))] == NAMES


def test_an_input_says_which_lists_it_names(tmp_path):
    for kind in ("csv", "jsonl"):
        write(tmp_path, kind)
    assert manifests.lists_of(f"@{tmp_path}/list.*") == [f"{tmp_path}/list.csv", f"{tmp_path}/list.jsonl"]
    assert manifests.lists_of(f"@{tmp_path}/list.csv") == [f"{tmp_path}/list.csv"]
    assert manifests.lists_of("bq:SELECT uri FROM t") == ["bq:SELECT uri FROM t"]
    assert manifests.lists_of("/a/*.wav") == []
