"""Beam's own Go programs, of the version that is installed: built once, kept in the user's cache folder."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.cache import cached

_MODULE = "github.com/apache/beam/sdks/v2"


def boot_program() -> Path:
    """Return what starts a Python worker in a container, or under `--environment_type=PROCESS`.

    Raises:
        subprocess.CalledProcessError: It could not be built.
    """
    return _built("python/container")


def prism_program() -> Path:
    """Return Prism, Beam's portable runner for one machine.

    Raises:
        subprocess.CalledProcessError: It could not be built.
    """
    return _built("go/cmd/prism")


def unavailable() -> str | None:
    """Return why the programs cannot be built on this machine, for a test to skip with, or None."""
    return None if shutil.which("go") else "Beam's boot program and Prism need Go 1.25 or later, in PATH: go.dev/dl"


@functools.cache
def _built(package: str) -> Path:
    version = importlib.metadata.version("apache-beam")
    name = package.rsplit("/", 1)[-1]

    def build(folder: Path) -> None:
        command = ["go", "install", f"{_MODULE}/{package}@v{version}"]
        subprocess.run(command, env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}, check=True)

    return cached(f"beam-{name}-{version}", build) / name
