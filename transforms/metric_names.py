"""Owns the table of all metrics: their stable names, kinds and units, and what each counts.

Every stage adds up, in = out + failed, unless its lines say otherwise, and the clips that leave a stage enter the next.
A letter is counted as failed once, by the stage that it leaves: PoolClips, if segments of its clip had gone ahead.

There are no gauges: one keeps the newest value of any worker, which says nothing of a batch job, and Dataflow does not
export it.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from transforms import errors

NAMESPACE = "yamnet_beam"
DEAD_PREFIX = "dead_"  # dead_<code> counts the letters of one code
RUN_INFERENCE = "EmbedSegments"  # the namespace of what Beam's RunInference counts by itself

Kind = Literal["counter", "distribution"]


class Metric(NamedTuple):
    """One metric.

    Attributes:
      name: as runners show it.
      kind: a counter adds up; a distribution keeps count, sum, minimum and maximum.
      unit: of what is counted.
      stage: where it is counted, as in the job graph.
      description: of what it tells.
      namespace: of Beam's.
    """

    name: str
    kind: Kind
    unit: str
    stage: str
    description: str
    namespace: str = NAMESPACE


def _count(stage: str, name: str, unit: str, description: str) -> Metric:
    return Metric(name, "counter", unit, stage, description)


def _spread(stage: str, name: str, unit: str, description: str) -> Metric:
    return Metric(name, "distribution", unit, stage, description)


def _times(stage: str, step: str, description: str) -> Metric:
    """What `stopwatch.measure(step)` reports."""
    return _spread(stage, f"{step}_microseconds", "microseconds", description)


def _codes(kind: type[errors.ClipError]) -> Iterator[type[errors.ClipError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _codes(below)


METRICS: tuple[Metric, ...] = (
    _count("ListClips", "list_clips_in", "clips", "named by the inputs"),
    _count("ListClips", "list_clips_out", "clips", "with versions where these could be had; as many as in"),
    _times("ListClips", "stat", "asking for the versions of up to 1000 clips"),
    _count("PlanWork", "plan_work_in", "clips", "listed; = out + unchanged + repeated"),
    _count("PlanWork", "plan_work_out", "clips", "that need work"),
    _count("PlanWork", "plan_work_unchanged", "clips", "done by a committed run"),
    _count("PlanWork", "plan_work_repeated", "clips", "named more than once: all but one"),
    _count("PlanWork", "plan_work_deleted", "clips", "gone from an input that listed them before; not among in"),
    _count("ReadClips", "read_clips_in", "clips", "to fetch"),
    _count("ReadClips", "read_clips_out", "clips", "fetched"),
    _count("ReadClips", "read_clips_failed", "clips", "that could not be fetched: letters"),
    _times("ReadClips", "fetch", "waiting for the bytes of a clip that threads fetch ahead"),
    _count("ReadClips", "fetch_bytes", "bytes", "fetched"),
    _times("ReadClips", "read", "processor time of the thread that fetched a clip: copies, checksums, encryption"),
    _count("DecodeClips", "decode_clips_in", "clips", "to decode"),
    _count("DecodeClips", "decode_clips_out", "clips", "with at least one segment"),
    _count("DecodeClips", "decode_clips_failed", "clips", "without any: letters"),
    _count("DecodeClips", "decode_clips_segments", "segments", "decoded"),
    _times("DecodeClips", "decode", "opening a clip, and decoding a block of samples"),
    _count("DecodeClips", "decode_bytes", "bytes", "of decoded samples"),
    _times("DecodeClips", "downmix", "averaging the channels of a block"),
    _count("DecodeClips", "downmix_bytes", "bytes", "of samples, all channels"),
    _times("DecodeClips", "health", "measuring loudness, clipping and bandwidth: of a block, and at the end of a clip"),
    _times("DecodeClips", "resample", "resampling a block to 16 kHz"),
    _count("DecodeClips", "resample_bytes", "bytes", "of samples before it"),
    _count("EmbedSegments", "embed_segments_in", "segments", "to embed"),
    _count("EmbedSegments", "embed_segments_out", "segments", "embedded"),
    _count("EmbedSegments", "embed_segments_failed", "segments", "that fail; their clips do in PoolClips"),
    _count("EmbedSegments", "embed_segments_patches", "patches", "embedded"),
    _spread("EmbedSegments", "batch_patches", "patches", "in one batch: how full the network's calls are"),
    _times("EmbedSegments", "log_mel", "computing the log-mel spectrogram of a segment"),
    _count("EmbedSegments", "log_mel_bytes", "bytes", "of 16 kHz samples"),
    _times("EmbedSegments", "network", "one call of the network, for a batch of segments"),
    _times("EmbedSegments", "load_model", "loading and checking the network, once a process"),
    _count("PoolClips", "pool_clips_in", "clips", "whose segments are all there"),
    _count("PoolClips", "pool_clips_out", "clips", "pooled"),
    _count("PoolClips", "pool_clips_failed", "clips", "with a segment that failed: letters"),
    _count("PoolClips", "pool_clips_audio_milliseconds", "milliseconds", "of audio in the clips that are pooled"),
    _times("PoolClips", "pool", "pooling the patches of a segment"),
    _count("ScoreClips", "score_clips_in", "clips", "to score"),
    _count("ScoreClips", "score_clips_out", "clips", "rows made; as many as in"),
    _count("WriteRows", "write_rows_in", "rows", "of all tables and formats to write"),
    _count("WriteRows", "write_rows_out", "rows", "in finished files; as many as in"),
    _count("WriteRows", "write_rows_files", "files", "finished"),
    _times("WriteRows", "encode", "encoding up to 2048 rows"),
    _times("WriteRows", "publish", "bringing a finished file to its place"),
    _count("WriteRows", "publish_bytes", "bytes", "of finished files"),
    _count("WriteBigQuery", "write_bigquery_in", "rows", "to load"),
    _count("WriteBigQuery", "write_bigquery_out", "rows", "that BigQuery holds before the merge; as many as in"),
    _count("CommitRun", "commit_run_in", "runs", "to commit"),
    _count("CommitRun", "commit_run_out", "runs", "committed"),
    _count("CommitRun", "commit_run_failed", "runs", "refused by --max_failure_ratio"),
    _times("CommitRun", "commit", "checking counts, merging, writing manifest and _SUCCESS"),
    *(
        Metric(f"{DEAD_PREFIX}{kind.code}", "counter", "clips", "TallyClips", (kind.__doc__ or "").splitlines()[0])
        for kind in dict.fromkeys(_codes(errors.ClipError))
    ),
)

# What RunInference counts by itself, the dead segments that pass through it among the rest.
BEAMS: tuple[Metric, ...] = tuple(
    metric._replace(namespace=RUN_INFERENCE)
    for metric in (
        _count("EmbedSegments", "num_inferences", "segments", "that passed through"),
        _count("EmbedSegments", "failed_batches_counter", "batches", "that raised: the job fails"),
        _spread("EmbedSegments", "inference_request_batch_size", "segments", "in one batch"),
        _spread("EmbedSegments", "inference_request_batch_byte_size", "bytes", "of samples in one batch"),
        _spread("EmbedSegments", "inference_batch_latency_micro_secs", "microseconds", "of a batch, log-mel and all"),
        _spread("EmbedSegments", "model_byte_size", "bytes", "next to nothing: the network is loaded later"),
        _spread("EmbedSegments", "load_model_latency_milli_secs", "milliseconds", "next to nothing, likewise"),
    )
)

_KINDS: dict[str, Kind] = {metric.name: metric.kind for metric in METRICS}


def checked(name: str, kind: Kind) -> str:
    """The name, if the table has it with this kind.

    Raises:
      LookupError: it has not: a metric without a line in the table is a bug.
    """
    if _KINDS.get(name) != kind:
        raise LookupError(f"no {kind} {name} in metric_names.METRICS: every metric has its line there")
    return name
