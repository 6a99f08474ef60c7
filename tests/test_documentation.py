"""The documentation is true: the quick start runs as it stands; every setting, command and metric is described."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from serinus.serving.app import _PROTOCOLS
from serinus.serving.cli.command import serinus_command
from serinus.serving.client import Client, Rollouts
from serinus.serving.openapi.management import control, of_model, repository, server
from serinus.serving.settings import LimitSettings, Settings
from serinus.serving.telemetry.metrics import prometheus_name
from serinus.serving.telemetry.names import METRICS

_START_S = 60.0
_ENDINGS = {"db", "js", "json", "md", "ndjson", "py", "toml", "yaml", "yml"}
"""Of files that are called like a table of settings."""


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    """Return README.md."""
    return (checkout / "README.md").read_text("utf-8")


def blocks(text: str) -> dict[str, str]:
    """Return the code blocks of the quick start by what their markers call them."""
    found = re.findall(r"^<!-- quick start: (.+?) -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(found)


class Reader:
    """Somebody who follows the README to the letter, in a folder of their own, on another port."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._server: subprocess.Popen[bytes] | None = None
        programs = folder / "bin"
        programs.mkdir()
        # The checkout stands last on the search path, as an installation does.
        for name, start in (("serinus", "from serinus.serving.cli import main; main()"), ("python", "")):
            lines = f"#!{sys.executable}\nimport sys\nsys.path.append({str(checkout)!r})\n"
            run = start or "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
            (programs / name).write_text(f"{lines}{run}\n")
            (programs / name).chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SERINUS_HOME": str(folder / "home"),
                        "BENTOML_HOME": str(folder / "bentoml"), "PYTHONUNBUFFERED": "1"}
        self.environ.pop("PYTHONPATH", None)

    def paste(self, block: str) -> str:
        """Run a block in a shell, which stops at the first failure; what it printed."""
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", self.on_our_port(block)], cwd=self.folder, text=True,
                              env=self.environ, capture_output=True, timeout=300)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def leave_running(self, block: str) -> None:
        """Run a block in another terminal, and wait until the server answers."""
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(["bash", "-c", f"exec {self.on_our_port(block)}"], cwd=self.folder,
                                            env=self.environ, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_S
        while b"answers at" not in (self.folder / "server.log").read_bytes():
            assert time.monotonic() < deadline and self._server.poll() is None, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        """What the server printed."""
        return (self.folder / "server.log").read_text()

    def end(self) -> None:
        """Ctrl-C."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            assert self._server.wait(30) == 0, self.output()

    def on_our_port(self, block: str) -> str:
        """A block with the port that is free here."""
        return block.replace("3000", str(self.port))


@pytest.fixture
def reader(tmp_path: Path, checkout: Path) -> Iterator[Reader]:
    """A reader whose server is gone at the end."""
    found = Reader(tmp_path, checkout)
    with contextlib.ExitStack() as stack:
        stack.callback(found.end)
        yield found


def test_the_quick_start_works_as_it_stands(reader: Reader, readme: str) -> None:
    """Train, look, serve, ask, roll out, roll back, ship: every block in order, and what it is said to do happens."""
    assert shutil.which("curl"), "the quick start uses curl: install it"
    steps = blocks(readme)
    assert list(steps) == ["train.py", "look", "serve", "ask.py", "ask in Python", "ask", "roll out", "roll back",
                           "ship"]
    for program in ("train.py", "ask.py"):
        (reader.folder / program).write_text(reader.on_our_port(steps[program]))
    assert "iris:1\niris:2\n" in reader.paste(steps["look"])
    reader.leave_running(steps["serve"])
    assert "'predict': 0" in (told := reader.paste(steps["ask in Python"])) and "by version 1 as stable" in told
    answers = reader.paste(steps["ask"])
    assert '{"predictions":[{"predict":0,' in answers and "serinus_rows_total{" in answers
    rollout = reader.paste(steps["roll out"])
    assert re.search(r"version 2 answers 10 % of the requests.*2 of 2 workers follow after", rollout, re.DOTALL)
    assert "iris: version 2 answers every request; a rollback brings version 1 again" in rollout
    back = reader.paste(steps["roll back"])
    assert re.search(r"version 1 answers again in 2 of 2 workers after \d+ ms", back)
    assert "Rolled back from version 2 to 1" in back
    with urllib.request.urlopen(f"http://127.0.0.1:{reader.port}/api/models") as answer:
        assert b'"stable":"1"' in answer.read()
    assert "Built serinus_service:" in reader.paste(steps["ship"])


def test_every_setting_is_described(readme: str) -> None:
    """Each has its line in the README's table, and no line describes a setting that is gone."""
    described = set(re.findall(r"^\| `([a-z_.]+)` \|", _section(readme, "Settings"), re.MULTILINE))
    assert described == set(_settings(Settings))


def _settings(tree: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in tree.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_command_is_described(readme: str) -> None:
    """Each has its line in the README's table, and no line describes a command that is gone."""
    lines = re.findall(r"^\| `serinus ((?:[a-z]+ ?)+)", _section(readme, "Commands"), re.MULTILINE)
    assert {line.strip() for line in lines} == set(_commands(serinus_command))


def _commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_every_command_documents_its_exit_codes() -> None:
    """A script reads exit codes; `--help` of a command, or of its group, says what they mean."""
    context = click.Context(serinus_command)
    commands = [serinus_command.get_command(context, name) for name in serinus_command.list_commands(context)]
    assert [command.name for command in commands if command and "Exit codes:" not in (command.help or "")] == []


def test_every_metric_is_described(readme: str) -> None:
    """Each has its line in the README's table, and no line describes a metric that is gone."""
    spelled = {prometheus_name(name, instrument) + ("_total" if instrument.kind == "counter" else "")
               for name, instrument in METRICS.items()}
    assert set(re.findall(r"^\| `([a-z_]+)` \|", _section(readme, "Metrics"), re.MULTILINE)) == spelled


def test_every_address_is_described(readme: str) -> None:
    """Each that the server's own OpenAPI document can tell of, and the dashboard, and no other."""
    known = {path: operations for paths in (server(), repository({}), control({}), of_model("{model}", ["{version}"]))
             for path, operations in paths.items()}
    wanted = {(method.upper(), path) for path, operations in known.items() for method in operations
              if method in ("get", "post", "put", "delete")}
    wanted |= {("POST", path) for make in _PROTOCOLS for path in make(LimitSettings()).routes}
    cells = re.findall(r"^\| (`[A-Z]+ /.*?) \|", _section(readme, "Addresses"), re.MULTILINE)
    told = [tuple(one.split(" ")) for cell in cells for one in re.findall(r"`([^`]+)`", cell)]
    assert len(set(told)) == len(told) and set(told) == wanted | {("GET", "/ui")}


def test_every_entry_point_is_described(readme: str, checkout: Path) -> None:
    """The groups that the source looks up, and no other."""
    found = {group for folder in ("models", "monitors", "serving") for path in (checkout / folder).rglob("*.py")
             for group in re.findall(r"""(?:group=|GROUP = )"(serinus\.\w+)\"""", path.read_text("utf-8"))}
    assert set(re.findall(r"^\| `(serinus\.\w+)` \|", _section(readme, "Plug-ins"), re.MULTILINE)) == found


def _section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title}"
    return found[1]


def _pages(checkout: Path) -> list[Path]:
    return [page for page in checkout.rglob("*.md")
            if not any(part.startswith(".") for part in page.relative_to(checkout).parts)]


def test_every_link_leads_somewhere(checkout: Path) -> None:
    """A link from one page of ours to another names a file that is there."""
    links = [(page, link) for page in _pages(checkout)
             for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))]
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_the_list_of_examples_is_complete(checkout: Path) -> None:
    """Each example, a file or a folder with a page of its own, has its line in the folder's README."""
    folder = checkout / "examples"
    listed = set(re.findall(r"\]\((\w+\.py|\w+/README\.md)\)", (folder / "README.md").read_text("utf-8")))
    assert listed == {str(path.relative_to(folder)) for path in (*folder.glob("*.py"), *folder.glob("*/README.md"))}
    assert {path.parent.name for path in folder.glob("*/README.md")} == {
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}


def test_the_reader_finds_blocks() -> None:
    """A marker names the block that follows it; other blocks are left alone."""
    text = textwrap.dedent("""
        <!-- quick start: one -->
        ```bash
        echo 1
        ```

        ```bash
        echo 2
        ```
        """)
    assert blocks(text) == {"one": "echo 1\n"}


def _modules_with_examples() -> list[str]:
    root = Path(__file__).parent.parent
    return sorted(".".join(("serinus", *path.relative_to(root).with_suffix("").parts))
                  for folder in ("models", "monitors", "serving") for path in (root / folder).rglob("*.py")
                  if ">>> " in path.read_text("utf-8"))


@pytest.mark.parametrize("module", _modules_with_examples())
def test_examples_in_docstrings_give_what_they_say(module: str) -> None:
    """The answer of an algorithm's example can be derived by hand, and is what the code gives."""
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted
    assert not outcome.failed


def test_no_page_names_a_setting_or_a_command_that_is_gone(checkout: Path) -> None:
    """Wherever a page says `log.keep_days` or `serinus rollout start …`, there is such a setting or command."""
    settings, commands = set(_settings(Settings)), set(_commands(serinus_command))
    tables = {name.partition(".")[0] for name in settings if "." in name}
    wrong = []
    for page in _pages(checkout):
        text = page.read_text("utf-8")
        named = re.findall(r"`([a-z_]+)\.([a-z_]+)(?: = [^`]*)?`", text)
        wrong += [f"{page}: {table}.{name}" for table, name in named
                  if table in tables and name not in _ENDINGS and f"{table}.{name}" not in settings]
        for line in re.findall(r"`serinus ([^`]+)`", text) + re.findall(r"^(?:\$ )?serinus (.*)$", text, re.MULTILINE):
            words = list(takewhile(re.compile("[a-z]+").fullmatch, line.split()))
            starts = {" ".join(words[:length + 1]) for length in range(len(words))}
            group = f"{' '.join(words)} "
            if words and not starts & commands and not any(command.startswith(group) for command in commands):
                wrong.append(f"{page}: serinus {line}")
    assert wrong == []


def test_every_method_of_the_client_is_described(checkout: Path) -> None:
    """In the client's own chapter, and none that is gone."""
    page = (checkout / "serving" / "client" / "README.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[a-z].*?`) \| ", page.split("**How inputs travel.**")[0], re.MULTILINE)
    told = {name.removeprefix("rollouts.") for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}
    assert told == {name for owner in (Client, Rollouts) for name, member in vars(owner).items()
                    if callable(member) and not name.startswith("_") and name != "send"}
