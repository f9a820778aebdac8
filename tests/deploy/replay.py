"""Replays a Dockerfile where no engine can build it: its steps run, in their order, in a root folder of their own.

What is real: the Dockerfile, read by Docker's own parser; the context, as .dockerignore leaves it; every COPY, ENV, ARG, WORKDIR, USER
and RUN, at the paths that they name. What stands for something else: FROM's Python is a fresh virtual environment of this Python; what is
below it (libc, sh) is this machine's, read-only; COPY --from takes what the caller says that the other image holds. So a package that
needs a system library which this machine has and the base image lacks would not be noticed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker.utils
import dockerfile

SYSTEM = ("bin", "etc", "lib", "lib32", "lib64", "sbin", "usr")
PYTHON = "/python"  # where FROM's Python is; the steps find it by PATH
# How this machine reaches the package index is its own affair: pip's settings, proxies, certificates.
HANDED_ON = ("PIP_", "SSL_", "REQUESTS_", "CURL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def unavailable() -> str | None:
    """Why no root folder of its own can be had here, and what would help; None if it can."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return "replaying the Dockerfile needs Linux and its unshare (util-linux)"
    if subprocess.run([*_unshare(), "true"], capture_output=True, check=False).returncode:
        return "replaying the Dockerfile needs root, or user namespaces for others (kernel.unprivileged_userns_clone=1)"
    return None


@dataclass
class Image:
    """What the steps have made so far.

    Attributes:
      root: the folder that is / to the steps.
      mounts: folders of this machine that are seen in it: path in the image -> path here.
      environ: ENV, and what this machine hands on.
      labels: LABEL.
      workdir: WORKDIR.
      user: USER.
      entrypoint: ENTRYPOINT.
    """

    root: Path
    mounts: dict[str, Path] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    entrypoint: tuple[str, ...] = ()

    def command(self, *words: str, user: str | None = None, mounts: Mapping[str, Path] | None = None) -> list[str]:
        """The command of this machine that runs `words` in the image, as `docker run` would."""
        seen = {**self.mounts, **(mounts or {})}
        script = ["set -e"]
        for name in SYSTEM:
            if Path("/", name).is_dir() and not Path("/", name).is_symlink():
                script.append(self._mount("--bind -o ro", f"/{name}", f"/{name}"))
        if not sys.base_prefix.startswith("/usr"):
            script.append(self._mount("--bind -o ro", sys.base_prefix, sys.base_prefix))
        script += [self._mount("--rbind", place, place) for place in ("/dev", "/proc")]
        script += [self._mount("--bind", str(source), target) for target, source in seen.items()]
        user = user or self.user
        as_user = [] if user == "root" or os.geteuid() else [f"--userspec={user}:{user}"]
        settings = [f"{name}={value}" for name, value in self.environ.items()]
        inside = ["chroot", *as_user, str(self.root), "env", "-i", "-C", self.workdir, *settings, *words]
        return [*_unshare(), "sh", "-c", "\n".join([*script, f"exec {shlex.join(inside)}"])]

    def run(self, *words: str, user: str | None = None, mounts: Mapping[str, Path] | None = None) -> str:
        """Runs `words` in the image and returns what they print on both outputs.

        Raises:
          RuntimeError: they failed; with what they printed.
        """
        command = self.command(*words, user=user, mounts=mounts)
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def here(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")

    def _mount(self, kind: str, source: str, target: str) -> str:
        place = self.here(target)
        place.mkdir(parents=True, exist_ok=True)
        return f"mount {kind} {shlex.quote(source)} {shlex.quote(str(place))}"


def replay(
    file: Path,
    context: Path,
    root: Path,
    *,
    images: Mapping[str, Path],
    caches: Mapping[str, Path],
    arguments: Mapping[str, str] | None = None,
) -> Image:
    """Runs the steps of a Dockerfile's last stage and returns what they made.

    Args:
      file: the Dockerfile.
      context: the folder of the build.
      root: an empty folder, which becomes the image's root.
      images: stage -> a folder that holds, at their paths, the files that COPY --from takes from it.
      caches: target of a cache mount -> folder of this machine that holds it.
      arguments: --build-arg.

    Raises:
      RuntimeError: a step failed.
      ValueError: the Dockerfile holds what is not understood here.
    """
    image = _bare(root)
    values = dict(arguments or {})
    stages: list[str] = []
    steps = dockerfile.parse_file(str(file))
    last = max(number for number, step in enumerate(steps) if step.cmd == "FROM")
    for number, step in enumerate(steps):
        words = tuple(word.strip('"') if step.cmd != "RUN" else word for word in step.value)
        if step.cmd == "ARG":
            name, _, default = words[0].partition("=")
            values.setdefault(name, default.strip('"'))
            continue
        scope = values | image.environ
        match step.cmd:
            case "FROM" if number < last:
                stages.append(words[2])
            case "FROM":
                _expand(words[0], scope)
            case _ if number < last:
                raise ValueError(f"{step.original}: only the last stage may have steps here")
            case "COPY":
                _copy(image, step.flags, [_expand(word, scope) for word in words], context, images, stages)
            case "RUN":
                image.run("/bin/sh", "-c", words[0], mounts=_cache_mounts(step.flags, caches))
            case "WORKDIR":
                image.workdir = os.path.join(image.workdir, _expand(words[0], scope))
                image.here(".").mkdir(parents=True, exist_ok=True)
            case "ENV":
                image.environ |= _pairs(words, scope)
            case "LABEL":
                image.labels |= _pairs(words, scope)
            case "USER":
                image.user = _expand(words[0], scope)
            case "ENTRYPOINT" if step.json:
                image.entrypoint = words
            case _:
                raise ValueError(f"{step.original}: this step is not understood here")
    return image


def context_files(context: Path) -> set[str]:
    """The files that `docker build` would send, by docker's own reading of .dockerignore."""
    patterns = [
        line.strip()
        for line in (context / ".dockerignore").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    found = docker.utils.exclude_paths(str(context), patterns)
    return {name for name in found if not (context / name).is_dir()}


def _bare(root: Path) -> Image:
    """A root with a Python and nothing else, as FROM gives it."""
    handed_on = {name: value for name, value in os.environ.items() if name.upper().startswith(HANDED_ON)}
    image = Image(root, environ={"PATH": f"{PYTHON}/bin:/usr/sbin:/usr/bin:/sbin:/bin", **handed_on})
    for name in SYSTEM:
        if Path("/", name).is_symlink():
            (root / name).symlink_to(os.readlink(f"/{name}"))
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    root.chmod(0o755)
    (root / "root").mkdir()
    image.run(sys.executable if sys.prefix == sys.base_prefix else sys._base_executable, "-m", "venv", PYTHON)
    return image


def _copy(
    image: Image,
    flags: Sequence[str],
    words: Sequence[str],
    context: Path,
    images: Mapping[str, Path],
    stages: Sequence[str],
) -> None:
    stage = next((flag.removeprefix("--from=") for flag in flags if flag.startswith("--from=")), None)
    if stage is not None and stage not in stages:
        raise ValueError(f"COPY --from={stage}: there is no such stage")
    source = context if stage is None else images[stage]
    sent = None if stage is not None else context_files(context)
    *names, target = words
    for name in names:
        found = source / name.lstrip("/")
        place = image.here(target) / (found.name if target.endswith("/") else "")
        if sent is None:
            files = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
        else:
            files = [source / path for path in sent if path == name or path.startswith(f"{name}/")]
        if not files:
            raise RuntimeError(f"COPY {name}: it is not in the context")
        for file in files:
            to = place / file.relative_to(found) if file != found else place
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)


def _cache_mounts(flags: Sequence[str], caches: Mapping[str, Path]) -> dict[str, Path]:
    mounts = {}
    for flag in flags:
        options = dict(part.split("=", 1) for part in flag.removeprefix("--mount=").split(","))
        if options["type"] != "cache":
            raise ValueError(f"RUN {flag}: only cache mounts are understood here")
        mounts[options["target"]] = caches[options["target"]]
    return mounts


def _pairs(words: Sequence[str], scope: Mapping[str, str]) -> dict[str, str]:
    return {name: _expand(value, scope) for name, value in zip(words[::2], words[1::2], strict=True)}


def _expand(text: str, scope: Mapping[str, str]) -> str:
    return string.Template(text).substitute(scope)


def _unshare() -> list[str]:
    return ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
