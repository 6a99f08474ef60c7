"""One model over some days, for `serinus monitor report NAME`: on the terminal, as a page, as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.options import open_home
from serinus.serving.cli.output import print_json
from serinus.serving.cli.progress import progress_line
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.serving.weekly import Weekly

__all__ = ["tell_week"]

_MARKS = {"fine": "●", "unknown": "?", "look": "△", "act": "▲"}
_COLOURS = {"fine": "green", "unknown": "yellow", "look": "yellow", "act": "red"}


def tell_week(model: str, seconds: float, home: Path | None, out: Path | None, *, as_json: bool) -> int:
    """Gather, judge, print, and write the page. The exit code: 1 where somebody has to do something."""
    from serinus.models.errors import ModelError
    from serinus.serving.weekly import Weekly, gather, page

    end = time.time()
    try:
        with progress_line(quiet=as_json) as progress:
            told = Weekly.of(gather(open_home(home), model, end - seconds, end, progress))
    except ModelError as error:
        raise CommandError(str(error), 2) from None
    if out is not None:
        try:
            out.write_text(page(told), "utf-8")
        except OSError as error:
            raise CommandError(f"The page cannot be written to {out}: {error.strerror}; give another --out.",
                               2) from None
    if as_json:
        print_json(told.to_json())
    else:
        click.echo("\n".join(_lines(told, out)))
    return int(told.state == "act")


def _lines(told: Weekly, out: Path | None) -> Iterator[str]:
    document = told.to_json()
    yield f"{told.model}, {document['begin'][:10]} to {document['end'][:10]}"
    yield click.style(told.headline, fg=_COLOURS[told.state], bold=True)
    yield "\nIs it fine?"
    for line in told.lines:
        mark = click.style(f"{_MARKS[line.state]} {line.state:<7}", fg=_COLOURS[line.state])
        yield f"  {mark}  {line.subject:<8} {line.says}"
    yield "\nWhat changed"
    for change in document["changes"]:
        yield f"  {change['time'][:16].replace('T', ' ')}  {change['says']}"
    if not document["changes"]:
        yield "  Nobody changed anything, and nothing raised an alert."
    yield "\nWhat to do"
    yield from (f"  {number}. {advice}" for number, advice in enumerate(told.actions, 1))
    if not told.actions:
        yield "  Nothing."
    yield from (f"\n{remark}" for remark in told.remarks)
    if out is not None:
        yield f"\nThe page is {out}."
