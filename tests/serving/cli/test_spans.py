"""Spans of time as people write them."""

from __future__ import annotations

import click
import pytest

from serinus.serving.cli.spans import seconds_of


@pytest.mark.parametrize(("span", "seconds"), [("90s", 90), ("30m", 1800), (" 2H ", 7200), ("7d", 604_800)])
def test_a_number_and_a_unit(span: str, seconds: float) -> None:
    """Spaces and capitals do no harm."""
    assert seconds_of(span) == seconds


@pytest.mark.parametrize("span", ["", "7", "d", "0d", "1.5h", "-1d", "7 days", "9999999999s"])
def test_anything_else_is_wrong_usage(span: str) -> None:
    """With an example of what was wanted."""
    with pytest.raises(click.BadParameter, match="such as 90s, 30m, 2h or 7d"):
        seconds_of(span)
