"""Public commands on the demo's home, run in this process exactly as a shell would have them run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import click

from serinus.models.errors import ModelError
from serinus.serving.errors import SerinusError
from serinus.serving.rollout.errors import RolloutError
from serinus.serving.store.errors import StoreError

__all__ = ["Commands", "Done"]


class Done(NamedTuple):
    """What a command ended with."""

    code: int
    text: str
    """What it said, on standard output and standard error."""


class Commands:
    """`serinus …` with the demo's home. `tell` is shown what a person would type."""

    def __init__(self, home: Path, tell: Callable[[str], None]) -> None:
        self._home = home
        self._tell = tell

    def do(self, *arguments: str | Path) -> Done:
        """Run a command and show it; files are shown by their names."""
        self._tell(" ".join(("serinus", *map(_shown, arguments))))
        return _run([*map(str, arguments), "--home", str(self._home)])

    def ask(self, *arguments: str) -> Any:
        """What a command says with `--json`."""
        return json.loads(_run([*arguments, "--json", "--home", str(self._home)]).text or "null")


def _run(arguments: list[str]) -> Done:
    from serinus.serving.cli.command import serinus_command

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            code: Any = serinus_command.main(arguments, prog_name="serinus", standalone_mode=False)
        except click.Abort:  # what click makes of Ctrl-C; here it ends the demo, which says so
            raise KeyboardInterrupt from None
        except (SerinusError, ModelError, RolloutError, StoreError) as error:
            return Done(1, f"{said.getvalue()}serinus: {error}\n")
    return Done(code if isinstance(code, int) else 0, said.getvalue())


def _shown(argument: str | Path) -> str:
    text = argument.name if isinstance(argument, Path) else argument
    return f'"{text}"' if " " in text else text
