"""`serinus rollout`: try a new version on part of the traffic, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from serinus.serving.cli.evaluate import warn_of_gate
from serinus.serving.cli.options import (
    actor_option,
    actor_or_user,
    home_option,
    json_option,
    model_argument,
    reason_option,
    timeout_option,
    url_option,
)
from serinus.serving.cli.output import print_json
from serinus.serving.cli.rollout_plan import plan, simulate
from serinus.serving.cli.rollout_status import explain, status, wait_for_end
from serinus.serving.cli.rollouts import Followed, Rollouts, choose, describe, wait_until_followed
from serinus.serving.errors import CommandError
from serinus.serving.rollout import plan_file
from serinus.serving.rollout.errors import PlanInvalid
from serinus.serving.rollout.state import Plan, RolloutRecord

__all__ = ["command"]

_NOT_FOLLOWED = 3
_STEPS = "5,25,50"
_SHADOW = 10.0
_WAIT_S = 24 * 3600.0


@click.group("rollout")
def command() -> None:
    """Try a new version on part of the traffic, step by step.

    A rollout judges itself: it compares both versions' answers, goes on when the evidence allows it, and takes the
    new version off when it is worse. With --manual a person takes every step: start, promote, promote … A caller who
    sends a routing key meets the same version every time, and those who meet the new one go on meeting it as its share
    grows.

    Exit codes: 0 done and followed by every live worker, 1 refused or failed, 2 wrong usage, 3 done, but some worker
    does not follow. With `start --wait`: 0 promoted, 3 rolled back, 4 held, 5 not over in time.
    """


def _acting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that changes a rollout."""
    no_wait = click.option("--no-wait", is_flag=True, help="Do not wait until the workers follow.")
    for option in (json_option, timeout_option, no_wait, home_option, url_option, actor_option, reason_option):
        function = option(function)
    return function


@command.command("start")
@click.argument("tag", metavar="NAME:VERSION")
@click.option("--plan", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The whole plan, as TOML, YAML or JSON; its schema: serinus rollout plan --schema.")
@click.option("--steps", default=_STEPS, show_default=True, help="Shares of the requests, in percent, rising.")
@click.option("--shadow", type=click.FloatRange(0, 100), default=_SHADOW, show_default=True, metavar="PERCENT",
              help="Share of the requests that are copied to it before it answers any; 0 leaves the shadow out.")
@click.option("--manual", is_flag=True, help="A person takes every step, and nothing is judged.")
@click.option("--force", is_flag=True, help="Even if this artifact was rolled back before.")
@click.option("--wait", is_flag=True, help="Wait for the end: exit code 0 promoted, 3 rolled back, 4 held, 5 time-out.")
@click.option("--wait-timeout", type=click.FloatRange(min=0), default=_WAIT_S, show_default=True, metavar="SECONDS",
              help="How long to wait for the end.")
@_acting
def start(tag: str, file: Path | None, steps: str, shadow: float, manual: bool, force: bool, wait: bool,
          wait_timeout: float, **how: Any) -> int:
    """Begin a rollout of NAME:VERSION: checked first, then in the shadow, then step by step."""
    from serinus.models.version import split_tag

    name, version = split_tag(tag)  # an alias is resolved where the versions are
    if version is None:
        raise CommandError(f"Which version of {name!r}? Say `serinus rollout start {name}:VERSION`; "
                           f"`serinus models list` shows what there is.")
    chosen = plan_file.read(file) if file is not None else _plan(steps, shadow, manual)
    _check_only_plan(file)
    if how["url"] is None:
        warn_of_gate(tag, how["home"])
    body = {"version": version, "plan": plan_file.to_document(chosen), "force": force}
    code, begun = _acted("start", name, body, **how)
    if not wait:
        return code
    return wait_for_end(choose(how["home"], how["url"]), begun, wait_timeout, quiet=how["as_json"])


def _plan(steps: str, shadow: float, manual: bool) -> Plan:
    by_hand = Plan.from_percents(steps)
    if manual:
        return by_hand
    return plan_file.parse({"steps": steps, "judgement": {"shadow": round(shadow * 100)}}, "the options")


def _check_only_plan(file: Path | None) -> None:
    context = click.get_current_context()
    more = [name for name in ("steps", "shadow", "manual")
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if file is not None and more:
        raise PlanInvalid(f"--plan {file} says everything: leave --{' and --'.join(more)} out, or the file.")


@command.command("promote")
@model_argument
@click.option("--force", is_flag=True, help="Make the candidate stable at once, whatever steps are left.")
@_acting
def promote(model: str, force: bool, **how: Any) -> int:
    """Take the next step; after the last one the candidate becomes stable."""
    return _act("promote", model, {"force": force}, **how)


@command.command("approve")
@model_argument
@_acting
def approve(model: str, **how: Any) -> int:
    """Agree, by name, that the present step may end; it does when its evidence is there too."""
    return _act("approve", model, {}, **how)


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
    """Go on with a paused or frozen rollout."""
    return _act("resume", model, {}, **how)


@command.command("freeze")
@model_argument
@_acting
def freeze(model: str, **how: Any) -> int:
    """Let nothing automatic happen any more, not even a rollback on evidence; `serinus rollback` works."""
    return _act("freeze", model, {}, **how)


@command.command("abort")
@model_argument
@_acting
def abort(model: str, **how: Any) -> int:
    """Stop a rollout: stable answers everything. The version may be tried again later."""
    return _act("abort", model, {}, **how)


@command.command("retry")
@model_argument
@click.option("--force", is_flag=True, help="Even if its artifact was rolled back: lifts the quarantine.")
@_acting
def retry(model: str, force: bool, **how: Any) -> int:
    """Try the latest candidate once more, by the same plan."""
    return _act("retry", model, {"force": force}, **how)


@command.command("journal")
@model_argument
@home_option
@url_option
@json_option
def journal(model: str, home: Path | None, url: str | None, as_json: bool) -> None:
    """Every event of NAME's rollouts, oldest first."""
    from serinus.serving.rollout.journal import explain

    entries = choose(home, url).journal(model)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    for entry in entries:
        click.echo(explain(entry))
    if not entries:
        click.echo(f"Nothing has happened to {model} yet.")


for _more in (status, explain, plan, simulate):
    command.add_command(_more)


def _act(verb: str, model: str, body: dict[str, Any], **how: Any) -> int:
    return _acted(verb, model, body, **how)[0]


def _acted(verb: str, model: str, body: dict[str, Any], *, home: Path | None, url: str | None, actor: str | None,
           reason: str, no_wait: bool, timeout: float, as_json: bool) -> tuple[int, RolloutRecord]:
    """Exit code, and the record after it."""
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
    done = followed is None or (followed.complete and not followed.load_failures)
    return 0 if done else _NOT_FOLLOWED, record


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
