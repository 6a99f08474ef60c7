"""`serinus monitor`: what the monitors see."""

from __future__ import annotations

import click

from serinus.serving.cli.performance import performance
from serinus.serving.cli.report import report
from serinus.serving.cli.retraining import command as retrain
from serinus.serving.cli.streams import explain, reference, reset, status

__all__ = ["command"]


@click.group("monitor")
def command() -> None:
    """What the monitors see, of a server or of two files.

    Exit codes: 0 done and in order, 1 refused or failed (`report`: drift), 2 wrong usage or data that does not fit, 3
    an alarm is open.
    """


command.add_command(status)
command.add_command(explain)
command.add_command(reference)
command.add_command(reset)
command.add_command(performance)
command.add_command(report)
command.add_command(retrain)
