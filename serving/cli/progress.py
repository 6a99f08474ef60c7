"""How far a long piece of work is: one line on a terminal that is written over, nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serinus.monitors.builder import Progress

__all__ = ["progress_line"]

_EVERY_S = 0.1


@contextmanager
def progress_line(*, quiet: bool = False) -> Iterator[Progress | None]:
    """What to call with a step's name, what is done of it, and how much there is, if that is known; None where nobody
    would see it. The line shows a bar, the rows, how many a second, and the time that is left."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Line

    text = TextColumn("{task.description}"), TextColumn("{task.fields[rows]}")
    columns = text[0], BarColumn(20), text[1], TimeRemainingColumn()
    line = Line(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    task = line.add_task("", rows="")
    shown, at, began = "", 0.0, 0.0

    def tell(step: str, done: int, whole: int | None) -> None:
        nonlocal shown, at, began
        line.start()  # not before: until then somebody may be asked
        now = time.monotonic()
        if step == shown and done != whole and now - at < _EVERY_S:
            return
        if step != shown:
            began = now
            line.reset(task, description=step)
        shown, at = step, now
        share = f"{done:,} of {whole:,} rows" if whole else f"{done:,} rows"
        rate = f", {done / (now - began):,.0f}/s" if now > began else ""
        line.update(task, completed=done, total=whole, rows=share + rate, refresh=True)

    try:
        yield tell
    finally:
        line.stop()
