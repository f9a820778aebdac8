"""Clips in a bucket, and a refresh every night: what the dataset holds is what the bucket holds."""

import gzip
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
from buckets import clip, newest_manifest, put

from pipeline import run
from pipeline.__main__ import main
from pipeline.dataset import Dataset
from tests.servers.cloud import Cloud
from transforms import errors, golden, model_store, runs, storage
from transforms.weights import to_npz
from transforms.yamnet import Yamnet

pytestmark = pytest.mark.slow

Embed = Callable[..., int]
FOLDERS = ("birds of spring", "grün/täglich", "50% #1", "plain")


def uri(number: int) -> str:
    return f"gs://clips/night/{FOLDERS[number % 4]}/{number:03}.wav"


def requests_for_media(cloud: Cloud) -> int:
    return sum(1 for asked in cloud.gcs.requests if "alt=media" in asked.target and ".wav" in asked.target)


def test_500_clips_and_three_nights(cloud: Cloud, embed: Embed) -> None:
    for number in range(500):
        cloud.gcs.store.write(uri(number), clip(number))
    inputs, output = ["gs://clips/night/**"], "gs://out/night"
    assert embed(inputs, output) == run.DONE
    assert sorted(Dataset.open(output).table()["uri"].to_pylist()) == sorted(uri(number) for number in range(500))

    for number in range(500, 520):
        cloud.gcs.store.write(uri(number), clip(number))
    for number in range(10):
        cloud.gcs.store.write(uri(number), clip(number, version=1))
    for number in range(10, 15):
        cloud.gcs.store.delete(uri(number))
    for number in range(15, 18):
        cloud.gcs.store.write(uri(number), b"not a sound any more")
    cloud.gcs.clear()
    assert embed(inputs, output) == run.DONE
    second = newest_manifest(output)
    counts = {word: second[word] for word in ("listed", "embedded", "dead", "unchanged", "deleted")}
    assert counts == {"listed": 515, "embedded": 30, "dead": 3, "unchanged": 482, "deleted": 5}
    assert second["planned"] == {"new": 20, "changed": 13, "stale": 0, "retry": 0, "forced": 0}
    assert requests_for_media(cloud) == 33

    cloud.gcs.clear()
    assert embed(inputs, output) == run.DONE
    third = newest_manifest(output)
    assert [third[word] for word in ("listed", "unchanged", "unchanged_dead", "deleted")] == [515, 515, 3, 0]
    assert requests_for_media(cloud) == 0
    assert len(Dataset.open(output)) == 520  # the rows of the deleted, and of the broken as they were, stay
    cloud.gcs.store.delete(uri(18))
    assert embed(inputs, output, drop_deleted=True) == run.DONE
    assert newest_manifest(output)["deleted"] == 6  # those of the second night, too
    assert len(Dataset.open(output)) == 514


@pytest.fixture
def other_model(model_directory: str, tmp_path: Path) -> str:
    """A model directory whose weights are a little different."""
    weights = model_store.load_weights(model_directory)
    weights = weights | {"logits/bias": weights["logits/bias"] + np.float32(0.001)}
    network = Yamnet(weights, model_store.classes(model_directory))
    directory = Path(shutil.copytree(model_directory, tmp_path / "model"))
    (directory / model_store.WEIGHTS_FILE).write_bytes(to_npz(weights))
    card = json.loads((directory / model_store.CARD_FILE).read_text())
    card |= {"fingerprint": network.version, "golden": golden.answers(network)}
    (directory / model_store.CARD_FILE).write_text(json.dumps(card))
    return str(directory)


@pytest.mark.usefixtures("fast_bfloat16")
def test_another_precision_and_another_model_make_all_stale(cloud: Cloud, embed: Embed, other_model: str) -> None:
    put(cloud, "stale", 3)
    nights: list[tuple[dict[str, Any], str]] = [
        ({}, "new"),
        ({"precision": "bfloat16"}, "stale"),
        ({}, "stale"),
        ({"model": other_model}, "stale"),
    ]
    for settings, planned in nights:
        assert embed(["gs://clips/stale/*"], "gs://out/stale", **settings) == run.DONE
        assert newest_manifest("gs://out/stale")["planned"][planned] == 3
    versions = Dataset.open("gs://out/stale").info()
    assert (versions["clips"], len(versions["model_versions"])) == (3, 1)
    assert versions["model_versions"] == [model_store.describe(other_model)["fingerprint"]]


def test_dead_letters_are_input_and_are_tried_again(cloud: Cloud, embed: Embed) -> None:
    uris = put(cloud, "again", 3)
    cloud.gcs.store.write(uris[0], b"broken")
    assert embed(["gs://clips/again/*"], "gs://out/again") == run.DONE
    cloud.gcs.store.write(uris[0], clip(0))
    assert embed(["@gs://out/again/run=*/dead_letters-*.jsonl"], "gs://out/again") == run.DONE
    manifest = newest_manifest("gs://out/again")
    assert [manifest[word] for word in ("listed", "embedded", "dead", "deleted")] == [1, 1, 0, 0]
    assert len(Dataset.open("gs://out/again")) == 3

    cloud.gcs.store.delete(uris[0])  # the input that named it first still knows it
    assert embed(["gs://clips/again/*"], "gs://out/again") == run.DONE
    manifest = newest_manifest("gs://out/again")
    assert [manifest[word] for word in ("listed", "unchanged", "deleted")] == [2, 2, 1]


def test_a_dataset_in_a_bucket_is_described_and_compacted(
    cloud: Cloud, embed: Embed, capsys: pytest.CaptureFixture[str]
) -> None:
    put(cloud, "compacted", 2)
    assert embed(["gs://clips/compacted/*"], "gs://out/compacted") == run.DONE
    for number in (2, 3):
        cloud.gcs.store.write(f"gs://clips/compacted/{number}.wav", clip(number))
    assert embed(["gs://clips/compacted/*"], "gs://out/compacted", mode="only_new") == run.DONE
    assert newest_manifest("gs://out/compacted")["embedded"] == 2
    before = Dataset.open("gs://out/compacted").table().sort_by("clip_id")
    assert main(["compact", "gs://out/compacted", "--remove_old"]) == 0
    capsys.readouterr()
    assert main(["info", "gs://out/compacted"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["clips"], found["committed_runs"], found["runs_with_newest_rows"]) == (4, 1, 1)
    assert Dataset.open("gs://out/compacted").table().sort_by("clip_id").equals(before)
    left = {place.rsplit("/", 1)[1] for place in cloud.gcs.store.uris("gs://out/compacted/")}
    assert len(left) == 4, left  # clips, index, manifest.json, _SUCCESS
    assert embed(["gs://clips/compacted/*"], "gs://out/compacted") == run.DONE
    manifest = newest_manifest("gs://out/compacted")
    assert [manifest[word] for word in ("listed", "unchanged")] == [4, 4]


def test_of_two_executions_of_one_run_id_one_counts_and_the_other_leaves_nothing(cloud: Cloud, embed: Embed) -> None:
    uris, output = put(cloud, "twice", 4), "gs://out/twice"
    cloud.gcs.inject(path="twice.*alt=media", delay_s=2.0, times=None)  # both are under way before one commits
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(embed, ["gs://clips/twice/*"], output, run_id="same") for _ in range(2)]
    problems = [execution.exception() for execution in started]
    (problem,) = filter(None, problems)
    assert isinstance(problem, errors.CommitError)
    assert "run_id same was committed by another execution" in str(problem)
    assert sorted(Dataset.open(output).table(["uri"])["uri"].to_pylist()) == uris
    left = {place.rsplit("/", 1)[1] for place in cloud.gcs.store.uris(f"{output}/")}
    outputs = {out["path"] for out in newest_manifest(output)["outputs"]}
    assert left == outputs | {"_SUCCESS", "manifest.json"}
    assert embed(["gs://clips/twice/*"], output, run_id="same") == run.DONE  # has nothing to do
    assert len(runs.committed(output)) == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("gs://clips", "is a folder"),
        ("gs://clips/night/", "is a folder"),
        ("gs://nowhere/**", "there is no bucket nowhere"),
        ("@gs://clips/none.csv", "there is no list"),
    ],
)
def test_what_names_no_clips_in_a_bucket_is_refused(cloud: Cloud, embed: Embed, source: str, says: str) -> None:
    with pytest.raises(errors.UsageError, match=says):
        embed([source], "gs://out/refused")


@pytest.mark.parametrize(("as_gzip", "asked"), [(False, 0), (True, 1)])
def test_an_object_of_too_many_bytes_is_a_letter(cloud: Cloud, embed: Embed, as_gzip: bool, asked: int) -> None:
    """Unread if the listing says so; one that is stored as gzip shows it only on the way."""
    uris, output = put(cloud, f"large {as_gzip}", 2), f"gs://out/large {as_gzip}"
    large = sounds.sound_file(sounds.silence(10.0))
    cloud.gcs.store.write(uris[0], gzip.compress(large) if as_gzip else large, encoding="gzip" if as_gzip else None)
    assert embed(uris, output, max_bytes=100_000) == run.DONE
    assert Dataset.open(output).table()["uri"].to_pylist() == uris[1:]
    (letters,) = runs.files(runs.committed(output)[0], "dead_letters")
    letter = json.loads(storage.read_bytes(letters))
    assert (letter["uri"], letter["code"]) == (uris[0], "too_large")
    assert "more than --max_bytes=100000" in letter["message"]
    assert requests_for_media(cloud) == 1 + asked


def test_a_name_that_looks_like_a_glob_is_found(cloud: Cloud, embed: Embed) -> None:
    odd = "gs://clips/odd/[live] ü#1.wav"
    cloud.gcs.store.write(odd, clip(1))
    assert embed([odd], "gs://out/odd") == run.DONE
    assert Dataset.open("gs://out/odd").table()["uri"].to_pylist() == [odd]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", 'path,label,weight\n{0},"dog, big",3\n{1},cat,\n'),
        ("list.jsonl", '{{"path": "{0}", "label": "dog, big", "weight": 3}}\n{{"path": "{1}", "label": "cat"}}\n'),
    ],
)
def test_columns_of_a_list_are_carried_to_the_rows(cloud: Cloud, embed: Embed, name: str, text: str) -> None:
    uris = [f"gs://clips/listed/{number}.wav" for number in range(2)]
    for number, place in enumerate(uris):
        cloud.gcs.store.write(place, clip(number))
    cloud.gcs.store.write(f"gs://clips/lists/{name}", text.format(*uris).encode())
    output = f"gs://out/{name}"
    assert embed([f"@gs://clips/lists/{name}"], output, uri_column="path") == run.DONE
    rows = {row["uri"]: (row["label"], row["weight"]) for row in Dataset.open(output).table().to_pylist()}
    assert rows[uris[0]] == ("dog, big", "3")
    assert rows[uris[1]][0] == "cat"
    assert not rows[uris[1]][1]
