"""`serinus models recalibrate`: a version whose probabilities mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from serinus.serving.cli.options import home_option, json_option, open_home
from serinus.serving.cli.output import print_json

if TYPE_CHECKING:
    from serinus.monitors.calibrators import Method

__all__ = ["command"]


@click.command("recalibrate")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--data", type=click.Path(path_type=Path),
              help="CSV or Parquet: recent rows with their ground truth. Without it the log's, whose truth has come.")
@click.option("--target", help="The data's column that came true.")
@click.option("--method", type=click.Choice(["isotonic", "platt"]),
              help="How; without it the one that does better on rows it was not fitted to.")
@click.option("--force", is_flag=True, help="Even if it does not help.")
@home_option
@json_option
def command(tag: str, data: Path | None, target: str | None, method: str | None, force: bool, home: Path | None,
            as_json: bool) -> None:
    """Put a calibration behind a classifier's probabilities and register it as the next version.

    The classifier itself stays as it is. What that changes is told on rows that the calibration was not fitted to, and
    nothing is registered where it does not help. Without VERSION the newest is taken.

    Exit codes: 0 registered, 1 refused or failed, 2 wrong usage.
    """
    from serinus.serving.recalibration import recalibrate

    done = recalibrate(tag, open_home(home), data=data, target=target, method=cast("Method | None", method),
                       force=force, ask=not as_json)
    if as_json:
        print_json(done.to_json())
        return
    click.echo(f"{done.version.tag} is registered: {done.parent.tag} with {done.method} calibration, fitted to "
               f"{done.rows:,} rows of {done.source}.")
    click.echo(f"  probabilities are off by  {done.before.error:.1%} before, {done.after.error:.1%} after")
    click.echo(f"  Brier score               {done.before.brier:.4f} before, {done.after.brier:.4f} after")
    click.echo(f"Try it on part of the traffic: serinus rollout start {done.version.tag}")
