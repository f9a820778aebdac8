"""The programs of Flink and of Beam's job server: fetched once, kept in the user's cache folder."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

from tests.servers.cache import cached

FLINK = "1.19.3"
OPERATOR = "1.10.0"
_OPERATOR_API = "org.apache.flink:flink-kubernetes-operator-api"
DEPLOY = Path(__file__).parents[2] / "deploy" / "flink"


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


@functools.cache
def flink_deployment_schema() -> dict[str, Any]:
    """Return the schema of a FlinkDeployment, as the Kubernetes operator's own jar has it.

    Raises:
        subprocess.CalledProcessError: The jar could not be fetched.
    """

    def fetch(folder: Path) -> None:
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
        wanted = [f"-Dartifact={_OPERATOR_API}:{OPERATOR}", f"-DoutputDirectory={folder}", "-Dmdep.stripVersion=true"]
        subprocess.run(["mvn", "--batch-mode", "--quiet", plugin, *wanted], cwd=folder, check=True)

    folder = cached(f"flink-operator-{OPERATOR}", fetch)
    with zipfile.ZipFile(folder / "flink-kubernetes-operator-api.jar") as jar:
        text = jar.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml")
    definition = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # half a megabyte
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema
