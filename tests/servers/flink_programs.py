"""The programs of Flink and of Beam's job server: fetched once, kept in the user's cache folder."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.cache import cached

FLINK = "1.19.3"
DEPLOY = Path(__file__).parents[2] / "deploy" / "flink"

# Flink's own list for Java 17, as far as it is needed here.
JAVA = ["java", "--add-exports=java.base/sun.net.util=ALL-UNNAMED"] + [
    f"--add-opens=java.base/java.{package}=ALL-UNNAMED"
    for package in ("lang", "net", "io", "nio", "lang.reflect", "util", "util.concurrent", "time")
]


def unavailable() -> str | None:
    """Return why Flink cannot run on this machine, for a test to skip with, or None."""
    missing = [name for name in ("java", "mvn") if not shutil.which(name)]
    if not missing:
        return None
    return f"Flink needs Java 17 and Maven: no {' and no '.join(missing)} in PATH (apt install openjdk-17-jre maven)"


@functools.cache
def flink_home() -> Path:
    """Return the folder of Flink's jars, from the wheel that carries them (0.2 GB).

    Raises:
        subprocess.CalledProcessError: It could not be installed.
    """

    def fetch(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "--root-user-action=ignore", "--target", folder, f"apache-flink-libraries=={FLINK}"], check=True
        )

    return cached(f"flink-{FLINK}", fetch) / "pyflink"


@functools.cache
def job_server_jar() -> Path:
    """Return Beam's job server for Flink, built from deploy/flink/pom.xml (0.15 GB).

    Raises:
        subprocess.CalledProcessError: It could not be built.
    """
    pom = (DEPLOY / "pom.xml").read_bytes()

    def build(folder: Path) -> None:
        (folder / "pom.xml").write_bytes(pom)
        subprocess.run(["mvn", "--batch-mode", "--quiet", "package"], cwd=folder, check=True)

    name = f"flink-job-server-{hashlib.sha256(pom).hexdigest()[:12]}"
    return cached(name, build) / "target" / "flink-job-server.jar"
