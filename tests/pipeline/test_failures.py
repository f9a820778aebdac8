"""What must not pass silently: poisoned segments, damaged models, killed runs, disputed run_ids."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sounds
from results import Embed, Result

from pipeline import run
from pipeline.options import EmbedOptions
from transforms import errors
from transforms.yamnet import Yamnet

pytestmark = pytest.mark.slow


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> float:
    """Makes the network raise on patches louder than this log-mel."""
    whole, limit = Yamnet.embed, 4.0

    def embed(self: Yamnet, batch: Any) -> Any:
        if any(patches.max() > limit for patches in batch):
            raise ValueError("poisoned")
        return whole(self, batch)

    monkeypatch.setattr(Yamnet, "embed", embed)
    return limit


def write(path: Path, samples: Any) -> None:
    path.write_bytes(sounds.sound_file(samples, subtype="FLOAT"))


def test_a_poisoned_segment_loses_only_its_clip(
    tmp_path: Path, embed: Embed, poison: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.golden.check", lambda *_: None)  # its signals are loud, too
    for number in range(8):
        write(tmp_path / f"{number}.wav", sounds.noise(1.0, peak=0.01, seed=number))
    write(tmp_path / "loud.wav", sounds.noise(1.0, peak=100.0))
    long = sounds.noise(100.0, peak=0.01)
    long[800_000:810_000] *= 10_000  # in its second segment
    write(tmp_path / "long.wav", long)
    result = embed([f"{tmp_path}/*.wav"], rows="both")
    assert [result.manifest[word] for word in ("listed", "embedded", "dead")] == [10, 8, 2]
    letters = {Path(letter["uri"]).name: letter for letter in result.letters}
    assert set(letters) == {"loud.wav", "long.wav"}
    assert {letter["code"] for letter in letters.values()} == {"embedding_failed"}
    assert "poisoned" in letters["loud.wav"]["message"]
    dead = {letter["clip_id"] for letter in letters.values()}
    assert not dead & set(result.table("patches")["clip_id"].to_pylist())


def test_a_network_that_always_fails_fails_the_job(
    tmp_path: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.golden.check", lambda *_: None)

    def broken(*_: Any) -> None:
        raise RuntimeError("no network today")

    monkeypatch.setattr(Yamnet, "embed", broken)
    write(tmp_path / "a.wav", sounds.noise())
    with pytest.raises(RuntimeError, match="no network today"):
        embed([f"{tmp_path}/a.wav"])
    assert not list(tmp_path.glob("dataset/run=*/_SUCCESS"))


def test_a_model_with_one_changed_byte_is_refused(tmp_path: Path, embed: Embed, model_directory: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_directory, model)
    content = bytearray((model / "weights.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (model / "weights.npz").write_bytes(content)
    write(tmp_path / "a.wav", sounds.noise())
    with pytest.raises(errors.ModelError, match="python -m pipeline model fetch --force"):
        embed([f"{tmp_path}/a.wav"], model=str(model))


def test_a_model_with_other_answers_is_refused(tmp_path: Path, embed: Embed, model_directory: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_directory, model)
    card = json.loads((model / "model.json").read_text())
    card["golden"]["Silence"]["scores"][0] += 0.01
    (model / "model.json").write_text(json.dumps(card))
    write(tmp_path / "a.wav", sounds.noise())
    with pytest.raises(errors.ModelError, match="other answers than it should: on 'Silence' a score is off"):
        embed([f"{tmp_path}/a.wav"], model=str(model))


def test_clips_that_vanish_or_never_were_are_letters(tmp_path: Path, embed: Embed) -> None:
    write(tmp_path / "a.wav", sounds.noise())
    (tmp_path / "list.txt").write_text(f"# mine\n{tmp_path}/a.wav\n\n{tmp_path}/b.wav\n{tmp_path}/a.wav\n")
    result = embed([f"@{tmp_path}/list.txt", str(tmp_path / "a.wav")])
    assert [result.manifest[word] for word in ("listed", "embedded", "dead")] == [2, 1, 1]
    (letter,) = result.letters
    assert (letter["stage"], letter["code"], letter["retryable"]) == ("ReadClips", "not_found", True)


def test_no_clip_at_all_is_not_a_success(tmp_path: Path, embed: Embed) -> None:
    result = embed([f"{tmp_path}/*.wav"])
    assert result.code == run.REFUSED
    assert "no clip at all" in result.manifest["refused"]
    assert not result.is_committed


def test_a_changed_file_is_embedded_again_and_the_rest_is_not(tmp_path: Path, embed: Embed) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.wav", sounds.noise(seed=number))
    assert embed([f"{tmp_path}/*.wav"]).manifest["planned"]["new"] == 3
    write(tmp_path / "1.wav", sounds.noise(2.0))
    again = embed([f"{tmp_path}/*.wav"]).manifest
    assert [again[word] for word in ("embedded", "unchanged")] == [1, 2]
    assert again["planned"]["changed"] == 1
    assert embed([f"{tmp_path}/*.wav"], force=True).manifest["embedded"] == 3
    assert embed([f"{tmp_path}/*.wav"], top_classes=3).manifest["planned"]["stale"] == 3


def test_a_run_id_is_committed_once(tmp_path: Path, embed: Embed, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.wav", sounds.noise())
    result = embed([f"{tmp_path}/a.wav"], run_id="night-1")
    content = (result.directory / "_SUCCESS").read_bytes()
    options = EmbedOptions(input=(f"{tmp_path}/a.wav",), output=str(tmp_path / "dataset"), run_id="night-1")
    assert run.embed(options) == run.DONE
    assert "nothing to do" in capsys.readouterr().out
    assert (result.directory / "_SUCCESS").read_bytes() == content


def test_a_killed_run_leaves_nothing_and_the_next_does_the_work(
    tmp_path: Path, few_files: Path, model_directory: str
) -> None:
    for number in range(120):
        (tmp_path / f"{number}.wav").symlink_to(few_files / "11.wav")
    dataset = tmp_path / "dataset"
    command = [sys.executable, "-m", "pipeline", "embed", "--input", f"{tmp_path}/*.wav", "--output", str(dataset)]
    command += ["--model", model_directory, "--run_id", "night", "--progress=on"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stderr
        while not re.search(rb"[1-9]\d* clips ", process.stderr.read1(200)):  # type: ignore[attr-defined]
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)  # while clips are embedded
    assert not (dataset / "run=night" / "_SUCCESS").exists()
    options = EmbedOptions(
        input=(f"{tmp_path}/*.wav",), output=str(dataset), run_id="night", model=model_directory, rows="both"
    )
    assert run.embed(options) == run.DONE
    result = Result(run.DONE, dataset / "run=night")
    assert result.manifest["embedded"] == len(set(result.table()["clip_id"].to_pylist())) == 120
    listed = {output["path"] for output in result.manifest["outputs"]} | {"manifest.json", "_SUCCESS"}
    assert {path.name for path in result.directory.iterdir()} == listed
