"""`serinus rollback`: the previous version again, at once, with or without store and network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serinus.serving.cli.options import (
    actor_option,
    actor_or_user,
    home_option,
    json_option,
    model_argument,
    reason_option,
    url_option,
)
from serinus.serving.cli.output import print_json
from serinus.serving.cli.rollouts import Rollouts, choose

__all__ = ["command"]

_NOT_ACKNOWLEDGED = 3


@click.command("rollback")
@model_argument
@click.option("--to", metavar="VERSION", help="This version, not the one before; it must be kept loaded.")
@reason_option
@actor_option
@home_option
@url_option
@json_option
def command(model: str, to: str | None, reason: str, actor: str | None, home: Path | None, url: str | None,
            as_json: bool) -> int:
    """Take the doubtful version of NAME off: the candidate on trial, or after a promotion the new stable version.

    Works with the store out of reach: every worker of this host obeys a veto file within 100 ms.

    Exit codes: 0 every live worker has obeyed, 1 nothing to roll back, or refused, 2 wrong usage, 3 some live worker
    has not obeyed.
    """
    rollouts = choose(home, url)
    done = rollouts.roll_back(model, {"actor": actor_or_user(actor), "reason": reason, "to": to})
    if as_json:
        print_json(done)
    else:
        for line in _told(done, rollouts):
            click.echo(line)
    return 0 if done["complete"] else _NOT_ACKNOWLEDGED


def _told(done: dict[str, Any], rollouts: Rollouts) -> list[str]:
    workers, stable = done["workers"], done["stable"]
    seconds = [worker["seconds"] for worker in workers if worker["seconds"] is not None]
    if not workers:
        lines = [f"{done['model']}: version {stable} will answer; no server runs on {rollouts.where} now."]
    else:
        slowest = f" after {max(seconds) * 1000:.0f} ms" if seconds else ""
        lines = [f"{done['model']}: version {stable} answers again in {len(seconds)} of {len(workers)} workers"
                 f"{slowest}."]
    lines += [f"  Process {worker['pid']} " + ("has not obeyed yet: kill it if it hangs, another one starts."
                                               if worker["seconds"] is None
                                               else f"obeyed after {worker['seconds'] * 1000:.0f} ms.")
              for worker in workers]
    return lines + ([done["remark"]] if done.get("remark") else [])
