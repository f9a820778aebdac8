"""The Cloud Build file is one that the service takes, and it puts into the template what it has pushed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/cloudbuild.yaml"
BUILT_IN = {"PROJECT_ID", "BUILD_ID", "COMMIT_SHA"}
GIVEN = {"_BUCKET"}
DIGEST = "europe-west1-docker.pkg.dev/p/yamnet-beam/yamnet-beam@sha256:" + "a" * 64


def check(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.cloudbuild", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def undefined(build: dict[str, Any]) -> set[str]:
    """Substitutions that are used and that nobody gives, or given and that nobody uses: the service refuses both."""
    text = yaml.safe_dump({"steps": build["steps"], "substitutions": list(build["substitutions"].values())})
    used = set(re.findall(r"(?<!\$)\$\{?([A-Z_][A-Z0-9_]*)\}?", text))
    return used ^ (set(build["substitutions"]) | (BUILT_IN & used) | GIVEN)


@pytest.fixture
def build() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return content


def test_the_schema_of_cloud_build_takes_the_file() -> None:
    done = check(FILE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [("    name: gcr.io", "    nom: gcr.io"), ("timeout: 3600s", "timeout: [3600]"), ("E2_HIGHCPU_8", "HUGE")],
)
def test_the_schema_refuses_a_damaged_file(tmp_path: Path, old: str, new: str) -> None:
    damaged = tmp_path / "cloudbuild.yaml"
    text = FILE.read_text()
    assert old in text
    damaged.write_text(text.replace(old, new))
    assert check(damaged).returncode == 1


def test_every_substitution_is_given_and_used(build: dict[str, Any]) -> None:
    assert undefined(build) == set()
    del build["substitutions"]["_REPOSITORY"]
    build["substitutions"]["_REPOSITRY"] = "yamnet-beam"
    assert undefined(build) == {"_REPOSITORY", "_REPOSITRY"}


def test_files_that_the_steps_name_are_there(build: dict[str, Any]) -> None:
    named = set(re.findall(r"=(deploy/[\w./]+)", yaml.safe_dump(build["steps"])))
    assert named == {"deploy/Dockerfile", "deploy/template/metadata.json"}
    assert all((ROOT / name).is_file() for name in named)


def test_the_build_passes_arguments_that_the_dockerfile_has(build: dict[str, Any]) -> None:
    passed = {word.split("=")[1] for word in build["steps"][0]["args"] if word.startswith("--build-arg=")}
    declared = set(re.findall(r"^ARG (\w+)", (ROOT / "deploy/Dockerfile").read_text(), re.M))
    assert passed == {"IMAGE", "REVISION"} <= declared


def run_script(step: dict[str, Any], folder: Path, said: str) -> list[str]:
    """Runs a step's own script with programs that say `said` and note what they were asked; returns the notes."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("docker", "gcloud"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/asked\necho "{said}"\n')
        (programs / name).chmod(0o755)
    script = re.sub(r"\$\{(_[A-Z]+)\}", lambda match: match[1].strip("_").lower(), step["args"][-1])
    command = ["bash", *step["args"][:-1], script]
    subprocess.run(command, cwd=folder, env={"PATH": f"{programs}:/usr/bin:/bin"}, check=True, capture_output=True)
    return (folder / "asked").read_text().splitlines()


def test_the_template_names_the_pushed_image_by_its_digest(build: dict[str, Any], tmp_path: Path) -> None:
    """Neither docker's engine nor gcloud is here: the steps' scripts run, those two are noted."""
    _, push, template = build["steps"]
    assert run_script(push, tmp_path, DIGEST)[0] == "docker push image"
    assert run_script(template, tmp_path, "")[-1] == (
        f"gcloud dataflow flex-template build gs://bucket/template --image={DIGEST} --sdk-language=PYTHON "
        "--metadata-file=deploy/template/metadata.json"
    )


def test_an_image_without_a_digest_stops_the_build(build: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_script(build["steps"][1], tmp_path, "registry/yamnet-beam:latest")
