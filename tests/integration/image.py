"""An image without an engine: a Dockerfile is read and carried out in a folder that stands for the image's root."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Image", "Instruction", "engine", "instructions"]

_ENGINE = """#!/bin/sh
# What `bentoml containerize` asks of an engine: its version, and a build. The context is kept instead.
case "$1" in
    version) echo '"27.0.0"' ;;
    build) cp -R . "$ENGINE_KEEPS" ;;
    *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
_MAKE_USERS = ("adduser", "useradd")
_DO_NOTHING = ("addgroup", "apt-get", "chown", "groupadd")
"""Commands of root in the image's own system, for which it is enough here that they were called."""
_OURS = r"(?:bin/|dev/null\b|usr/bin/)"
"""Absolute paths that mean this machine's: shells, `env`, nothing."""
_ABSOLUTE = re.compile(rf"(?<![\w.$}}/~*-])/(?!{_OURS})(?=[\w.])")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_FROM_OUTSIDE = ("PIP_", "UV_", "SSL_", "HTTP_", "HTTPS_", "http_", "https_", "no_proxy", "NO_PROXY")
"""How the machine reaches its package index is the machine's business."""


class Instruction(NamedTuple):
    """One line of a Dockerfile, continued lines joined: its name, and what follows."""

    name: str
    rest: str


def engine(folder: Path) -> Path:
    """Make a `docker` that keeps what it is asked to build, in the folder that `ENGINE_KEEPS` names."""
    path = folder / "docker"
    path.write_text(_ENGINE)
    path.chmod(0o755)
    return path


def instructions(dockerfile: str) -> list[Instruction]:
    """Read a Dockerfile."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", "").splitlines()
    return [Instruction(*(line.strip().split(None, 1))) for line in whole]


class Image:
    """What a Dockerfile makes of `context`, in the folder `root`.

    Absolute paths of instructions, and in the entry script, are moved below `root`; the base image is a virtual
    environment at /usr/local. An instruction that is not known here is a KeyError: somebody has to look at it.
    """

    def __init__(self, root: Path, context: Path) -> None:
        self.root, self.context = root, context
        self.environ: dict[str, str] = {}
        self.user, self.base, self.ran = "root", "", list[str]()
        self._arguments: dict[str, str] = {}
        self._workdir, self._entrypoint = root, list[str]()

    def carry_out(self, lines: Sequence[Instruction]) -> None:
        """Do what each instruction says."""
        known: dict[str, Callable[[str], object]] = {
            "FROM": self._from, "ARG": self._arg, "ENV": self._env, "RUN": self._run, "COPY": self._copy,
            "WORKDIR": self._go_to, "USER": self._become, "ENTRYPOINT": self._enter_by, "EXPOSE": str}
        for line in lines:
            known[line.name](line.rest)

    def command(self, *arguments: str) -> list[str]:
        """What a container of this image runs, with nothing in its environment but what the image says.

        `arguments` stand after the image's name in `docker run`. The image's variables are to be given besides.
        """
        kept = {*self.environ, "INTEGRATION_TEST_SERVER"}
        unset = [word for name in {*os.environ, "PYTHONPATH"} - kept for word in ("-u", name)]
        return ["env", *unset, *self._entrypoint, *arguments]

    def run(self, command: str) -> str:
        """Run a shell command in the image as it is; what it prints."""
        outside = {name: value for name, value in os.environ.items() if name.startswith(_FROM_OUTSIDE)}
        environ = {**outside, **self._arguments, **self.environ, "UV_PYTHON_DOWNLOADS": "never"}
        done = subprocess.run(["/bin/sh", "-c", command], cwd=self._workdir, env=environ, text=True, timeout=900,
                              stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def _from(self, rest: str) -> None:
        self.base = rest.split()[0]
        for folder in ("etc/apt/apt.conf.d", "home", "var/lib", "root", "base"):
            (self.root / folder).mkdir(parents=True)
        for name in (*_MAKE_USERS, *_DO_NOTHING):
            stub = self.root / "base" / name
            makes = f'for last; do :; done; mkdir -p "{self.root}/home/$last"' if name in _MAKE_USERS else ""
            stub.write_text(f"#!/bin/sh\n{makes}\n")
            stub.chmod(0o755)
        subprocess.run([sys.executable, "-m", "venv", str(self.root / "usr" / "local")], check=True)
        path = (self.root / "base", self.root / "usr" / "local" / "bin", "/usr/bin", "/bin")
        self.environ = {"PATH": os.pathsep.join(map(str, path)), "HOME": str(self.root / "root")}

    def _arg(self, rest: str) -> None:
        name, _, default = self._expanded(rest).partition("=")
        self._arguments[name] = default

    def _env(self, rest: str) -> None:
        for word in shlex.split(self._expanded(rest)):
            name, _, value = word.partition("=")
            self.environ[name] = value

    def _run(self, rest: str) -> None:
        command = re.sub(r"^(?:--\S+\s+)+", "", rest)
        self.ran.append(command)
        self.run(self._below(command))

    def _copy(self, rest: str) -> None:
        source, target = [word for word in self._expanded(rest).split() if not word.startswith("--")]
        shutil.copytree(self.context / source, self._workdir / target, dirs_exist_ok=True)

    def _go_to(self, rest: str) -> None:
        self._workdir = Path(self._expanded(rest))

    def _become(self, rest: str) -> None:
        self.user = self._expanded(rest)
        self.environ["HOME"] = str(self.root / "home" / self.user)

    def _enter_by(self, rest: str) -> None:
        self._entrypoint = [self._below(word) for word in json.loads(rest)]
        script = Path(self._entrypoint[0])
        script.write_text(self._below(script.read_text()))
        assert script.stat().st_mode & stat.S_IXOTH, "the entry script cannot be run"

    def _expanded(self, text: str) -> str:
        known = {**self._arguments, **self.environ}
        return _VARIABLE.sub(lambda found: known[found[1] or found[2]], self._below(text))

    def _below(self, text: str) -> str:
        """Move absolute paths below the image's root."""
        return _ABSOLUTE.sub(lambda _: f"{self.root}/", text)
