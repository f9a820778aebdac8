"""CommitRun: after all files are written, one step that makes the run exist, or refuses to."""

import datetime
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from transforms import errors, runs, storage, tally
from transforms.runs import Manifest
from transforms.tally import Tally
from transforms.wiring import Tallies
from transforms.writers import WrittenFile


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


class CommitRun(beam.PTransform):
    """From nothing to one manifest, after everything it reports is written."""

    def __init__(
        self,
        run: RunInfo,
        *,
        files: beam.PCollection[WrittenFile],
        tallies: Tallies,
    ) -> None:
        """Commits `run` with these files and counts."""
        super().__init__()
        self._run = run
        self._files = files
        self._tallies = list(tallies)

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Manifest]:
        """Wires the transform."""
        sums = [
            tallies | f"Sum{number}" >> beam.CombineGlobally(tally.add).without_defaults()
            for number, tallies in enumerate(self._tallies)
        ]
        return (
            root
            | "Run" >> beam.Create([self._run], reshuffle=False)
            | "Commit"
            >> beam.FlatMap(
                _commit_once,
                beam.pvalue.AsList(self._files),
                beam.pvalue.AsList(tuple(sums) | "Tallies" >> beam.Flatten()),
            )
        )


def commit(run: RunInfo, files: Sequence[WrittenFile], counts: Tally) -> Manifest:
    """Writes manifest and _SUCCESS, or only the manifest if the gate refuses the run.

    The run's other files, left by bundles that ran twice or by an earlier attempt, are deleted.

    Raises:
      CommitError: the counts do not add up, or another attempt has committed this run_id.
    """
    _check(files, counts, run)
    manifest = manifest_of(run, files, counts)
    content = json.dumps(manifest, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
    if manifest["refused"] is None:
        success = storage.join(run.directory, runs.SUCCESS_FILE)
        if not storage.create_exclusively(success, content):
            content = storage.read_bytes(success)
            manifest = json.loads(content)
            if manifest["attempt_id"] != run.attempt_id:
                raise errors.CommitError(
                    f"run_id {run.run_id} was committed by another execution at {manifest['finished_at']}; "
                    "nothing of this one counts. Leave --run_id out, or choose another"
                )
        _delete_leftovers(run.directory, manifest)
    storage.write_bytes(storage.join(run.directory, runs.MANIFEST_FILE), content)
    return manifest


def manifest_of(run: RunInfo, files: Sequence[WrittenFile], counts: Tally) -> Manifest:
    """The manifest of a finished run."""
    listed, dead = int(counts.get("listed", 0)), int(counts.get("dead", 0))
    outputs = [
        {
            "path": os.path.basename(file.uri),
            "kind": file.kind,
            "format": file.file_format,
            "rows": file.num_rows,
            "bytes": file.num_bytes,
        }
        for file in sorted(files)
    ]
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
        "outputs": outputs,
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
    storage.delete([uri for uri in storage.children(directory) if os.path.basename(uri) not in keep])


def _commit_once(run: RunInfo, files: list[WrittenFile], tallies: list[Tally]) -> Iterator[Manifest]:
    yield commit(run, files, tally.add(tallies))
