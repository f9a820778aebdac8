"""Trouble with a bucket: what passes leaves each clip once, what stays stops the job and is named."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from buckets import newest_manifest, put

from pipeline import run
from pipeline.dataset import Dataset
from tests.servers.cloud import Cloud
from transforms import errors, runs, storage

pytestmark = pytest.mark.slow

Embed = Callable[..., int]

# Requests by what they are for; an upload that must not replace anything is the commit.
PLACES = {
    "list": ("GET", r"/b/(clips|out)/o\?"),
    "stat": ("GET", r"/b/clips/o/faulty[^?]*\?(?!.*alt=media)"),
    "read": ("GET", r"/b/clips/o/faulty.*alt=media"),
    "read the index": ("GET", r"/b/out/o/.*index-.*alt=media"),
    "write": ("POST", r"upload/storage/v1/b/out/o\?(?!.*ifGenerationMatch=0)"),
    "commit": ("POST", r"upload/storage/v1/b/out/o\?.*ifGenerationMatch=0"),
    "delete": ("DELETE", "/b/out/o/"),
}
FAULTS: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "429": {"status": 429, "retry_after_s": 0},
    "resets": {"reset": True},
    "cut bodies": {"cut_bytes": 20},
    "slow answers": {"delay_s": 0.5},
    "lost answers": {"status": 503, "applied": True},
    "answers lost by resets": {"reset": True, "applied": True},
}


@pytest.mark.parametrize(
    "names", [("503", "slow answers"), ("429", "lost answers"), ("resets", "answers lost by resets", "cut bodies")]
)
def test_what_fails_for_a_moment_leaves_each_clip_once(cloud: Cloud, embed: Embed, names: tuple[str, ...]) -> None:
    """A second night, with trouble wherever it turns to the bucket, one kind after the other."""
    uris = put(cloud, f"faulty {names[0]}", 10)
    output, folder, listing = f"gs://out/faulty {names[0]}", uris[0].rsplit("/", 1)[0], f"gs://clips/{names[0]}.txt"
    cloud.gcs.store.write(listing, "\n".join(uris[5:]).encode())
    assert embed(uris[:2], output) == run.DONE
    cloud.gcs.store.write(f"{output}/run=second/clips-of-an-execution-that-died.parquet", b"")
    faults = {
        (place, name): cloud.gcs.inject(method=method, path=path, **FAULTS[name])
        for name in names
        for place, (method, path) in PLACES.items()
    }
    assert embed([f"{folder}/*", f"@{listing}"], output, run_id="second") == run.DONE
    assert not [what for what, fault in faults.items() if not fault.fired], "never met"
    manifest = newest_manifest(output)
    assert [manifest[word] for word in ("listed", "embedded", "unchanged", "dead")] == [10, 8, 2, 0]
    assert sorted(Dataset.open(output).table(["uri"])["uri"].to_pylist()) == uris
    directory = runs.committed(output)[-1].directory
    kept = {place.rsplit("/", 1)[1] for place in storage.children(directory)}
    assert kept == {"_SUCCESS", "manifest.json"} | {out["path"] for out in manifest["outputs"]}
    assert json.loads(storage.read_bytes(f"{directory}/manifest.json")) == manifest


FORBIDDEN = {
    "list": ("storage.objects.list", "clips"),
    "stat": ("storage.objects.get", "clips"),
    "read": ("storage.objects.get", "clips"),
    "write": ("storage.objects.create", "out"),
    "commit": ("storage.objects.create", "out"),
}


def test_what_is_forbidden_stops_the_job_and_is_named_and_then_the_same_command_succeeds(
    cloud: Cloud, embed: Embed
) -> None:
    uris = put(cloud, "faulty permissions", 2)
    inputs, output = [uris[0].rsplit("/", 1)[0] + "/*0*", uris[1]], "gs://out/forbidden"
    for place, (permission, bucket) in FORBIDDEN.items():
        method, path = PLACES[place]
        fault = cloud.gcs.inject(method=method, path=path.replace("(clips|out)", "clips"), status=403, times=None)
        with pytest.raises(
            errors.AccessError, match=rf"^\S+@\S+ may not use gs://.*: it needs {permission} on the bucket {bucket} "
        ):
            embed(inputs, output, run_id="one")
        assert fault.fired
        assert not runs.committed(output)
        cloud.gcs.clear()
    assert embed(inputs, output, run_id="one") == run.DONE
    assert len(Dataset.open(output)) == 2
