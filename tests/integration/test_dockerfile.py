"""`bentoml containerize`: the Dockerfile that BentoML writes for our Bento installs it, and a container answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.integration import zoo
from tests.integration.client import Client
from tests.integration.image import Image, Instruction, engine, instructions
from tests.integration.server import CHECKOUT, Server, eventually

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Context(NamedTuple):
    """What an engine is given: a folder, and the Dockerfile in it."""

    folder: Path
    lines: list[Instruction]

    def rest_of(self, name: str) -> list[str]:
        """What follows each instruction of that name."""
        return [line.rest for line in self.lines if line.name == name]


Build = Callable[..., Context]


class Container(Server):
    """A container of an image, without the walls."""

    def __init__(self, image: Image, home: Path, scratch: Path, **environ: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        image.environ |= environ
        command = image.command("--host", "127.0.0.1", "--port", str(port))
        super().__init__(home, scratch, command=command, environ=image.environ, port=port)


@pytest.fixture
def containerize(tmp_path: Path) -> Build:
    """Build a Bento by `command`, and let BentoML hand it to an engine that keeps what it is given."""

    def containerized(*command: str, path: str = "", **more: str) -> Context:
        tools = tmp_path / "tools"
        tools.mkdir()
        engine(tools)
        environ = {**os.environ, "BENTOML_HOME": str(tmp_path / "bentos"), "BENTOML_DO_NOT_TRACK": "true",
                   "PYTHONPATH": str(CHECKOUT), "ENGINE_KEEPS": str(tmp_path / "context"), **more,
                   "PATH": os.pathsep.join(filter(None, (str(tools), path, os.environ["PATH"])))}
        _run(*command, cwd=CHECKOUT, environ=environ)
        (tag,) = [f"{found.parent.parent.name}:{found.parent.name}"
                  for found in (tmp_path / "bentos" / "bentos").glob("*/*/bento.yaml")]
        _run("bentoml", "containerize", tag, "--backend", "docker", cwd=tmp_path, environ=environ)
        folder = tmp_path / "context"
        return Context(folder, instructions((folder / "env" / "docker" / "Dockerfile").read_text("utf-8")))

    return containerized


def _run(*command: str, cwd: Path, environ: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environ, text=True, timeout=300,
                          stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reader_joins_lines_and_drops_comments() -> None:
    """A comment within a continued command is none of it, as in an engine."""
    text = "# syntax\nFROM a AS b\n\nRUN x && \\\n  # why\n    y\nENV A=1\n"
    assert instructions(text) == [("FROM", "a AS b"), ("RUN", "x &&     y"), ("ENV", "A=1")]


def test_paths_are_moved_below_the_images_root(tmp_path: Path) -> None:
    """Absolute ones that belong to the image; relative ones, addresses, the shell's and this machine's stay."""
    below = Image(Path("/R"), tmp_path)._below
    assert below('A=/app/x B="/home/y:$P/z" rm -rf /var/lib/{a,b}') == (
        'A=/R/app/x B="/R/home/y:$P/z" rm -rf /R/var/lib/{a,b}')
    assert below("rm -rf /usr/share /dev/shm") == "rm -rf /R/usr/share /R/dev/shm"
    same = "#!/usr/bin/env bash; ./env/python ${R}/env https://host/path >/dev/null &>/dev/null a/b"
    assert below(same) == same


def test_the_dockerfile_is_for_this_bento(home: Path, containerize: Build) -> None:
    """This Python; everything that we need and no Serinus from elsewhere; a user who is not root; the Bento's files."""
    context = containerize("serinus", "bento", "build", "credit:1", "--home", str(home))
    assert [rest.split()[0] for rest in context.rest_of("FROM")] == [f"python:{PYTHON}-slim"]
    wanted = {_key(line) for line in _dependencies()}
    got = {_key(line) for line in _requirements(context.folder)}
    assert got == wanted
    assert context.rest_of("USER")[-1] == "bentoml"
    assert "BENTOML_CONTAINERIZED=true" in context.rest_of("ENV")
    assert (context.folder / "src" / "bundle" / "models" / "credit" / "1").is_dir()
    (entry,) = json.loads(context.rest_of("ENTRYPOINT")[0])
    assert (context.folder / Path(entry).relative_to("/home/bentoml/bento")).is_file()


def _dependencies() -> list[str]:
    found: list[str] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    return found


def _requirements(folder: Path) -> list[str]:
    lines = (folder / "env" / "python" / "requirements.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line.strip()]


def _key(line: str) -> tuple[str, frozenset[str]]:
    requirement = Requirement(line)
    return canonicalize_name(requirement.name), frozenset(requirement.extras)


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `uv`, which plain `bentoml build` needs: without one, it would install it beside itself."""
    folder = tmp_path_factory.mktemp("uv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "uv"], check=True)
    alone = tmp_path_factory.mktemp("bin")
    (alone / "uv").symlink_to(folder / "bin" / "uv")
    return alone


@pytest.fixture(scope="module")
def package_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was downloaded for one image, kept for the next, as an engine keeps its cache mounts."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def image(tmp_path: Path, package_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Context], Image]:
    """Carry out a Dockerfile, with the machine's own package index."""
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR", str(package_cache)))

    def built(context: Context) -> Image:
        image = Image(tmp_path / "root", context.folder)
        image.carry_out(context.lines)
        return image

    return built


@pytest.mark.slow
def test_a_container_of_chosen_versions_answers(
        home: Path, containerize: Build, image: Callable[[Context], Image], tmp_path: Path) -> None:
    """`serinus bento build`, then BentoML's Dockerfile step by step: all is installed, and the versions answer.

    In a container BentoML leaves dead workers dead; ours come again. Needs a package index and half a minute.
    """
    built = image(containerize("serinus", "bento", "build", "credit:1", "iris:1", "--home", str(home)))
    _check_packages(built)
    inside = built.root / "home" / "bentoml" / ".serinus"
    with ExitStack() as stack:
        server = Container(built, inside, tmp_path)
        stack.callback(server.end)
        server.launch()
        assert _answer(server, "/predict/credit", zoo.CREDIT_ROWS)["version"] == "1"
        assert _answer(server, "/v2/models/iris/infer", zoo.IRIS_INFER)["model_version"] == "1"
        _kill_the_workers(server)
        assert _answer(server, "/predict/iris", zoo.IRIS_ROWS)["model"] == "iris"
        assert server.stop() == 0
        eventually(lambda: not server.processes(), 15.0, lambda: str(server.processes()))
    assert not (inside / "models").exists()
    assert list((inside / "log" / "segments").iterdir())


@pytest.mark.slow
def test_a_container_of_the_plain_bento_serves_a_mounted_home(
        home: Path, uv: Path, containerize: Build, image: Callable[[Context], Image], tmp_path: Path) -> None:
    """`bentoml build` in the checkout, in BentoML's newer layout; the models are in the home that is given to it."""
    built = image(containerize("bentoml", "build", path=str(uv)))
    _check_packages(built)
    with ExitStack() as stack:
        server = Container(built, home, tmp_path, SERINUS_HOME=str(home))
        stack.callback(server.end)
        server.launch()
        assert _answer(server, "/predict/credit", zoo.CREDIT_ROWS)["model"] == "credit"
        assert server.stop() == 0


def _check_packages(image: Image) -> None:
    """What was installed fits together, and is not Serinus: that is the Bento's own."""
    image.run("uv pip check")
    installed = {canonicalize_name(each["name"]) for each in json.loads(image.run("uv pip list --format json"))}
    assert {canonicalize_name(Requirement(line).name) for line in _dependencies()} <= installed
    assert "serinus" not in installed


def _kill_the_workers(server: Server) -> None:
    before = eventually(lambda: _all_ready(server), 60.0, server.output)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: _all_ready(server) - before, 60.0, server.output)


def _all_ready(server: Server) -> set[int]:
    """The workers, once there are as many as wanted."""
    found = server.ready_workers()
    return found if len(found) == server.workers_wanted else set()


def _answer(server: Server, path: str, document: Any) -> Any:
    eventually(lambda: _is_ready(server), 90.0, server.output)
    with server.client() as client:
        answer = client.post(path, document)
    assert answer.status == 200, (answer, server.output())
    return answer.json()


def _is_ready(server: Server) -> bool:
    try:
        with Client(server.port) as client:
            return client.get("/v2/health/ready").status == 200
    except OSError:
        return False
