"""The ways to bytes, on local files."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import errors, storage
from transforms.stores.base import glob_regex

ODD_NAMES = ["a b.wav", "ü☃.wav", "a#b.wav", "50%.wav", "a%20b.wav", "[1].wav", "a*b?.wav", "a'b\"c.wav", "a\\b.wav"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Odd names in nested folders, one hidden file."""
    for place in ("", "one", "one/two"):
        (tmp_path / place).mkdir(exist_ok=True)
        for name in ODD_NAMES:
            (tmp_path / place / name).write_bytes(name.encode())
        (tmp_path / place / ".hidden.wav").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/a/b.wav", "/a/b.wav"),
        ("/a//b/../c.wav", "/a/c.wav"),
        ("file:///a/b.wav", "/a/b.wav"),
        ("gs://bucket/a//b.wav", "gs://bucket/a//b.wav"),
        ("https://host/a%20b?c=d#e", "https://host/a%20b?c=d#e"),
    ],
)
def test_one_object_has_one_spelling(uri, expected):
    assert storage.normalise(uri) == expected
    assert storage.normalise(expected) == expected


def test_relative_paths_and_home_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert storage.normalise("clips/a.wav") == str(tmp_path / "clips/a.wav")
    assert storage.normalise("~/a.wav") == "/home/someone/a.wav"


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=20))
def test_normalising_twice_changes_nothing(path):
    once = storage.normalise(f"/data/{path}")
    assert storage.normalise(once) == once


def test_joining_does_not_double_the_slash():
    assert storage.join("/a/", "b", "c.wav") == "/a/b/c.wav"
    assert storage.join("gs://bucket", "b") == "gs://bucket/b"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_found_by_itself_and_read(folder, name):
    uri = storage.normalise(str(folder / "one" / name))
    assert not storage.is_pattern(uri)
    assert storage.read_bytes(uri) == name.encode()
    assert storage.stat(uri).num_bytes == len(name.encode())


def test_a_glob_finds_odd_names_and_no_hidden_ones(folder):
    pattern = str(folder / "*.wav")
    assert storage.is_pattern(pattern)
    assert {Path(found.uri).name for found in storage.matches(pattern)} == set(ODD_NAMES)


def test_two_stars_cross_folders(folder):
    found = [found.uri for found in storage.matches(str(folder / "**" / "*.wav"))]
    assert len(found) == len(set(found)) == 3 * len(ODD_NAMES)


def test_a_glob_gives_files_only(folder):
    assert [found.uri for found in storage.matches(str(folder / "one" / "tw*"))] == []


def test_a_glob_states_what_stat_states(folder):
    for found in storage.matches(str(folder / "*.wav")):
        assert found == storage.stat(found.uri)


def test_a_literal_directory_with_brackets_is_no_pattern(tmp_path):
    directory = tmp_path / "run [1] *"
    directory.mkdir()
    (directory / "a.txt").write_bytes(b"")
    (tmp_path / "run 1 x").mkdir()
    (tmp_path / "run 1 x" / "b.txt").write_bytes(b"")
    found = storage.matches(storage.join(storage.literal(str(directory)), "*.txt"))
    assert [item.uri for item in found] == [str(directory / "a.txt")]
    assert storage.children(str(directory)) == [str(directory / "a.txt")]


def test_the_version_changes_with_the_size_or_the_time(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    os.utime(path, ns=(10**18, 10**18))
    first = storage.stat(str(path)).version
    path.write_bytes(b"4321")
    os.utime(path, ns=(10**18, 10**18 + 1))
    second = storage.stat(str(path)).version
    path.write_bytes(b"12345")
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert len({first, second, storage.stat(str(path)).version}) == 3


@pytest.mark.parametrize("call", [storage.stat, storage.open_binary, storage.read_bytes])
def test_what_is_not_there_is_not_found(tmp_path, call):
    with pytest.raises(errors.NotFoundError, match=r"no such file: .*/none\.wav"):
        call(str(tmp_path / "none.wav"))


@pytest.mark.parametrize("call", [storage.stat, storage.open_binary, storage.read_bytes])
def test_a_folder_is_unreadable(tmp_path, call):
    with pytest.raises(errors.UnreadableError, match=str(tmp_path)):
        call(str(tmp_path))


@pytest.mark.parametrize("call", [storage.stat, storage.open_binary, storage.read_bytes])
def test_a_name_with_a_null_byte_is_a_source_error(tmp_path, call):
    with pytest.raises(errors.SourceError):
        call(f"{tmp_path}/a\0b")


@pytest.mark.parametrize("name", ["x" * 300, "a.wav/b.wav"])
@pytest.mark.parametrize("call", [storage.stat, storage.open_binary, storage.read_bytes])
def test_an_impossible_name_is_a_source_error(folder, name, call):
    (folder / "a.wav").write_bytes(b"")
    with pytest.raises(errors.SourceError):
        call(f"{folder}/{name}")


def test_exactly_one_of_many_threads_creates_a_file(tmp_path):
    uri = str(tmp_path / "new" / "_SUCCESS")
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return storage.create_exclusively(uri, f"thread {number}".encode() * 1000)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == f"thread {won.index(True)}".encode() * 1000
    assert storage.children(str(tmp_path / "new")) == [uri]


def test_publishing_replaces_the_older_file_and_leaves_nothing_else(tmp_path):
    source, uri = tmp_path / "scratch", str(tmp_path / "out" / "a.bin")
    for content in (b"old", b"new"):
        source.write_bytes(content)
        storage.publish(str(source), uri)
        assert storage.read_bytes(uri) == content
        assert not source.exists()
    assert storage.children(str(tmp_path / "out")) == [uri]


def test_readers_of_a_file_that_is_rewritten_see_it_whole(tmp_path):
    uri = str(tmp_path / "manifest.json")
    contents = {bytes([letter]) * 300_000 for letter in b"abcd"}
    storage.write_bytes(uri, b"a" * 300_000)
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [storage.write_bytes(uri, content) for content in sorted(contents) * 10])
        while not writing.done():
            assert storage.read_bytes(uri) in contents
        writing.result()
    assert storage.children(str(tmp_path)) == [uri]


def test_deleting_what_is_gone_is_no_error(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    storage.delete([str(tmp_path / "a"), str(tmp_path / "none")])
    storage.delete([])
    assert storage.children(str(tmp_path)) == []


def test_a_folder_that_is_not_there_has_no_children(tmp_path):
    assert storage.children(str(tmp_path / "none")) == []


def test_an_address_with_a_question_mark_is_no_pattern():
    assert not storage.is_pattern("https://host/a.wav?signature=[x]*")
    assert storage.is_pattern("gs://bucket/*.wav")


def test_a_download_is_the_object_and_says_which_it_was(folder):
    uri, target = str(folder / "50%.wav"), io.BytesIO()
    found = storage.stat(uri)
    assert storage.download(uri, target, version=found.version, max_bytes=found.num_bytes) == found
    assert target.getvalue() == b"50%.wav"


def test_a_download_of_a_replaced_object_is_refused(folder):
    uri = str(folder / "50%.wav")
    version = storage.stat(uri).version
    Path(uri).write_bytes(b"something longer")
    with pytest.raises(errors.SourceChangedError, match=r"50%\.wav was replaced after it had been listed"):
        storage.download(uri, io.BytesIO(), version=version)


def test_a_download_of_too_many_bytes_is_refused_unread(folder):
    target = io.BytesIO()
    with pytest.raises(errors.TooLargeError, match="7 bytes, more than --max_bytes=6"):
        storage.download(str(folder / "50%.wav"), target, max_bytes=6)
    assert target.getvalue() == b""


PATTERNS = ["*", "*.wav", "?*.wav", "[a-c]*.wav", "[!a]*", "one/*", "**/*.wav", "**/tw*/*", "one/**/a*", "a[*]b[?].wav"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_glob_means_the_same_in_every_store(folder, pattern):
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    shown = [name for name in names if not name.rsplit("/", 1)[-1].startswith(".")]  # only local listings hide names
    local = [os.path.relpath(found.uri, folder) for found in storage.matches(f"{folder}/{pattern}")]
    assert sorted(name for name in shown if glob_regex(pattern).fullmatch(name)) == sorted(local)
