"""Replays a Dockerfile where no engine can build it: its steps run, in their order, in a root folder of their own.

What is real: the Dockerfile, read by Docker's own parser; the context, as docker's client reads .dockerignore; every
COPY, ENV, ARG, WORKDIR, USER and RUN, at the paths that they name. What stands for something else: FROM's Python is a
fresh virtual environment of this Python; what is below it (libc, sh) is this machine's, read-only; COPY --from takes
what the caller says that the other image holds. So a program or library that this machine has and the base image
lacks would not be missed; test_image_replay.py looks at the libraries that packages need.
"""

from __future__ import annotations

import os
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker.utils
import dockerfile

PYTHON = "/python"  # where FROM's Python is; the steps find it by PATH
SYSTEM = ("bin", "lib", "lib32", "lib64", "sbin", "usr")
# Of /etc, what libc and TLS need; users are the image's own.
ETC = ("alternatives", "ca-certificates", "hosts", "ld.so.cache", "nsswitch.conf", "pip.conf", "resolv.conf", "ssl")
# How this machine reaches the package index is its own affair: pip's settings, proxies, certificates.
HANDED_ON = ("PIP_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def unavailable() -> str | None:
    """Why no root folder of its own can be had here, and what would help; None if it can."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return "replaying the Dockerfile needs Linux and unshare (util-linux)"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "replaying the Dockerfile needs root, for a root folder of its own"
    return None


@dataclass
class Image:
    """What the steps have made so far.

    Attributes:
      root: the folder that is / to the steps.
      environ: ENV, and what this machine hands on.
      labels: LABEL.
      workdir: WORKDIR.
      user: USER: a name.
      entrypoint: ENTRYPOINT.
    """

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    entrypoint: tuple[str, ...] = ()

    def command(self, *words: str, user: str | None = None, mounts: Mapping[str, Path] | None = None) -> list[str]:
        """The command of this machine that runs `words` in the image, as `docker run` would.

        Args:
          words: program and arguments.
          user: name; by default USER.
          mounts: path in the image -> folder of this machine that is seen there.
        """
        uid, gid, home = self._account(user or self.user)
        script = ["set -e", *(self._mount("--bind -o ro", place, Path(place)) for place in _system())]
        script += [self._mount("--rbind", place, Path(place)) for place in ("/dev", "/proc")]
        script += [self._mount("--bind", target, source) for target, source in (mounts or {}).items()]
        settings = [f"{name}={value}" for name, value in ({"HOME": home} | self.environ).items()]
        inside = ["chroot", f"--userspec={uid}:{gid}", str(self.root), "env", "-i", "-C", self.workdir]
        script.append(f"exec {shlex.join([*inside, *settings, *words])}")
        return ["unshare", "--mount", "sh", "-c", "\n".join(script)]  # the mounts go when the command ends

    def run(self, *words: str, user: str | None = None, mounts: Mapping[str, Path] | None = None) -> str:
        """Runs `words` in the image and returns what they print on both outputs.

        Raises:
          RuntimeError: they failed; with the end of what they printed.
        """
        command = self.command(*words, user=user, mounts=mounts)
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def here(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")

    def _account(self, user: str) -> tuple[str, str, str]:
        """User id, group id and home of a name in the image's /etc/passwd."""
        for line in self.here("/etc/passwd").read_text().splitlines():
            name, _, uid, gid, _, home, _ = line.split(":")
            if name == user:
                return uid, gid, home
        raise ValueError(f"user {user}: /etc/passwd does not know it")

    def _mount(self, kind: str, target: str, source: Path) -> str:
        place = self.here(target)
        place.mkdir(parents=True, exist_ok=True)
        return f"mount {kind} {shlex.quote(str(source))} {shlex.quote(str(place))}"


def replay(
    file: Path,
    context: Path,
    root: Path,
    *,
    images: Mapping[str, Path],
    caches: Mapping[str, Path],
    arguments: Mapping[str, str] | None = None,
    with_pip: bool = True,
) -> Image:
    """Runs the steps of a Dockerfile's last stage and returns what they made.

    Args:
      file: the Dockerfile.
      context: the folder of the build.
      root: an empty folder, which becomes the image's root.
      images: stage -> a folder that holds, at their paths, the files that COPY --from takes from it.
      caches: target of a cache mount -> folder of this machine that holds it.
      arguments: --build-arg.
      with_pip: whether FROM's Python has pip, which takes seconds to make.

    Raises:
      RuntimeError: a step failed.
      ValueError: the Dockerfile holds what is not understood here.
    """
    build = _Build(_bare(root, with_pip=with_pip), context, images, caches, dict(arguments or {}))
    steps = dockerfile.parse_file(str(file))
    last = max(number for number, step in enumerate(steps) if step.cmd == "FROM")
    for number, step in enumerate(steps):
        if number < last and step.cmd not in ("ARG", "FROM"):
            raise ValueError(f"{step.original}: only the last stage may have steps here")
        build.take(step)
    return build.image


@dataclass
class _Build:
    image: Image
    context: Path
    images: Mapping[str, Path]
    caches: Mapping[str, Path]
    arguments: dict[str, str]
    stages: list[str] = field(default_factory=list)

    def take(self, step: dockerfile.Command) -> None:
        """Does one step."""
        image = self.image
        match step.cmd:
            case "ARG":
                name, _, default = step.value[0].partition("=")
                self.arguments.setdefault(name, default.strip('"'))
            case "FROM":
                self._expand(step.value[0])
                self.stages += step.value[2:]
            case "COPY":
                self._copy(step)
            case "RUN":
                image.run("/bin/sh", "-c", step.value[0], mounts=self._cache_mounts(step))
            case "WORKDIR":
                image.workdir = os.path.join(image.workdir, self._expand(step.value[0]))
                image.here(".").mkdir(parents=True, exist_ok=True)
            case "ENV":
                image.environ |= self._pairs(step)
            case "LABEL":
                image.labels |= self._pairs(step)
            case "USER":
                image.user = self._expand(step.value[0])
            case "ENTRYPOINT" if step.json:
                image.entrypoint = step.value
            case _:
                raise ValueError(f"{step.original}: this step is not understood here")

    def _copy(self, step: dockerfile.Command) -> None:
        *names, target = map(self._expand, step.value)
        stage = next((flag.removeprefix("--from=") for flag in step.flags if flag.startswith("--from=")), None)
        if stage is not None and stage not in self.stages:
            raise ValueError(f"{step.original}: there is no such stage")
        source = self.context if stage is None else self.images[stage]
        sent = context_files(source) if stage is None else _files(source)
        for name in names:
            path = name.strip("/")
            found = [file for file in sent if file == path or file.startswith(f"{path}/")]
            if not found:
                raise RuntimeError(f"{step.original}: {name} is not in {stage or 'the context'}")
            for file in found:
                below = file.removeprefix(path).lstrip("/") or (Path(file).name if target.endswith("/") else "")
                place = self.image.here(target) / below
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / file, place)

    def _cache_mounts(self, step: dockerfile.Command) -> dict[str, Path]:
        mounts = {}
        for flag in step.flags:
            options = dict(part.split("=", 1) for part in flag.removeprefix("--mount=").split(","))
            if options.get("type") != "cache":
                raise ValueError(f"{flag}: only cache mounts are understood here")
            mounts[options["target"]] = self.caches[options["target"]]
        return mounts

    def _pairs(self, step: dockerfile.Command) -> dict[str, str]:
        values = [value.strip('"') for value in step.value]
        return {name: self._expand(value) for name, value in zip(values[::2], values[1::2], strict=True)}

    def _expand(self, text: str) -> str:
        return string.Template(text).substitute(self.arguments | self.image.environ)


def context_files(context: Path) -> set[str]:
    """The files that `docker build` would send, by docker's own reading of .dockerignore."""
    lines = [line.strip() for line in (context / ".dockerignore").read_text().splitlines()]
    found = docker.utils.exclude_paths(str(context), [line for line in lines if line and not line.startswith("#")])
    return {name for name in found if (context / name).is_file()} - {".dockerignore"}  # sent, and not to be copied


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _system() -> list[str]:
    """The folders of this machine below a Python: the system's, and this Python's own."""
    folders = [f"/{name}" for name in SYSTEM if Path("/", name).is_dir() and not Path("/", name).is_symlink()]
    return folders if sys.base_prefix.startswith("/usr") else [*folders, sys.base_prefix]


def _bare(root: Path, *, with_pip: bool) -> Image:
    """A root with a Python and nothing else, as FROM gives it."""
    root.chmod(0o755)
    for name in SYSTEM:
        if Path("/", name).is_symlink():
            (root / name).symlink_to(os.readlink(f"/{name}"))
    for name in ("etc", "root", "tmp"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    for name in ETC:
        place = Path("/etc", name)
        if place.is_dir():
            shutil.copytree(place, root / "etc" / name, symlinks=True)
        elif place.exists():
            shutil.copy(place, root / "etc" / name)
    handed_on = {name: value for name, value in os.environ.items() if name.upper().startswith(HANDED_ON)}
    image = Image(root, environ={"PATH": f"{PYTHON}/bin:/usr/sbin:/usr/bin:/sbin:/bin", **handed_on})
    image.run(str(Path(sys.base_prefix, "bin/python3")), "-m", "venv", *([] if with_pip else ["--without-pip"]), PYTHON)
    return image
