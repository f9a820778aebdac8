"""Owns every setting of the embed command: declared once for flags, help, config file, template and manifest."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from transforms import errors

SINKS = ("parquet", "tfrecord", "bigquery")


def _option(default: Any, group: str, help_text: str, **more: Any) -> Any:
    """One setting: its default, the group of the help it stands in, its help, and `metavar` or `choices`."""
    return dataclasses.field(default=default, metadata={"group": group, "help": help_text, **more})


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """The settings of one run."""

    input: tuple[str, ...] = _option(
        (), "data", "audio to embed: path, URI, glob (** crosses folders), @LIST (text, CSV, JSONL, Parquet), bq:QUERY",
        metavar="WHERE",
    )  # fmt: skip
    output: str = _option("", "data", "dataset to add to: a folder or bucket prefix", metavar="DIR")
    uri_column: str = _option(
        "uri", "data", "column of a list (.csv, .jsonl, .parquet, query) that names clips", metavar="NAME"
    )
    metadata_columns: tuple[str, ...] = _option(
        (),
        "data",
        "columns of lists to carry to the rows; default: all but our own; `none` for none",
        metavar="NAME[,NAME]",
    )
    sink: tuple[str, ...] = _option(
        ("parquet",), "data", "how to write rows: parquet, tfrecord, bigquery, or several of them",
        metavar="FORMAT[,FORMAT]",
    )  # fmt: skip
    bigquery_table: str | None = _option(
        None,
        "data",
        "table that --sink=bigquery keeps the newest row of each clip in; patches go to TABLE_patches",
        metavar="PROJECT:DATASET.TABLE",
    )
    rows: Literal["clip", "patch", "both"] = _option("clip", "data", "one row a clip, one a patch, or both")
    num_shards: int | None = _option(
        None, "data", "files a table; by default as many as the runner makes bundles", metavar="N"
    )
    model: str | None = _option(
        None,
        "model",
        "model directory (see `model fetch`); by default the published weights, fetched once",
        metavar="DIR",
    )
    precision: Literal["float32", "bfloat16", "auto"] = _option(
        "float32",
        "model",
        "of the network; bfloat16 moves scores by up to 0.07 and is refused where it is not faster; auto: the faster",
    )
    top_classes: int = _option(5, "model", "classes named in each row", metavar="N")
    run_id: str | None = _option(
        None,
        "run",
        "names the run; a committed one is never done again; default: the time",
        metavar="ID",
    )
    mode: Literal["refresh", "only_new", "retry", "force"] = _option(
        "refresh",
        "run",
        "refresh: new, changed, stale and retryable clips; only_new: those never seen; retry: the dead; force: all",
    )
    force: bool = _option(False, "run", "the same as --mode=force")
    shared_filesystem: bool = _option(
        False, "run", "local paths mean the same files on every worker: one machine, or a mounted share"
    )
    profile: Literal["none", "dataflow-small", "dataflow-large"] = _option(
        "none", "run", "safe flags for DataflowRunner, which flags given besides override"
    )
    drop_deleted: bool = _option(False, "run", "rows of clips whose source is gone leave the dataset")
    max_failure_ratio: float = _option(
        0.5, "run", "do not commit if more than this part of the listed clips is dead", metavar="R"
    )
    max_duration_s: float = _option(
        86_400.0,
        "limits",
        "clips that decode to more seconds are dead letters; default a day",
        metavar="S",
    )
    max_bytes: int = _option(2 << 30, "limits", "larger files are dead letters; default 2 GiB", metavar="N")
    allow_http_host: tuple[str, ...] = _option(
        (),
        "limits",
        "web host that https:// clips may come from: a.org, *.a.org, a.org:8443; repeatable; default none",
        metavar="HOST",
    )
    allow_http_network: tuple[str, ...] = _option(
        (), "limits", "network besides the public ones that web hosts may be in, such as 10.1.0.0/16; repeatable",
        metavar="CIDR",
    )  # fmt: skip
    http_timeout_s: float = _option(300.0, "limits", "seconds that one https:// clip may take", metavar="S")
    segment_patches: int = _option(64, "tuning", "patches a segment: bounds the memory of long recordings", metavar="N")
    batch_segments: int = _option(16, "tuning", "segments a call of the network", metavar="N")
    progress: Literal["auto", "on", "off"] = _option("auto", "display", "live line on stderr; auto: on a terminal")
    log_format: Literal["text", "json"] = _option(
        "text", "display", "json: every line a JSON object on stderr, with Cloud Logging's fields, and no summary"
    )

    def __post_init__(self) -> None:
        """Checks what can be checked without I/O.

        Raises:
          UsageError: a setting cannot work; names it and the bound.
        """
        if not self.input:
            raise errors.UsageError("nothing to embed: give --input PATH, a glob, or @LIST")
        if not self.output:
            raise errors.UsageError("nowhere to write: give --output DIR")
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise errors.UsageError(f"--{name}={value}: it must lie between {low:g} and {high:g}")
        if self.run_id is not None and not _is_plain_name(self.run_id):
            raise errors.UsageError(f"--run_id={self.run_id!r}: use letters, digits, dot, dash and underscore")
        for sink in self.sink:
            if sink not in SINKS:
                raise errors.UsageError(f"--sink={sink}: choose from {', '.join(SINKS)}")
        if ("bigquery" in self.sink) != (self.bigquery_table is not None):
            raise errors.UsageError("--sink=bigquery and --bigquery_table=PROJECT:DATASET.TABLE go together")
        if self.bigquery_table is not None:
            from transforms import warehouse  # with numpy: --help does without

            warehouse.split(self.bigquery_table)

    @property
    def file_sinks(self) -> tuple[str, ...]:
        """The sinks that write files."""
        return tuple(sink for sink in self.sink if sink != "bigquery")


_BOUNDS = (
    ("num_shards", 1, 100_000),
    ("top_classes", 0, 521),
    ("max_failure_ratio", 0, 1),
    ("segment_patches", 1, 4096),
    ("batch_segments", 1, 4096),
    ("max_duration_s", 0.001, 1e9),
    ("max_bytes", 1, 1e15),
    ("http_timeout_s", 0.1, 86_400),
)


def _is_plain_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and all(c.isalnum() or c in "._-" for c in name) and name.isascii()
