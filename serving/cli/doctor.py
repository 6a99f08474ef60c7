"""`serinus doctor`: is everything in order?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import serinus
from serinus.serving.cli.options import home_option, json_option
from serinus.serving.cli.output import print_json

if TYPE_CHECKING:
    from serinus.serving.doctor import Check

__all__ = ["command"]

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command("doctor")
@home_option
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: serinus.toml if it exists).")
@click.option("--deep", is_flag=True, help="Also read every file of every version, compare its digest, and try "
                                         "each.")
@click.option("--no-load", "load", is_flag=True, flag_value=False, default=True, help="Load no model; it is faster.")
@json_option
def command(home: Path | None, config: Path | None, deep: bool, load: bool, as_json: bool) -> int:
    """Say whether everything is in order: libraries, settings, port, home, disk, models, store, telemetry,
    notifiers, running servers.

    Each line is ok, a warning or a problem with what to do about it. Nothing is changed: the store is tried with a
    document that is removed again, models in another process, a collector by an empty export.

    Exit codes: 0 no problem (there may be warnings), 1 a problem, 2 wrong usage.
    """
    from serinus.serving.doctor import examine

    found = []
    for check in examine(config=config, home=home, deep=deep, load=load):
        found.append(check)
        if not as_json:
            click.echo(_line(check))
    worst = max(found, key=lambda check: list(_COLOURS).index(check.state)).state
    if as_json:
        print_json({"version": serinus.__version__, "state": worst, "checks": [check._asdict() for check in found]})
    return int(worst == "problem")


def _line(check: Check) -> str:
    state = click.style(f"{check.state:<7}", fg=_COLOURS[check.state])
    return f"{state}  {check.subject:<11}  {check.says} {check.advice}".rstrip()
