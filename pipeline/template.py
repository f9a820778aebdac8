"""The metadata of the Dataflow Flex Template, made from the settings: what a launch may say, and in which form.

The service checks a launch's parameters against it before it starts anything, and its console makes a form of it. The
flags of Beam that place a job (machines, network, accounts) are not here: they have fields of their own in a launch.
"""

import dataclasses
import json
import types
import typing
from typing import Any, Literal

from pipeline.options import SINKS, EmbedOptions
from transforms import storage

NAME = "YAMNet embeddings of audio"
DESCRIPTION = (
    "Embeds audio with YAMNet: one row of 1024 numbers and 521 class scores a clip, and a line that says why for each "
    "clip without one. The same launch is first run, resume and nightly refresh."
)

# They mean nothing in a launch: another parameter says it, workers share no disk, nobody looks on.
LEFT_OUT = ("force", "shared_filesystem", "progress")

# The form of settings that are text: the kind of the console's input field, and a pattern of the whole value.
_NAMES = r"^[^,]+(,[^,]+)*$"
_FORMS = {
    "input": ("TEXT", r"^(@?gs://[^/]+/.+|https://.+|bq:.+)$"),
    "output": ("GCS_WRITE_FOLDER", r"^gs://[^/]+(/.*)?$"),
    "uri_column": ("TEXT", _NAMES),
    "metadata_columns": ("TEXT", _NAMES),
    "sink": ("TEXT", "^({0})(,({0}))*$".format("|".join(SINKS))),
    "bigquery_table": ("BIGQUERY_TABLE", r"^[a-z][a-z0-9.:-]*[:.]\w+\.[A-Za-z0-9_-]+$"),
    "model": ("GCS_READ_FOLDER", r"^gs://[^/]+(/.*)?$"),
    "run_id": ("TEXT", r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"),
    "allow_http_host": ("TEXT", r"^[A-Za-z0-9.*-]+(:[0-9]+)?(,[A-Za-z0-9.*-]+(:[0-9]+)?)*$"),
    "allow_http_network": ("TEXT", r"^[0-9A-Fa-f.:]+/[0-9]+(,[0-9A-Fa-f.:]+/[0-9]+)*$"),
}
_NUMBERS = {int: r"^[0-9]+$", float: r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"}

_WORDS = {"bigquery": "BigQuery", "http": "HTTP", "id": "ID", "num": "number of", "s": "(s)", "uri": "URI"}

# Jobs that the launcher of our image sends name that image by themselves.
_WORKER_IMAGE = {
    "name": "sdk_container_image",
    "label": "Image of workers",
    "helpText": "image that workers run in; default: the launcher's own",
    "isOptional": True,
    "paramType": "TEXT",
    "regexes": [r"^[^\s]+$"],
    "groupName": "Run",
}


def metadata() -> dict[str, Any]:
    """The template's metadata, in the JSON form of Dataflow's TemplateMetadata."""
    hints = typing.get_type_hints(EmbedOptions)
    settings = [field for field in dataclasses.fields(EmbedOptions) if field.name not in LEFT_OUT]
    parameters = [_parameter(field, hints[field.name]) for field in settings]
    return {"name": NAME, "description": DESCRIPTION, "parameters": [*parameters, _WORKER_IMAGE]}


def as_json() -> str:
    """The metadata as the file that `gcloud dataflow flex-template build --metadata-file` takes."""
    return json.dumps(metadata(), indent=2) + "\n"


def command(output: str | None) -> int:
    """Writes the metadata, or prints it; returns the exit code."""
    if output is None:
        print(as_json(), end="")
    else:
        storage.write_bytes(storage.normalise(output), as_json().encode())
    return 0


def _parameter(field: "dataclasses.Field[Any]", hint: Any) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": field.name,
        "label": _label(field.name),
        "helpText": field.metadata["help"],
        "isOptional": field.name not in ("input", "output"),
        "groupName": field.metadata["group"].capitalize(),
        **_form(field.name, hint),
    }
    if field.default not in ((), "", None):
        parameter["defaultValue"] = _text(field.default)
    return parameter


def _form(name: str, hint: Any) -> dict[str, Any]:
    """Kind, pattern and choices of a setting's values."""
    if typing.get_origin(hint) is Literal:
        choices = [{"value": choice, "label": choice} for choice in typing.get_args(hint)]
        return {"paramType": "ENUM", "enumOptions": choices}
    (kind,) = {kind for kind in (typing.get_args(hint) or (hint,)) if kind not in (types.NoneType, ...)}
    if kind is bool:
        return {"paramType": "BOOLEAN", "regexes": ["^(true|false)$"]}
    if kind in _NUMBERS:
        return {"paramType": "NUMBER", "regexes": [_NUMBERS[kind]]}
    param_type, pattern = _FORMS.get(name, ("TEXT", None))
    return {"paramType": param_type, "regexes": [pattern]} if pattern else {"paramType": param_type}


def _label(name: str) -> str:
    label = " ".join(_WORDS.get(word, word) for word in name.split("_"))
    return label[0].upper() + label[1:]


def _text(value: Any) -> str:
    """A default as a launch would say it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
