"""`serinus monitor`: what the monitors see."""

from __future__ import annotations

import click

from serinus.serving.cli.report import report
from serinus.serving.cli.retraining import command as retrain

__all__ = ["command"]


@click.group("monitor")
def command() -> None:
    """What the monitors see, of a server or of two files.

    Exit codes: 0 done and in order, 1 drift, 2 wrong usage or data that does not fit.
    """


command.add_command(report)
command.add_command(retrain)
