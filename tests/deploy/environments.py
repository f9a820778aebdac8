"""Environments of their own for tools whose packages do not go with the project's: made once, kept in the user's cache.

Each is a folder of packages from a pinned list beside this file, `NAME_requirements.txt`, installed without their
requirements: the list is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def packages(name: str) -> Path:
    """Return the folder of packages of `name_requirements.txt`, made on the first call on this machine.

    Raises:
        subprocess.CalledProcessError: A package could not be installed.
    """
    requirements = Path(__file__).with_name(f"{name}_requirements.txt")
    python = "{}.{}".format(*sys.version_info[:2])
    pins = hashlib.sha256(requirements.read_bytes() + python.encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{pins}"
    with locked(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
                pip += ["--no-compile", "--disable-pip-version-check", "--root-user-action=ignore"]
                subprocess.run([*pip, "--target", f"{temporary}/packages", "-r", requirements], check=True)
                Path(temporary, "packages").rename(folder)
    return folder


def cache() -> Path:
    """Return the folder for what tests keep on this machine."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yamnet-beam-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make what will be at `path`."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
