"""How commands print: aligned plain tables, JSON, and colours on a terminal only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
import orjson

__all__ = ["iso", "print_json", "print_json_line", "print_table", "share", "short", "table", "width"]

_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as their widest cell; no trailing spaces."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    return [_GAP.join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in every]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output."""
    click.echo("\n".join(table(head, rows)))


def print_json(document: Any) -> None:
    """One JSON document, indented."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())


def print_json_line(document: Any) -> None:
    """One JSON document on one line, for `jq` and `grep`."""
    click.echo(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode())


def iso(seconds: float) -> str:
    """Unix time as ISO 8601 in UTC, in seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def share(weight: int) -> str:
    """A weight in basis points as percent."""
    return f"{weight / 100:g} %"


def short(text: str, room: int) -> str:
    """At most `room` characters, the end cut off visibly."""
    return text if len(text) <= room else text[:max(room - 1, 0)] + "…"


def width() -> int:
    """Columns of the terminal; wide where the output is no terminal, so that files and pipes lose nothing."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
