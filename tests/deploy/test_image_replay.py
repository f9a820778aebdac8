"""The Dockerfile's steps, in their order, and a job from what they make. `docker build` itself is not run here.

`make image-test` runs this: installing the image's packages takes minutes, and they are 3 GB while it lasts.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sounds
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy import replay
from tests.servers import beam_programs
from tests.servers.processes import free_port
from tests.servers.programs import programs
from transforms import model_sources, model_store

pytestmark = pytest.mark.slow
MISSING = None if sys.version_info[:2] == (3, 11) else "the image's Python is 3.11: run its tests under that"
MISSING = MISSING or (None if shutil.which("readelf") else "the image's libraries are read by readelf (binutils)")
MISSING = MISSING or replay.unavailable() or beam_programs.unavailable()
pytestmark = [pytestmark, pytest.mark.image, pytest.mark.needs(MISSING)]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/Dockerfile"
# Of the libraries in Debian's slim image, those of libc, GCC and zlib.
SLIM = {"ld-linux-x86-64", "libc", "libdl", "libgcc_s", "libm", "libmvec", "libpthread", "librt", "libstdc++", "libz"}
BEAM_UID = 10_001
NAME = "registry/yamnet-beam:test"


@pytest.fixture(scope="module")
def parts() -> Iterator[Path]:
    """What the Dockerfile takes from other images: Beam's boot program, and nothing for Google's launcher, which is
    not to be had as source. The test does what the launcher does: it runs FLEX_TEMPLATE_PYTHON_PY_FILE."""
    with tempfile.TemporaryDirectory() as folder:
        boot = Path(folder, "beam/opt/apache/beam/boot")
        launcher = Path(folder, "launcher/opt/google/dataflow/python_template_launcher")
        for place in (boot, launcher):
            place.parent.mkdir(parents=True)
            place.touch()
        shutil.copy(beam_programs.boot_program(), boot)
        yield Path(folder)


def build(file: Path, root: Path, parts: Path) -> replay.Image:
    asked = [sys.executable, "-m", "pip", "cache", "dir"]
    pip_cache = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    caches = {"/root/.cache/pip": pip_cache, "/root/.cache/yamnet-beam": model_sources.cache_directory()}
    for folder in caches.values():
        folder.mkdir(parents=True, exist_ok=True)
    images = {"beam": parts / "beam", "launcher": parts / "launcher"}
    return replay.replay(file, ROOT, root, images=images, caches=caches, arguments={"IMAGE": NAME})


@pytest.fixture(scope="module")
def image(parts: Path) -> Iterator[replay.Image]:
    with tempfile.TemporaryDirectory() as folder:
        yield build(FILE, Path(folder), parts)


def test_it_holds_no_tests_and_only_pinned_packages(image: replay.Image) -> None:
    listed = json.loads(image.run("pip", "list", "--format=json"))
    installed = {canonicalize_name(package["name"]): f"=={package['version']}" for package in listed}
    lines = map(Requirement, (ROOT / "constraints.txt").read_text().splitlines())
    pins = {line.name: str(line.specifier) for line in lines if line.marker is None or line.marker.evaluate()}
    assert not {"pytest", "ruff", "mypy", "hypothesis", "librosa"} & set(installed)
    assert {name for name, version in installed.items() if pins.get(name) != version} == {"yamnet-beam"}


def test_its_packages_need_no_library_that_the_slim_image_lacks(image: replay.Image) -> None:
    """Wheels bring most of what they need; the replay alone would find the rest on this machine."""
    libraries = list(image.here(replay.PYTHON).rglob("*.so*"))
    listed = subprocess.run(["readelf", "-d", *libraries], capture_output=True, text=True, check=False).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", listed)) - {library.name for library in libraries}
    assert "libstdc++.so.6" in needed
    assert {name.split(".so")[0] for name in needed} <= SLIM


def test_its_model_is_the_published_one(image: replay.Image) -> None:
    described = json.loads(image.run("yamnet-beam", "model", "info"))
    assert described["directory"] == "/opt/yamnet-beam/model"
    assert described["fingerprint"] == model_store.PUBLISHED_FINGERPRINT


def test_a_damaged_model_stops_the_build(image: replay.Image, tmp_path: Path) -> None:
    shutil.copytree(image.here("/opt/yamnet-beam/model"), tmp_path / "model")
    weights = tmp_path / "model" / model_store.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(RuntimeError, match="model verify ended with 1"):
        image.run("yamnet-beam", "model", "verify", mounts={"/opt/yamnet-beam/model": tmp_path / "model"})


def test_the_entrypoint_is_beam_s_boot_program(image: replay.Image) -> None:
    with pytest.raises(RuntimeError, match="No id provided"):
        image.run(*image.entrypoint)


def test_a_job_runs_from_it_through_the_boot_program_without_root(image: replay.Image) -> None:
    with tempfile.TemporaryDirectory() as folder, programs("image") as running:
        data = Path(folder)
        data.chmod(0o777)
        for number in range(4):
            content = sounds.sound_file(sounds.noise(3, 22_050, seed=number), 22_050)
            (data / f"{number}.wav").write_bytes(content)
        (data / "broken.wav").write_bytes(b"RIFF")
        pool_port, job_port = free_port(), free_port()
        # What `boot --worker_pool` does, at a port of our own: each worker is started by the boot program.
        pool = ["python", "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"]
        pool += [f"--container_executable={image.entrypoint[0]}"]
        running.start("pool", image.command(*pool, user="beam", mounts={"/data": data}))
        service = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main"]
        jobs = running.start("jobs", [*service, f"--port={job_port}"])
        running.wait(lambda: f"port {job_port}" in jobs.tail, jobs)
        image.run(
            "python", image.environ["FLEX_TEMPLATE_PYTHON_PY_FILE"],
            "--input=/data/*.wav", "--output=/data/set", "--run_id=one", "--shared_filesystem=true",
            "--runner=PortableRunner", f"--job_endpoint=localhost:{job_port}",
            "--environment_type=EXTERNAL", f"--environment_config=localhost:{pool_port}",
            user="beam", mounts={"/data": data},
        )  # fmt: skip
        run = data / "set/run=one"
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["settings"]["beam"]["sdk_container_image"] == NAME
        assert (manifest["listed"], manifest["embedded"], manifest["dead"]) == (5, 4, 1)
        (clips,) = run.glob("clips-*.parquet")
        assert pq.read_table(clips).num_rows == 4
        assert clips.stat().st_uid == BEAM_UID
