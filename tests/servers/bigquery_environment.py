"""The Python 3.13 environment of local-bigquery: made once, kept in the user's cache folder.

It cannot live beside the project's own packages: it wants a newer Python, numpy and pyarrow. DuckDB
would download its extensions at run time; here they come from wheels and are put where it looks.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_REQUIREMENTS = Path(__file__).with_name("bigquery_requirements.txt")
_IS_313 = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
_PLATFORM = "import duckdb; print(duckdb.sql('PRAGMA platform').fetchone()[0])"


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python, the packages it shall use, and the home folder it shall have."""

    python: Path
    packages: Path
    home: Path

    @property
    def env(self) -> dict[str, str]:
        """The variables that make `python` use this environment."""
        return {"PYTHONPATH": str(self.packages), "HOME": str(self.home), "PYTHONNOUSERSITE": "1"}


@functools.cache
def find_python() -> Path | None:
    """Return a Python 3.13 from PATH or from pyenv, or None."""
    candidates = [shutil.which("python3.13")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout
        candidates += map(str, sorted(Path(root.strip()).glob("versions/3.13*/bin/python3.13")))
    for candidate in filter(None, candidates):  # a pyenv shim may be there and refuse to run
        if subprocess.run([candidate, "-c", _IS_313], capture_output=True, check=False).returncode:
            continue
        return Path(candidate)
    return None


def environment() -> Environment:
    """Return the environment, made on the first call on this machine (half a minute, 0.6 GB).

    Raises:
        RuntimeError: There is no Python 3.13.
        subprocess.CalledProcessError: A package could not be installed.
    """
    python = find_python()
    if python is None:
        raise RuntimeError("no Python 3.13 in PATH or pyenv")
    folder = _folder()
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            _make(python, folder)
    return Environment(python, folder / "packages", folder / "home")


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pins = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12]
    return cache / "yamnet-beam-tests" / f"local-bigquery-{pins}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make the environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(python: Path, folder: Path) -> None:
    """Make the environment beside its place and move it there whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Environment(python, Path(temporary, "env/packages"), Path(temporary, "env/home"))
        made.home.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        pip += ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
        pip += ["--root-user-action=ignore"]
        subprocess.run([*pip, "--target", made.packages, "-r", _REQUIREMENTS], check=True)
        _place_extensions(made)
        made.packages.parent.rename(folder)


def _place_extensions(made: Environment) -> None:
    asked = [str(made.python), "-c", _PLATFORM]
    env = {**os.environ, **made.env}
    platform = subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout
    for extension in made.packages.glob("duckdb_extension_*/extensions/*/*.duckdb_extension"):
        version = extension.parent.name
        place = made.home / ".duckdb/extensions" / version / platform.strip() / extension.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(extension, place)
