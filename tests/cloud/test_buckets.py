"""Clips in a bucket, and a refresh every night: what the dataset holds is what the bucket holds."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sounds

from pipeline import run
from pipeline.dataset import Dataset
from tests.servers.cloud import Cloud
from transforms import errors, runs, storage

pytestmark = pytest.mark.slow

Embed = Callable[..., int]
FOLDERS = ("birds of spring", "grün/täglich", "50% #1", "plain")


def clip(number: int, version: int = 0) -> bytes:
    return sounds.sound_file(sounds.noise(0.2 + 0.01 * (number % 7), seed=1000 * version + number))


def uri(number: int) -> str:
    return f"gs://clips/night/{FOLDERS[number % 4]}/{number:03}.wav"


def newest_manifest(dataset: str) -> dict[str, object]:
    return runs.committed(dataset)[-1].manifest


def requests_for_media(cloud: Cloud) -> int:
    return sum(1 for asked in cloud.gcs.requests if "alt=media" in asked.target and ".wav" in asked.target)


def test_500_clips_and_three_nights(cloud: Cloud, embed: Embed, tmp_path: Path) -> None:
    for number in range(500):
        cloud.gcs.store.write(uri(number), clip(number))
    inputs, output = ["gs://clips/night/**"], "gs://out/night"
    assert embed(inputs, output, sink=("parquet", "tfrecord")) == run.DONE
    assert embed(inputs, str(tmp_path / "local")) == run.DONE
    far, near = Dataset.open(output).table(), Dataset.open(str(tmp_path / "local")).table()
    assert sorted(far["uri"].to_pylist()) == sorted(uri(number) for number in range(500))
    assert sorted(far["clip_id"].to_pylist()) == sorted(near["clip_id"].to_pylist())
    order = [("clip_id", "ascending")]
    for column in ("embedding", "scores"):
        vectors = [table.sort_by(order)[column].combine_chunks().flatten().to_numpy() for table in (far, near)]
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    records = [output for output in newest_manifest(output)["outputs"] if output["format"] == "tfrecord"]  # type: ignore[attr-defined]
    assert sum(record["rows"] for record in records) == 500

    for number in range(500, 520):
        cloud.gcs.store.write(uri(number), clip(number))
    for number in range(10):
        cloud.gcs.store.write(uri(number), clip(number, version=1))
    for number in range(10, 15):
        cloud.gcs.store.delete(uri(number))
    for number in range(15, 18):
        cloud.gcs.store.write(uri(number), b"not a sound any more")
    cloud.gcs.clear()
    assert embed(inputs, output, sink=("parquet", "tfrecord")) == run.DONE
    second = newest_manifest(output)
    counts = {word: second[word] for word in ("listed", "embedded", "dead", "unchanged", "deleted")}
    assert counts == {"listed": 515, "embedded": 30, "dead": 3, "unchanged": 482, "deleted": 5}
    assert second["planned"] == {"new": 20, "changed": 13, "stale": 0, "retry": 0, "forced": 0}
    assert requests_for_media(cloud) == 33

    cloud.gcs.clear()
    assert embed(inputs, output, sink=("parquet", "tfrecord")) == run.DONE
    third = newest_manifest(output)
    assert [third[word] for word in ("listed", "unchanged", "unchanged_dead", "deleted")] == [515, 515, 3, 0]
    assert requests_for_media(cloud) == 0
    assert len(Dataset.open(output)) == 520  # the rows of the deleted, and of the broken as they were, stay

    assert embed(inputs, output, sink=("parquet", "tfrecord"), top_classes=2) == run.DONE
    assert newest_manifest(output)["planned"]["stale"] == 515  # type: ignore[index]


def test_dead_letters_are_input_and_are_tried_again(cloud: Cloud, embed: Embed) -> None:
    for number in range(3):
        cloud.gcs.store.write(f"gs://clips/again/{number}.wav", clip(number) if number else b"broken")
    assert embed(["gs://clips/again/*"], "gs://out/again") == run.DONE
    cloud.gcs.store.write("gs://clips/again/0.wav", clip(0))
    assert embed(["@gs://out/again/run=*/dead_letters-*.jsonl"], "gs://out/again") == run.DONE
    manifest = newest_manifest("gs://out/again")
    assert [manifest[word] for word in ("listed", "embedded", "dead", "deleted")] == [1, 1, 0, 0]
    assert len(Dataset.open("gs://out/again")) == 3


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


def test_a_forbidden_bucket_stops_the_job_and_says_what_is_missing(cloud: Cloud, embed: Embed) -> None:
    for number in range(3):
        cloud.gcs.store.write(f"gs://clips/forbidden/{number}.wav", clip(number))
    cloud.gcs.inject(path="forbidden.*alt=media", status=403, times=None)
    with pytest.raises(errors.AccessError, match=r"storage\.objects\.get on the bucket clips"):
        embed(["gs://clips/forbidden/*"], "gs://out/forbidden")
    assert not runs.committed("gs://out/forbidden")


FAULTS = {
    "listing": {"method": "GET", "path": r"/b/clips/o\?", "status": 503, "times": 2},
    "throttled reads": {"path": "faulty.*alt=media", "status": 429, "times": 8, "retry_after_s": 0},
    "reset reads": {"path": "faulty.*alt=media", "reset": True, "times": 6},
    "cut bodies": {"path": "faulty.*alt=media", "cut_bytes": 500, "times": 6},
    "slow reads": {"path": "faulty.*alt=media", "delay_s": 0.5, "times": 10},
    "failed writes": {"method": "POST", "path": "upload/storage/v1/b/out", "status": 503, "times": 3},
    "reset writes": {"method": "POST", "path": "upload/storage/v1/b/out", "reset": True, "times": 2},
    "writes without an answer": {
        "method": "POST", "path": "upload/storage/v1/b/out", "reset": True, "times": 2, "applied": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_fails_for_a_moment_leaves_each_clip_once(cloud: Cloud, embed: Embed, name: str) -> None:
    for number in range(20):
        cloud.gcs.store.write(f"gs://clips/faulty/{number}.wav", clip(number))
    output = f"gs://out/faulty {name}"
    fault = cloud.gcs.inject(**FAULTS[name])
    assert embed(["gs://clips/faulty/*"], output) == run.DONE
    assert fault.fired, "the fault was never met"
    manifest = newest_manifest(output)
    assert [manifest[word] for word in ("listed", "embedded", "dead")] == [20, 20, 0]
    assert len(set(Dataset.open(output).table(["clip_id"])["clip_id"].to_pylist())) == 20
    kept = {place.rsplit("/", 1)[1] for place in storage.children(runs.committed(output)[0].directory)}
    assert kept == {"_SUCCESS", "manifest.json"} | {out["path"] for out in manifest["outputs"]}  # type: ignore[attr-defined]
    assert json.loads(storage.read_bytes(f"{runs.committed(output)[0].directory}/manifest.json")) == manifest
