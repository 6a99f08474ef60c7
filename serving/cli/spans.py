"""Spans of time as people write them: 90s, 30m, 2h, 7d."""

from __future__ import annotations

import re

import click

__all__ = ["SPANS", "seconds_of"]

SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(span: str) -> float:
    """The span in seconds. Raises BadParameter."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", span.strip().lower())
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"expected a time such as 90s, 30m, 2h or 7d, got {span!r}.")
    return float(int(found[1]) * SPANS[found[2]])
