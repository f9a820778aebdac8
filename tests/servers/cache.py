"""What tests fetch or build once on a machine and keep in the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `name` of the cache, made on the first call on this machine.

    Args:
        name: Of the folder; it says which version is in it.
        make: Fills an empty folder, which is moved to its place whole.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yamnet-beam-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process at a time makes it
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as temporary:
                made = Path(temporary, name)
                made.mkdir()
                make(made)
                made.rename(folder)
    return folder
