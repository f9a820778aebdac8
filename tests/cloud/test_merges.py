"""The way of a run into BigQuery: each clip once, whatever fails on the way, and whoever commits last."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import sounds
from bigquery_tables import DATASET, Tables
from buckets import newest_manifest, put

from pipeline import run
from tests.servers.cloud import Cloud
from transforms import errors, runs, staging, storage, warehouse
from transforms.commit import RunInfo, commit
from transforms.schemas import Field
from transforms.writers import WrittenFile

pytestmark = pytest.mark.slow

Embed = Callable[..., int]


# --- The commit alone, on small rows that SQL puts where Beam would ---

SMALL = (
    Field("clip_id", "string", "id"),
    Field("uri", "string", "place"),
    Field("top_classes", "classes", "best"),
    Field("processed_at", "timestamp", "when"),
)
PATCHES = (
    Field("clip_id", "string", "id"),
    Field("patch_index", "int", "which"),
    Field("processed_at", "timestamp", "when"),
)


def staged(tables: Tables, attempt: str, made_at: str, uris: dict[str, str], patches: int = 1) -> RunInfo:
    """A run whose rows are loaded and not yet committed."""
    clips = warehouse.table("clips", f"{DATASET}.small", attempt, SMALL)
    parts = warehouse.table("patches", f"{DATASET}.small", attempt, PATCHES)
    for table in (clips, parts):
        staging.prepare(table)
    rows = [f"('{clip_id}', '{uri}', [], TIMESTAMP '{made_at}')" for clip_id, uri in uris.items()]
    tables.ask(f"INSERT `{clips.staging}` (clip_id, uri, top_classes, processed_at) VALUES {', '.join(rows)}")
    rows = [f"('{clip_id}', {index}, TIMESTAMP '{made_at}')" for clip_id in uris for index in range(patches)]
    tables.ask(f"INSERT `{parts.staging}` (clip_id, patch_index, processed_at) VALUES {', '.join(rows)}")
    return RunInfo(
        run_id=attempt,
        attempt_id=attempt,
        directory=f"gs://out/small/run={attempt}",
        started_at=f"{made_at.replace(' ', 'T')}.000+00:00",
        model_version="m",
        pipeline_version="p",
        settings={},
        max_failure_ratio=0.5,
        clip_formats=("bigquery",),
        patch_formats=("bigquery",),
        tables=(clips, parts),
    )


def committed(run: RunInfo, *, dead: int = 0, dropped: tuple[str, ...] = ()) -> dict[str, Any]:
    """Commits with true counts."""
    files = [
        WrittenFile(table.kind, "bigquery", f"bigquery:{table.name}", staging.count(table), 0) for table in run.tables
    ]
    embedded, num_patches = (file.num_rows for file in files)
    counts = {"listed": embedded + dead, "embedded": embedded, "dead": dead, "num_patches": num_patches}
    counts |= {"deleted": len(dropped)}
    index = WrittenFile("index", "parquet", f"{run.directory}/index", embedded + dead + len(dropped), 1)
    letters = WrittenFile("dead_letters", "jsonl", f"{run.directory}/dead", dead, 1)
    return commit(run, [*files, index, letters], counts, dropped)


def small(tables: Tables) -> dict[str, tuple[str, int]]:
    """By clip_id: its uri and number of patches."""
    rows = tables.ask("SELECT clip_id, uri FROM audio.small")
    assert len({row["clip_id"] for row in rows}) == len(rows)
    patches = tables.ask("SELECT clip_id, patch_index FROM audio.small_patches")
    assert len({tuple(patch.values()) for patch in patches}) == len(patches)
    return {row["clip_id"]: (row["uri"], sum(p["clip_id"] == row["clip_id"] for p in patches)) for row in rows}


def test_a_commit_that_dies_before_success_is_repeated(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    first = staged(tables, "crash", "2026-01-01 00:00:00", {"a": "1", "b": "1"}, patches=2)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "publish", lambda *_: (_ for _ in ()).throw(ConnectionError("cut")))
        with pytest.raises(ConnectionError):
            committed(first)
    assert runs.manifest_of(first.directory) is None
    merged = small(tables)
    manifest = committed(first)
    assert small(tables) == merged == {"a": ("1", 2), "b": ("1", 2)}
    assert not any("_of_" in name for name in tables.names())
    files = [WrittenFile(out["kind"], out["format"], out["path"], out["rows"], out["bytes"])
             for out in manifest["outputs"]]  # fmt: skip
    counts = {"listed": 2, "embedded": 2, "num_patches": 4}
    assert commit(first, files, counts) == manifest  # with nothing left to merge
    assert small(tables) == merged


def test_newer_rows_win_whoever_commits_last(tables: Tables) -> None:
    older = staged(tables, "older", "2026-01-01 00:00:00", {"a": "old", "b": "old"}, patches=3)
    newer = staged(tables, "newer", "2026-02-02 00:00:00", {"a": "new"}, patches=1)
    committed(newer)
    committed(older, dropped=("a",))
    assert small(tables) == {"a": ("new", 1), "b": ("old", 3)}
    committed(staged(tables, "newest", "2026-03-03 00:00:00", {"b": "new"}, patches=2), dropped=("a",))
    assert small(tables) == {"b": ("new", 2)}


def test_a_refused_run_leaves_no_trace(tables: Tables) -> None:
    refused = committed(staged(tables, "refused", "2026-01-01 00:00:00", {"a": "1"}), dead=2)
    assert "2 of 3 clips are dead" in refused["refused"]
    assert small(tables) == {}
    assert not any("_of_" in name for name in tables.names())


def test_an_execution_that_comes_second_changes_nothing(tables: Tables) -> None:
    committed(staged(tables, "r1", "2026-01-01 00:00:00", {"a": "1"}))
    late = staged(tables, "late", "2026-02-02 00:00:00", {"a": "2"})
    late = dataclasses.replace(late, run_id="r1", directory="gs://out/small/run=r1")
    with pytest.raises(errors.CommitError, match="committed by another execution"):
        committed(late)
    assert small(tables) == {"a": ("1", 1)}


# --- Trouble ---


def once_each(tables: Tables, output: str, table: str, count: int) -> None:
    """Asserts that a run ended with all its clips and patches, each once."""
    assert newest_manifest(output)["embedded"] == count
    (found,) = tables.ask(f"SELECT COUNT(*) AS n, COUNT(DISTINCT clip_id) AS ids FROM audio.{table}")
    assert (found["n"], found["ids"]) == (count, count)
    (found,) = tables.ask(f"SELECT COUNT(*) AS n FROM audio.{table}_patches")
    assert found["n"] == newest_manifest(output)["num_patches"]
    assert not any("_of_" in name for name in tables.names())


FAULTS: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "429": {"status": 429},
    "resets": {"reset": True},
    "cut bodies": {"cut_bytes": 40},
    "slow answers": {"delay_s": 1.0},
    "lost answers": {"status": 503, "applied": True},
}
PLACES = (
    *(("POST", place) for place in ('#"load"', "#MERGE", "#BEGIN", "#SELECT", "/tables")),  # jobs of each kind, tables
    ("GET", "/jobs/|/queries/"),  # how they are getting on
)
LOADED = r"upload/.*/b/out/o\?.*uploadType=resumable"  # Beam's own writing of the files that BigQuery loads


@pytest.mark.parametrize("names", [("503", "slow answers"), ("429", "lost answers"), ("resets", "cut bodies")])
def test_what_fails_for_a_moment_leaves_each_clip_once(
    cloud: Cloud, tables: Tables, embed: Embed, names: tuple[str, str]
) -> None:
    folder = f"bq-{names[0]}"
    put(cloud, folder, 3)
    injected = [
        tables.inject(place, method=method, **FAULTS[name])
        for name in names  # at a place one after the other
        for method, place in PLACES
    ]
    injected += [cloud.gcs.inject(method="POST", path=LOADED, **FAULTS[name]) for name in names]
    settings = {"sink": ("bigquery",), "rows": "both", "bigquery_table": f"{DATASET}.faulty"}
    assert embed([f"gs://clips/{folder}/*"], f"gs://out/{folder}", **settings) == run.DONE
    assert all(fault.fired for fault in injected), injected
    once_each(tables, f"gs://out/{folder}", "faulty", 3)


def test_many_load_jobs_and_repeated_bundles_leave_each_clip_once(
    cloud: Cloud, tables: Tables, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.io.gcp import bigquery_file_loads

    monkeypatch.setattr(bigquery_file_loads, "_DEFAULT_MAX_FILE_SIZE", 1)  # a file for each row
    monkeypatch.setattr(bigquery_file_loads, "_MAXIMUM_SOURCE_URIS", 4)  # of a load job
    copies = tables.inject('#"copy"', times=None)  # which spoils nothing
    put(cloud, "bq-many", 4)
    cloud.gcs.store.write("gs://clips/bq-many/long.wav", sounds.sound_file(sounds.noise(6.0, seed=1)))
    settings = {"sink": ("bigquery",), "rows": "both", "bigquery_table": f"{DATASET}.many", "segment_patches": 8}
    beam = ["--direct_runner_bundle_repeat=2", "--temp_location=gs://out/bq-many-tmp"]
    assert embed(["gs://clips/bq-many/*"], "gs://out/bq-many", beam=beam, **settings) == run.DONE
    assert copies.fired
    once_each(tables, "gs://out/bq-many", "many", 5)
    assert not list(storage.matches("gs://out/bq-many-tmp/**"))


def test_who_may_not_write_hears_it_before_a_clip_is_read(cloud: Cloud, tables: Tables, embed: Embed) -> None:
    put(cloud, "bq-forbidden", 2)
    tables.inject("/tables", method="POST", status=403, times=None)
    with pytest.raises(errors.AccessError, match=r"@.* may not use the BigQuery table test-project\.audio\.forbidden: "
                                                 r"it needs bigquery\.tables\.create"):  # fmt: skip
        embed(
            ["gs://clips/bq-forbidden/*"], "gs://out/bq-forbidden", sink=("bigquery",),
            bigquery_table=f"{DATASET}.forbidden",
        )  # fmt: skip
    assert not runs.committed("gs://out/bq-forbidden")


def test_a_merge_that_is_forbidden_is_explained(tables: Tables) -> None:
    waiting = staged(tables, "waiting", "2026-01-01 00:00:00", {"a": "1"})
    tables.inject("#MERGE", status=403, times=None)
    with pytest.raises(errors.AccessError, match=r"audio\.small.*tables\.getData and \.updateData"):
        committed(waiting)
    assert runs.manifest_of(waiting.directory) is None
    tables.faults.clear()
    committed(waiting)
    assert small(tables) == {"a": ("1", 1)}
