"""CommitRun: after all files are written, one step that makes the run exist, or refuses to.

In BigQuery a run appears before its _SUCCESS: a commit that dies between the two is repeated, by the runner or with the
command, and merges the same rows, or newer ones of the same clips, again.
"""

import datetime
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from transforms import errors, logs, runs, staging, storage, tally, warehouse
from transforms.metrics import count, measure
from transforms.records import Row
from transforms.runs import Manifest
from transforms.tally import Tally
from transforms.warehouse import WarehouseTable
from transforms.wiring import Rows, Tallies
from transforms.writers import WrittenFile, outputs_of

STAGE = "CommitRun"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run knows of itself before it starts.

    Attributes:
      run_id: names its directory.
      attempt_id: of this execution; tells a repeated commit from another's.
      directory: of the run.
      started_at: ISO 8601, UTC.
      model_version, pipeline_version: as in every row.
      settings: as resolved.
      max_failure_ratio: of dead to listed clips; above it the run is not committed.
      clip_formats, patch_formats: in which the clips and patches are written.
      tables: of BigQuery, that the run is merged into.
      temp_location: of this execution alone; what is left there goes with the commit.
    """

    run_id: str
    attempt_id: str
    directory: str
    started_at: str
    model_version: str
    pipeline_version: str
    settings: dict[str, Any]
    max_failure_ratio: float
    clip_formats: Sequence[str]
    patch_formats: Sequence[str] = ()
    tables: Sequence[WarehouseTable] = ()
    temp_location: str | None = None


class CommitRun(beam.PTransform):
    """From nothing to one manifest, after everything it reports is written."""

    def __init__(
        self,
        run: RunInfo,
        *,
        files: beam.PCollection[WrittenFile],
        tallies: Tallies,
        gone: Rows = (),
    ) -> None:
        """Commits `run` with these files and counts; `gone` are index lines of clips whose source is gone."""
        super().__init__()
        self._run = run
        self._files = files
        self._tallies = list(tallies)
        self._gone = gone

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Manifest]:
        """Wires the transform."""
        sums = [
            tallies | f"Sum{number}" >> beam.CombineGlobally(tally.add).without_defaults()
            for number, tallies in enumerate(self._tallies)
        ]
        dropped = [
            beam.pvalue.AsList(lines | f"Dropped{number}" >> beam.FlatMap(_dropped_id))
            for number, lines in enumerate(self._gone)
        ]
        return (
            root
            | "Run" >> beam.Create([self._run], reshuffle=False)
            | "Commit"
            >> beam.FlatMap(
                _commit_once,
                beam.pvalue.AsList(self._files),
                beam.pvalue.AsList(tuple(sums) | "Tallies" >> beam.Flatten()),
                *dropped,
            )
        )


def commit(run: RunInfo, files: Sequence[WrittenFile], counts: Tally, dropped: Sequence[str] = ()) -> Manifest:
    """Writes manifest and _SUCCESS, or only the manifest if the gate refuses the run.

    Before _SUCCESS, BigQuery's tables take the run in, and lose the clips in `dropped`. The run's other files, left by
    bundles that ran twice or by an earlier attempt, are deleted, and so is all that was only on the way to BigQuery.

    Raises:
      CommitError: the counts do not add up, or another attempt has committed this run_id.
    """
    _check(files, counts, run)
    manifest = manifest_of(run, files, counts)
    try:
        if manifest["refused"] is not None:
            runs.refuse(run.directory, manifest)
        else:
            if runs.manifest_of(run.directory) is None:  # else a repetition, or a run_id that is taken
                _merge(run, files, dropped)
            manifest = runs.publish(run.directory, manifest)
            _delete_leftovers(run.directory, manifest)
    except errors.CommitError:  # another execution was first: what this one has written is in nobody's way
        if winner := runs.manifest_of(run.directory):
            _delete_leftovers(run.directory, winner)
        _delete_staged(run)
        raise
    _delete_staged(run)
    return manifest


def manifest_of(run: RunInfo, files: Sequence[WrittenFile], counts: Tally) -> Manifest:
    """The manifest of a finished run."""
    listed, dead = int(counts.get("listed", 0)), int(counts.get("dead", 0))
    return {
        "format": 1,
        "run_id": run.run_id,
        "attempt_id": run.attempt_id,
        "refused": refusal(listed, dead, run.max_failure_ratio),
        "listed": listed,
        "embedded": int(counts.get("embedded", 0)),
        "dead": dead,
        "unchanged": int(counts.get("unchanged", 0)),
        "dead_by_code": tally.dead_by_code(counts),
        "planned": {word: int(counts.get(word, 0)) for word in ("new", "changed", "stale", "retry", "forced")},
        "deleted": int(counts.get("deleted", 0)),
        "unchanged_dead": int(counts.get("unchanged_dead", 0)),
        "truncated": int(counts.get("truncated", 0)),
        "num_patches": int(counts.get("num_patches", 0)),
        "audio_hours": counts.get("audio_s", 0.0) / 3600,
        "model_version": run.model_version,
        "pipeline_version": run.pipeline_version,
        "settings": run.settings,
        "outputs": outputs_of(files),
        "started_at": run.started_at,
        "finished_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
    }


def refusal(listed: int, dead: int, max_failure_ratio: float) -> str | None:
    """Why a run must not be committed; None if it may."""
    if not listed:
        return "no clip at all: the inputs match nothing"
    if dead > max_failure_ratio * listed:
        return f"{dead} of {listed} clips are dead, more than --max_failure_ratio={max_failure_ratio:g} allows"
    return None


def _check(files: Sequence[WrittenFile], counts: Tally, run: RunInfo) -> None:
    """Counts the rows in the files against the clips that were listed."""
    rows: dict[tuple[str, str], int] = {}
    for file in files:
        key = file.kind, file.file_format
        rows[key] = rows.get(key, 0) + file.num_rows
    embedded, dead = (counts.get(word, 0) for word in ("embedded", "dead"))
    expected = {("clips", file_format): embedded for file_format in run.clip_formats}
    num_patches = counts.get("num_patches", 0)
    expected |= {("patches", file_format): num_patches for file_format in run.patch_formats}
    gone = counts.get("deleted", 0)
    expected |= {("dead_letters", "jsonl"): dead, ("index", "parquet"): embedded + dead + gone}
    wrong = [
        f"{kind} ({file_format}): {rows.get((kind, file_format), 0)} rows, not {count:g}"
        for (kind, file_format), count in expected.items()
        if rows.get((kind, file_format), 0) != count
    ]
    if not tally.is_conserved(counts):
        wrong.append("listed is not embedded + dead + unchanged")
    if wrong:
        raise errors.CommitError(f"the run does not add up and is not committed: {'; '.join(wrong)}; counts: {counts}")


def _delete_leftovers(directory: str, manifest: Manifest) -> None:
    keep = {output["path"] for output in manifest["outputs"]} | {
        runs.SUCCESS_FILE,
        runs.MANIFEST_FILE,
    }
    names = {os.path.basename(uri): uri for uri in storage.children(directory)}
    # Another execution may be writing the one, or about to find the other there: what it does so with is its own.
    in_flight = [f".{name}." for name in (runs.SUCCESS_FILE, runs.MANIFEST_FILE)]
    unused = [uri for name, uri in names.items() if name not in keep and not any(part in name for part in in_flight)]
    storage.delete(unused)


def _delete_staged(run: RunInfo) -> None:
    """Deletes what was only on the way to BigQuery."""
    for table in run.tables:
        staging.drop_staging(table)
    if run.temp_location:
        storage.delete([found.uri for found in storage.matches(storage.join(run.temp_location, "**"))])


def _merge(run: RunInfo, files: Sequence[WrittenFile], dropped: Sequence[str]) -> None:
    loaded = {file.kind for file in files if file.file_format == warehouse.FORMAT and file.num_rows}
    for table in run.tables:
        if table.kind in loaded:  # a merge reads the whole target: not for nothing
            staging.merge(table)
        if dropped:
            staging.delete(table, dropped, datetime.datetime.fromisoformat(run.started_at))


def _dropped_id(line: Row) -> Iterator[str]:
    if line["status"] == runs.DROPPED:
        yield line["clip_id"]


def _commit_once(
    run: RunInfo, files: list[WrittenFile], tallies: list[Tally], *dropped: list[str]
) -> Iterator[Manifest]:
    count("commit_run_in")
    with measure("commit"):
        manifest = commit(run, files, tally.add(tallies), [clip_id for ids in dropped for clip_id in ids])
    count("commit_run_out" if manifest["refused"] is None else "commit_run_failed")
    _log(manifest)
    yield manifest


def _log(manifest: Manifest) -> None:
    facts = {word: manifest[word] for word in ("listed", "embedded", "dead", "unchanged", "deleted", "audio_hours")}
    if manifest["refused"] is None:
        logs.event(STAGE, "run committed", run_id=manifest["run_id"], **facts)
    else:
        facts["reason"] = manifest["refused"]
        logs.event(STAGE, "run refused", run_id=manifest["run_id"], severity=logging.ERROR, **facts)
