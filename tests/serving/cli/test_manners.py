"""What every command has in common: fast help with examples that are true, exit codes, JSON, no stack trace."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from serinus.serving.cli.command import serinus_command
from serinus.serving.cli.examples import EXAMPLES
from tests.serving.cli.terminal import Terminal

HEAVY = ("bentoml", "numpy", "onnxruntime", "opentelemetry", "pandas", "pyarrow", "pydantic", "scipy", "sklearn")
NO_READS = {"serve", "demo", "models delete", "models trust", "monitor reset", "alerts ack", "alerts silence",
            "alerts unsilence", "alerts test", "export grafana", "export alerts", "export kubernetes",
            "export collector"}
"""They change something and say so in a line, or print another program's format."""
ALL_HELP = """
import sys, click
from serinus.serving.cli.command import serinus_command
def show(command, words):
    context = click.Context(command, info_name=words)
    assert command.get_help(context)
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        show(command.get_command(context, name), f"{words} {name}")
show(serinus_command, "serinus")
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


def commands(group: click.Command = serinus_command, words: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield words, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command, f"{words} {name}".strip())


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


EVERY = dict(commands())


@pytest.mark.parametrize("words", EVERY)
def test_every_help_has_an_example(words: str) -> None:
    """Below the options, or in the text; each begins with the command itself."""
    command = EVERY[words]
    text = command.get_help(click.Context(command, info_name=words))
    assert "Examples:" in text and f"serinus {words}" in text


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_every_example_is_understood(example: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its options and arguments are the command's; what stands behind a pipe is another program's."""
    monkeypatch.chdir(tmp_path)
    lexer = shlex.shlex(example, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&")]
    context = click.Context(serinus_command)
    command: click.Command = serinus_command
    rest = words[1:min(ends, default=len(words))]
    for word in rest:
        if Path(word).suffix in (".csv", ".parquet", ".onnx", ".joblib", ".toml"):
            Path(word).touch()
    while isinstance(command, click.Group):
        found = command.get_command(context, rest.pop(0))
        assert found is not None
        command = found
    with command.make_context(str(command.name), rest):
        pass


def test_no_example_is_of_a_command_that_is_gone() -> None:
    """The table holds what there is."""
    assert set(EXAMPLES) <= set(EVERY)


@pytest.mark.parametrize("words", EVERY)
def test_a_flag_that_does_not_exist_is_wrong_usage(words: str, cli: Any) -> None:
    """Exit code 2 and a hint at help, on standard error, of every command."""
    said = cli(*words.split(), "--no-such-flag")
    assert (said.code, said.out) == (2, "")
    assert f"Try 'serinus {words} --help' for help." in said.err and "--no-such-flag" in said.err
    assert "Traceback" not in said.err


def test_a_mistyped_flag_or_command_is_guessed(cli: Any) -> None:
    """At the top, within a group, and of options."""
    for words, meant in ((("sevre",), "serve"), (("models", "lits"), "list"), (("doctor", "--jsno"), "--json"),
                         (("rolback", "iris"), "rollback"), (("export", "grafna"), "grafana")):
        said = cli(*words)
        assert said.code == 2 and meant in said.err.splitlines()[-1], said.err


@pytest.mark.parametrize("words", EVERY)
def test_what_is_read_is_there_as_json(words: str) -> None:
    """`--json` on every command that tells something."""
    assert ("--json" in options(EVERY[words])) != (words in NO_READS)


def test_help_loads_nothing_heavy(checkout: Path) -> None:
    """Of every command, in one process: this is what keeps it below a fifth of a second."""
    done = subprocess.run([sys.executable, "-c", ALL_HELP, *HEAVY], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(checkout)}, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["", "models", "models register", "rollout start", "log show", "serve"])
def test_help_takes_less_than_a_fifth_of_a_second(words: str, checkout: Path) -> None:
    """Of processor time, in the best of five runs: what a person waits for on an idle machine."""
    def took() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "serinus", *words.split(), "--help"], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(checkout)})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took() for _ in range(5)) < 0.2


def test_a_bug_is_a_sentence_unless_somebody_wants_to_see_it(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--debug` may stand before or behind the command."""
    monkeypatch.setattr("serinus.serving.doctor.examine", lambda **_: 1 / 0)
    said = cli("doctor")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("serinus: This should not have happened (ZeroDivisionError: division by zero).")
    for words in (("--debug", "doctor"), ("doctor", "--debug")):
        with pytest.raises(ZeroDivisionError):
            monkeypatch.setattr(sys, "argv", ["serinus", *words])
            from serinus.serving.cli.command import run

            run()


def test_a_word_behind_two_dashes_is_no_flag(cli: Any) -> None:
    """A model could be called so."""
    assert "--debug" in cli("models", "show", "--", "--debug").err


def test_colours_are_for_terminals_that_want_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR, whatever its value, switches them off."""
    monkeypatch.chdir(tmp_path)
    words = ("doctor", "--no-load", "--home", str(tmp_path / "home"))
    screens = []
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        terminal = Terminal(*words)
        terminal.end()
        screens.append(terminal.said)
    assert "\x1b[32m" in screens[0] and "\x1b[3" not in screens[1] and "python" in screens[1]
