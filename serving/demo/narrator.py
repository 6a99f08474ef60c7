"""How the demo speaks: titles, lines, claims with whether they hold; on a terminal also what is being waited for."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

__all__ = ["Narrator"]

_ROOM, _LEAST, _MARGIN = 104, 40, 4
_BOLD, _GREEN, _RED, _DIM = "1", "32", "31", "2"


class Narrator:
    """Tells and counts: `claims` were made, of which `failures` did not hold.

    `terminal` is whether colours and a line that changes are seen by anybody; elsewhere all is plain.
    """

    def __init__(self, *, terminal: bool | None = None) -> None:
        self.claims = 0
        self.failures = 0
        self._terminal = _is_terminal() if terminal is None else terminal
        self._titles = 0
        self._room = max(_LEAST, min(_ROOM, shutil.get_terminal_size().columns - _MARGIN)) if self._terminal else _ROOM

    def title(self, text: str) -> None:
        """Begin a step."""
        self._titles += 1
        self._say("")
        self._say(self._painted(_BOLD, f"{self._titles}  {text}"))

    def line(self, text: str) -> None:
        """Say something that claims nothing."""
        for part in _wrapped(text, self._room):
            self._say(f"   {part}")

    def command(self, text: str) -> None:
        """Show what a person would type."""
        self._say("   " + self._painted(_DIM, f"$ {text}"))

    def check(self, holds: bool, claim: str) -> None:
        """Make a claim, and show whether it holds."""
        self.claims += 1
        self.failures += not holds
        first, *others = _wrapped(claim, self._room) or [""]
        self._say((self._painted(_GREEN, " ✓ ") if holds else self._painted(_RED, " ✗ ")) + first)
        for part in others:
            self._say(f"   {part}")
        if not holds:
            self._say("   " + self._painted(_RED, "(this does not hold)"))

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """While something is waited for: what to call with how it stands."""
        status = _live(text) if self._terminal else None
        if status is None:
            yield _nobody
            return
        with status as shown:
            yield shown.update

    def _say(self, text: str) -> None:
        click.echo(text)
        sys.stdout.flush()

    def _painted(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._terminal else text


def _is_terminal() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _live(text: str) -> Any:
    """A line that changes, where rich is installed."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=sys.stdout, highlight=False, markup=False).status(text)


def _nobody(_: str) -> None:
    """Nobody looks."""


def _wrapped(text: str, room: int) -> list[str]:
    """Lines that a terminal has room for; what stands indented stays so."""
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
