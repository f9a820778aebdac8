"""The pipeline, to be read aloud."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipeline.options import EmbedOptions
from transforms import schemas
from transforms.account import IndexRows, LetterRows, TallyClips
from transforms.commit import CommitRun, RunInfo
from transforms.dead_letters import Failures
from transforms.decode import DecodeClips
from transforms.embed import EmbedSegments, YamnetModelHandler
from transforms.listing import ListClips
from transforms.metrics import ReportProgress
from transforms.plan import LogPlan, PlanWork, Policy
from transforms.pool import PoolClips
from transforms.read import ReadClips
from transforms.score import PatchRows, Provenance, ScoreClips
from transforms.stores.https_access import HttpsAccess
from transforms.write import WriteRows
from transforms.write_bigquery import WriteBigQuery
from transforms.writers import Table
from transforms.yamnet import Classes


@dataclass(frozen=True)
class Job:
    """All that the pipeline needs to know, resolved.

    Attributes:
      options: as given.
      run: identity of the run.
      handler: the network.
      classes: its class names.
      progress_path: local file to report progress to.
    """

    options: EmbedOptions
    run: RunInfo
    handler: YamnetModelHandler
    classes: Classes
    progress_path: str | None = None

    @property
    def provenance(self) -> Provenance:
        """What the rows say of the run."""
        run = self.run
        return Provenance(run.model_version, run.pipeline_version, run.run_id, self.options.metadata_columns)

    @property
    def policy(self) -> Policy:
        """What to do with the clips that are listed."""
        mode = "force" if self.options.force else self.options.mode
        return Policy(self.run.pipeline_version, self.options.input, mode, self.options.drop_deleted)

    @property
    def http(self) -> HttpsAccess:
        """Which web hosts may be asked."""
        options = self.options
        return HttpsAccess(
            hosts=options.allow_http_host,
            max_bytes=options.max_bytes,
            timeout_s=options.http_timeout_s,
            allowed_networks=options.allow_http_network,
        )

    def table(self, kind: str, file_format: str, fields: Sequence[schemas.Field]) -> Table:
        """A table of the run's directory."""
        has_scores = any(field.name == "scores" for field in fields)
        return Table(kind, file_format, fields, self.run.directory, self.classes.names if has_scores else ())


def build(root: beam.Pipeline, job: Job) -> None:
    """Clips in; one row per clip out, and a dead letter for each that has none."""
    options, run, failures = job.options, job.run, Failures()
    clips, gone, planned = (
        root
        | "ListClips"
        >> ListClips(
            options.input,
            uri_column=options.uri_column,
            metadata_columns=options.metadata_columns,
            http=job.http,
        )
        | "PlanWork" >> PlanWork(options.output, job.policy)
    )
    _ = planned | "LogPlan" >> LogPlan(run.run_id)
    segments = (
        clips
        | "ReadClips" >> ReadClips(failures=failures, max_bytes=options.max_bytes, http=job.http)
        | "DecodeClips"
        >> DecodeClips(failures=failures, max_duration_s=options.max_duration_s, max_patches=options.segment_patches)
        | "EmbedSegments" >> EmbedSegments(job.handler)
    )
    rows = (
        segments
        | "PoolClips" >> PoolClips(failures=failures)
        | "ScoreClips" >> ScoreClips(job.classes, job.provenance, top_classes=options.top_classes)
    )
    letters = failures.letters
    tables = {
        job.table("dead_letters", "jsonl", schemas.DEAD_LETTER_FIELDS): letters | LetterRows(run.run_id),
        job.table("index", "parquet", schemas.INDEX_FIELDS): (
            *((rows, letters) | IndexRows(run.pipeline_version)),
            gone,
        ),
    }
    lines_of: dict[str, Any] = {}
    if options.rows in ("clip", "both"):
        lines_of["clips"] = rows
        fields = schemas.clip_fields(options.metadata_columns)
        tables |= {job.table("clips", sink, fields): rows for sink in options.file_sinks}
    if options.rows in ("patch", "both"):
        lines_of["patches"] = patches = segments | PatchRows(job.provenance, letters=letters)
        tables |= {job.table("patches", sink, schemas.PATCH_FIELDS): patches for sink in options.file_sinks}
    written = [
        lines | f"Write_{table.kind}_{table.file_format}" >> WriteRows(table, num_shards=options.num_shards)
        for table, lines in tables.items()
    ]
    written += [
        lines_of[table.kind] | f"Write_{table.kind}_bigquery" >> WriteBigQuery(table, temp_location=run.temp_location)
        for table in run.tables
    ]
    tallies = planned, *((rows, letters) | TallyClips())
    _ = root | "CommitRun" >> CommitRun(run, files=tuple(written) | beam.Flatten(), tallies=tallies, gone=[gone])
    if job.progress_path:
        _ = (*rows, *letters, planned) | ReportProgress(job.progress_path)
