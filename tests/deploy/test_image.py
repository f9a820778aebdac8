"""The Dockerfile: linted, in step with the project, fed little, and read rightly by what replays it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy import replay

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/Dockerfile"
NEEDS_ROOT = pytest.mark.needs(replay.unavailable())


def lint(file: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, "--no-color", file], capture_output=True, text=True, check=False)


def argument(name: str) -> str:
    found = re.search(rf"^ARG {name}=(.*)$", FILE.read_text(), re.M)
    assert found, name
    return found[1]


@pytest.fixture(scope="module")
def launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch", ROOT / "deploy/launch.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hadolint_finds_nothing() -> None:
    done = lint(FILE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('ENTRYPOINT ["/opt/apache/beam/boot"]', "ENTRYPOINT /opt/apache/beam/boot", "DL3025"),
        ("--mount=type=cache,target=/root/.cache/pip", "--network=default", "DL3042"),
        ("--constraint constraints.txt --requirement requirements.txt", "apache-beam", "DL3013"),
        ("WORKDIR /home/beam", "WORKDIR home/beam", "DL3000"),
        ("USER ${RUN_AS}", "USER root", "DL3002"),
        ("FROM ${PYTHON_IMAGE}", "FROM python", "DL3006"),
    ],
)
def test_hadolint_finds_what_was_damaged(tmp_path: Path, old: str, new: str, rule: str) -> None:
    damaged = tmp_path / "Dockerfile"
    assert old in FILE.read_text()
    damaged.write_text(FILE.read_text().replace(old, new))
    done = lint(damaged)
    assert done.returncode == 1
    assert rule in done.stdout


def test_the_image_s_parts_are_those_of_the_pins() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    beam = re.search(r"^apache-beam==([\d.]+) ; python_full_version >= '3.11'", pins, re.M)
    assert beam
    assert argument("BEAM_IMAGE") == f"apache/beam_python3.11_sdk:{beam[1]}"
    assert argument("PYTHON_IMAGE").startswith("python:3.11-slim")
    assert re.search(r"/python311-template-launcher-base:\d{8}_RC\d\d$", argument("LAUNCHER_IMAGE"))


def test_the_label_says_the_project_s_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    assert f'org.opencontainers.image.version="{version[1]}"' in FILE.read_text()


def test_the_context_is_what_the_dockerfile_copies() -> None:
    sent = replay.context_files(ROOT)
    assert {name.split("/")[0] for name in sent} == {
        "constraints.txt", "pyproject.toml", "README.md", "setup.py", "pipeline", "transforms", "deploy"
    }  # fmt: skip
    assert [name for name in sent if name.startswith("deploy/")] == ["deploy/launch.py"]
    assert not [name for name in sent if name.endswith(".pyc")]
    assert sum((ROOT / name).stat().st_size for name in sent) < 1_000_000


def test_jobs_run_in_the_image_that_launched_them(launch: ModuleType) -> None:
    words = ["--input=gs://b/**", "--output=gs://b/d", "--runner=DataflowRunner"]
    assert launch.command_line(words, "r/i:1") == ["embed", *words, "--sdk_container_image=r/i:1"]


@pytest.mark.parametrize("words", [["--sdk_container_image=r/other"], ["--sdk_container_image", "r/other"]])
def test_an_image_that_is_named_is_the_one(launch: ModuleType, words: list[str]) -> None:
    assert launch.command_line(words, "r/i:1") == ["embed", *words]


def test_an_image_that_was_left_empty_is_not_named(launch: ModuleType) -> None:
    assert launch.command_line(["--sdk_container_image="], "r/i:1")[-1] == "--sdk_container_image=r/i:1"


def test_an_image_that_does_not_know_its_name_adds_none(launch: ModuleType) -> None:
    assert launch.command_line(["--force=true"], "") == ["embed", "--force=true"]


def make(folder: Path, text: str, *, sent: str = "!a\n", **arguments: str) -> replay.Image:
    """Replays a small Dockerfile of two stages; its context is a.txt, a/b.txt and secret.txt."""
    for path, content in {"context/a/b.txt": "b", "context/secret.txt": "s", "other/opt/tool": "t"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    (folder / "context/.dockerignore").write_text(f"*\n{sent}")
    (folder / "Dockerfile").write_text(f"ARG BASE=python:3.11\nFROM other AS tools\nFROM ${{BASE}}\n{text}\n")
    (folder / "root").mkdir()
    (folder / "cache").mkdir(exist_ok=True)
    return replay.replay(
        folder / "Dockerfile",
        folder / "context",
        folder / "root",
        images={"tools": folder / "other"},
        caches={"/var/kept": folder / "cache"},
        arguments=arguments,
        with_pip=False,
    )


@NEEDS_ROOT
@pytest.mark.slow
def test_steps_see_what_the_steps_before_them_made(tmp_path: Path) -> None:
    image = make(
        tmp_path,
        "COPY --from=tools /opt/tool /opt/tool\nWORKDIR /work\nCOPY a ./\nARG WHO=x\nENV NAME=${WHO}-1 PLACE=/work\n"
        "RUN --mount=type=cache,target=/var/kept echo kept > /var/kept/file\n"
        'RUN useradd --create-home worker && python -c "import sys; print(sys.prefix)" > prefix\n'
        'LABEL a.b="c d"\nUSER worker\nENTRYPOINT ["/opt/tool"]',
        WHO="me",
    )
    seen = image.run("sh", "-c", 'id -un; pwd; cat b.txt prefix /opt/tool; echo "$NAME $PLACE $HOME"; ls /var/kept')
    assert seen.splitlines() == ["worker", "/work", f"b{replay.PYTHON}", "tme-1 /work /home/worker"]
    assert (image.labels, image.entrypoint) == ({"a.b": "c d"}, ("/opt/tool",))
    assert (tmp_path / "cache/file").read_text() == "kept\n"


@NEEDS_ROOT
@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RUN echo one && false", "ended with 1:\none"),
        ("COPY secret.txt ./", "secret.txt is not in the context"),
        ("COPY --from=tols /opt/tool ./", "there is no such stage"),
        ("COPY --from=tools /opt/missing ./", "is not in tools"),
        ("RUN touch /usr/bin/touched", "Read-only file system"),
        ("ENV A=${MISSING}", "MISSING"),
        ("USER nobody\nRUN true", "does not know it"),
        ("HEALTHCHECK NONE", "not understood here"),
        ("RUN --mount=type=secret,id=x true", "only cache mounts"),
    ],
)
def test_a_step_that_cannot_work_fails_the_replay(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises((RuntimeError, ValueError, KeyError), match=words):
        make(tmp_path, text)


@NEEDS_ROOT
@pytest.mark.slow
def test_the_dockerfile_without_one_of_its_lines_fails_the_replay(tmp_path: Path) -> None:
    line = "COPY constraints.txt pyproject.toml ./\n"
    assert line in FILE.read_text()
    damaged = tmp_path / "Dockerfile"
    damaged.write_text(FILE.read_text().replace(line, ""))
    for part in ("beam/opt/apache/beam/boot", "launcher/opt/google/dataflow/python_template_launcher"):
        (tmp_path / part).parent.mkdir(parents=True)
        (tmp_path / part).touch()
    (tmp_path / "root").mkdir()
    images = {"beam": tmp_path / "beam", "launcher": tmp_path / "launcher"}
    caches = {"/root/.cache/pip": tmp_path, "/root/.cache/yamnet-beam": tmp_path}
    with pytest.raises(RuntimeError, match=r"No such file or directory: 'pyproject.toml'"):
        replay.replay(damaged, ROOT, tmp_path / "root", images=images, caches=caches, with_pip=False)
