"""`serinus rollout`: try a new version on part of the traffic, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from serinus.models.version import split_tag
from serinus.serving.cli.options import (
    actor_option,
    actor_or_user,
    home_option,
    json_option,
    model_argument,
    open_home,
    reason_option,
    timeout_option,
    url_option,
)
from serinus.serving.cli.output import iso, print_json
from serinus.serving.cli.rollouts import Followed, Rollouts, choose, describe, wait_until_followed
from serinus.serving.errors import CommandError
from serinus.serving.rollout.state import Plan, RolloutRecord

__all__ = ["command"]

_NOT_FOLLOWED = 3
_STEPS = "5,25,50"


@click.group("rollout")
def command() -> None:
    """Try a new version on part of the traffic, step by step.

    A person takes every step: start, promote, promote …, until the new version is stable. A caller who sends a
    routing key meets the same version every time, and those who meet the new one go on meeting it as its share grows.

    Exit codes: 0 done and followed by every live worker, 1 refused or failed, 2 wrong usage, 3 done, but some worker
    does not follow.
    """


def _acting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that changes a rollout."""
    no_wait = click.option("--no-wait", is_flag=True, help="Do not wait until the workers follow.")
    for option in (json_option, timeout_option, no_wait, home_option, url_option, actor_option, reason_option):
        function = option(function)
    return function


@command.command("start")
@click.argument("tag", metavar="NAME:VERSION")
@click.option("--steps", default=_STEPS, show_default=True, help="Shares of the requests, in percent, rising.")
@click.option("--force", is_flag=True, help="Even if this artifact was rolled back before.")
@_acting
def start(tag: str, steps: str, force: bool, **how: Any) -> int:
    """Begin a rollout of NAME:VERSION at the plan's first step."""
    name, version = split_tag(tag)  # an alias is resolved where the versions are
    if version is None:
        raise CommandError(f"Which version of {name!r}? Say `serinus rollout start {name}:VERSION`; "
                           f"`serinus models list` shows what there is.")
    Plan.from_percents(steps)
    return _act("start", name, {"version": version, "steps": steps, "force": force}, **how)


@command.command("promote")
@model_argument
@click.option("--force", is_flag=True, help="Make the candidate stable at once, whatever steps are left.")
@_acting
def promote(model: str, force: bool, **how: Any) -> int:
    """Take the next step; after the last one the candidate becomes stable."""
    return _act("promote", model, {"force": force}, **how)


@command.command("pause")
@model_argument
@_acting
def pause(model: str, **how: Any) -> int:
    """Hold a rollout at its present share."""
    return _act("pause", model, {}, **how)


@command.command("resume")
@model_argument
@_acting
def resume(model: str, **how: Any) -> int:
    """Go on with a paused rollout."""
    return _act("resume", model, {}, **how)


@command.command("abort")
@model_argument
@_acting
def abort(model: str, **how: Any) -> int:
    """Stop a rollout: stable answers everything. The version may be tried again later."""
    return _act("abort", model, {}, **how)


@command.command("status")
@model_argument
@home_option
@url_option
@json_option
def status(model: str, home: Path | None, url: str | None, as_json: bool) -> None:
    """Where NAME's rollout stands, and who follows."""
    rollouts = choose(home, url)
    seen = rollouts.status(model)
    if as_json:
        print_json(seen)
        return
    record = RolloutRecord.from_dict(seen["record"])
    lines = [describe(record), f"  phase    {record.phase}, since {iso(record.updated)}, by {record.actor or 'nobody'}"
             + (f": {record.reason}" if record.reason else "")]
    if seen["veto"]:
        veto = seen["veto"]
        lines.append(f"  veto     version {veto['stable']} answers alone, by {veto['actor']}; not in the store yet")
    following = sum(worker["follows"] for worker in seen["workers"])
    lines.append(f"  workers  {following} of {len(seen['workers'])} follow" if seen["workers"]
                 else f"  workers  none: no server runs on {rollouts.where}")
    click.echo("\n".join(lines))


@command.command("journal")
@model_argument
@home_option
@json_option
def journal(model: str, home: Path | None, as_json: bool) -> None:
    """Every event of NAME's rollouts, oldest first."""
    from dataclasses import asdict

    from serinus.serving.cli.local import LocalRollouts
    from serinus.serving.rollout.journal import explain

    entries = LocalRollouts(open_home(home)).journal(model)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    for entry in entries:
        click.echo(explain(entry))
    if not entries:
        click.echo(f"Nothing has happened to {model} yet.")


def _act(verb: str, model: str, body: dict[str, Any], *, home: Path | None, url: str | None, actor: str | None,
         reason: str, no_wait: bool, timeout: float, as_json: bool) -> int:
    rollouts = choose(home, url)
    before = _status(rollouts, model)
    answer = rollouts.act(model, verb, {**body, "actor": actor_or_user(actor), "reason": reason})
    record = RolloutRecord.from_dict(answer["record"])
    followed = None if no_wait or answer.get("notice") else wait_until_followed(
        rollouts, model, record.generation, timeout, before)
    if as_json:
        print_json({**answer, "followed": followed._asdict() if followed else None})
    else:
        click.echo(answer.get("notice") or describe(record))
        if followed is not None:
            click.echo(_told(followed, rollouts, record))
    return 0 if followed is None or (followed.complete and not followed.load_failures) else _NOT_FOLLOWED


def _status(rollouts: Rollouts, model: str) -> dict[str, Any] | None:
    try:
        return rollouts.status(model)
    except CommandError:
        return None


def _told(followed: Followed, rollouts: Rollouts, record: RolloutRecord) -> str:
    if not followed.workers:
        return f"No server runs on {rollouts.where}; the next one starts from here."
    took = f"{followed.seconds * 1000:.0f} ms"
    if not followed.complete:
        return (f"{followed.following} of {followed.workers} workers follow after {took}: the server's own output says "
                f"why. Look again: serinus rollout status {record.model}")
    if followed.load_failures:
        return (f"{followed.load_failures} of {followed.workers} workers cannot load version {record.candidate}: "
                f"stable answers there, and the server's own output says why.")
    return f"{followed.following} of {followed.workers} workers follow after {took}."
