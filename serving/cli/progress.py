"""How far a long piece of work is: one line on a terminal that is written over, nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from serinus.monitors.builder import Progress

__all__ = ["progress_line"]

_EVERY_S = 0.1


@contextmanager
def progress_line(*, quiet: bool = False) -> Iterator[Progress | None]:
    """What to call with a step's name, what is done of it, and how much there is, if that is known; None where nobody
    would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    shown, at = "", 0.0

    def tell(step: str, done: int, whole: int | None) -> None:
        nonlocal shown, at
        now = time.monotonic()
        if step == shown and done != whole and now - at < _EVERY_S:
            return
        shown, at = step, now
        share = f"{done:,} of {whole:,} rows" if whole else f"{done:,} rows"
        click.echo(f"\r\033[K{step}: {share}", nl=False, err=True)

    try:
        yield tell
    finally:
        click.echo("\r\033[K", nl=False, err=True)
