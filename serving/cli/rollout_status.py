"""`serinus rollout status` and `explain`: where a rollout stands, and why, in words for a person on call."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from serinus.serving.cli.options import home_option, json_option, model_argument, url_option
from serinus.serving.cli.output import iso, print_json, print_json_line, table
from serinus.serving.cli.rollouts import Rollouts, bar, choose, describe
from serinus.serving.errors import CommandError, SerinusError
from serinus.serving.rollout.state import Phase, RolloutRecord

__all__ = ["explain", "status", "wait_for_end"]

_LOOK_S = 1.0
_PROMOTED, _ROLLED_BACK, _HELD, _TIMED_OUT = 0, 3, 4, 5
_ENDS = {Phase.PROMOTED: _PROMOTED, Phase.IDLE: _PROMOTED, Phase.ROLLING_BACK: _ROLLED_BACK,
         Phase.ROLLED_BACK: _ROLLED_BACK, Phase.REJECTED: _ROLLED_BACK}
_COLOURS = {"successful": "green", "failed": "red", "inconclusive": "yellow", "error": "red"}
_NUMBERS = re.compile(r"[-\d.,:TZ█░%]+")
_TELL_S = 30.0


@click.command("status")
@model_argument
@click.option("--watch", is_flag=True, help="Draw it anew every second, until the rollout is over or Ctrl-C (exit code "
                                            "0). Where the output is no terminal, or NO_COLOR is set, news are lines.")
@home_option
@url_option
@json_option
def status(model: str, watch: bool, home: Path | None, url: str | None, as_json: bool) -> None:
    """Where NAME's rollout stands, and who follows."""
    rollouts = choose(home, url)
    try:
        if watch and not as_json and _may_draw():
            from serinus.serving.cli import rollout_watch

            rollout_watch.watch(rollouts, model)
        else:
            _tell(rollouts, model, watch, as_json)
    except KeyboardInterrupt:
        if not watch:
            raise


def _may_draw() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _tell(rollouts: Rollouts, model: str, watch: bool, as_json: bool) -> None:
    """Once, or whenever there is news; numbers alone are told now and then."""
    last, told = "", float("-inf")
    while True:
        seen = rollouts.status(model)
        record = RolloutRecord.from_dict(seen["record"])
        text = "\n".join(_status_lines(rollouts, seen, record))
        words = _NUMBERS.sub("", text)
        if as_json:
            (print_json_line if watch else print_json)(seen)
        elif words != last or time.monotonic() - told >= _TELL_S:
            click.echo(text)
            last, told = words, time.monotonic()
        if not watch or not (record.running or record.phase is Phase.ROLLING_BACK):
            return
        time.sleep(_LOOK_S)


@click.command("explain")
@model_argument
@home_option
@url_option
@json_option
def explain(model: str, home: Path | None, url: str | None, as_json: bool) -> None:
    """Why NAME's rollout stands where it does: each thing compared, with counts, ratio, evidence and what is left."""
    rollouts = choose(home, url)
    found = rollouts.analysis(model)
    if as_json:
        print_json(found)
        return
    record = RolloutRecord.from_dict(rollouts.status(model)["record"])
    click.echo("\n".join(_explained(found, record)))


def wait_for_end(rollouts: Rollouts, begun: RolloutRecord, timeout_s: float, *, quiet: bool = False,
                 sleep: Callable[[float], None] = time.sleep) -> int:
    """The exit code of the end of the rollout that `begun` is of; each phase is told when it begins.

    What the server has published may be older for a moment. Raises CommandError where another rollout has begun.
    """
    started, last = time.monotonic(), ""
    while True:
        record = RolloutRecord.from_dict(rollouts.status(begun.model)["record"])
        if record.rollout_id != begun.rollout_id and record.generation > begun.generation:
            raise CommandError(f"Another rollout of {begun.model!r} has begun meanwhile, so the end of this one was "
                               f"not seen: serinus rollout journal {begun.model} tells it.")
        record = max(begun, record, key=lambda each: each.generation)
        said = describe(record)
        if said != last and not quiet:
            click.echo(f"{iso(record.updated)} {said}")
        last = said
        if record.phase in _ENDS:
            return _ENDS[record.phase]
        if record.phase is Phase.FROZEN or (record.phase is Phase.HOLD and not record.cause):
            return _HELD
        if time.monotonic() - started >= timeout_s:
            return _HELD if record.phase is Phase.HOLD else _TIMED_OUT
        sleep(_LOOK_S)


def _status_lines(rollouts: Rollouts, seen: dict[str, Any], record: RolloutRecord) -> list[str]:
    lines = [describe(record), f"  phase    {record.phase}, since {iso(record.updated)}, by {record.actor or 'nobody'}"
             + (f": {record.reason}" if record.reason else "")]
    if record.running and record.plan is not None and record.plan.judgement is not None:
        lines += _verdict_lines(rollouts, record.model)
    if seen["veto"]:
        veto = seen["veto"]
        lines.append(f"  veto     version {veto['stable']} answers alone, by {veto['actor']}; not in the store yet")
    following = sum(worker["follows"] for worker in seen["workers"])
    lines.append(f"  workers  {following} of {len(seen['workers'])} follow" if seen["workers"]
                 else f"  workers  none: no server runs on {rollouts.where}")
    return lines


def _verdict_lines(rollouts: Rollouts, model: str) -> Iterator[str]:
    try:
        found = rollouts.analysis(model)
    except (CommandError, SerinusError) as error:
        yield f"  verdict  not known: {error}"
        return
    word = click.style(found["verdict"], fg=_COLOURS.get(found["verdict"]))
    yield f"  verdict  {word}: {found['reason']}"
    if found["checks"]:
        worst = max(found["checks"], key=lambda check: check["meter"])
        yield f"  nearest  {bar(worst['meter'])} {worst['text']}"


def _explained(found: dict[str, Any], record: RolloutRecord) -> Iterator[str]:
    yield describe(record)
    word = click.style(found["verdict"], fg=_COLOURS.get(found["verdict"]), bold=True)
    yield f"  {word}: {found['reason']}"
    if found["risk"]:
        yield f"  Not known: {found['risk']}."
    for sentence in found["reverse"]:
        yield f"  After a promotion, a rollback would break: {sentence}"
    judged = found["judged"]
    if judged is None or not found["checks"]:
        return
    yield f"  Judged at {iso(found['time'])}, in {_step_name(judged['step_id'])}."
    yield ""
    rows = [(check["name"], _count(check, "candidate"), _count(check, "stable"), _ratio(check),
             f"{check['e_value']:,.3g} of {check['e_needed']:,.0f}", bar(check["meter"]), _says(check))
            for check in found["checks"]]
    lines = table(("COMPARED", f"VERSION {judged['candidate']}", f"VERSION {judged['stable']}", "RATIO", "EVIDENCE",
                   "OF WHAT ROLLS BACK", "SAYS"), rows)
    yield from (f"  {line}" for line in lines)
    yield ""
    yield ("  RATIO: how many times as often it happens to the new version, by 95 % bounds that hold at every look. "
           "EVIDENCE of harm: how many to one; at the second number the version is taken off.")


def _step_name(step_id: str) -> str:
    name = step_id.rpartition("/")[2]
    return f"step {int(name) + 1}" if name.isdigit() else f"the {name}"


def _count(check: dict[str, Any], arm: str) -> str:
    units = check[f"{arm}_units"]
    share = f" ({100 * check[arm] / units:.3g} %)" if units else ""
    return f"{check[arm]:,} of {units:,}{share}"


def _ratio(check: dict[str, Any]) -> str:
    if check["ratio_low"] == 0 and check["ratio_high"] is None:
        return "not known"
    high = "any" if check["ratio_high"] is None else f"{check['ratio_high']:.2g}"
    return f"{check['ratio_low']:.2g} to {high}"


def _says(check: dict[str, Any]) -> str:
    if check["harmful"]:
        return "worse"
    how = {"ratio": "no worse (compared)", "absolute": "rare enough", "paired": "no worse (same inputs)"}
    if check["route"]:
        return how[check["route"]]
    if check["kind"] == "events":  # more of them may still come, and some are wanted
        return "open"
    return "open" if check["upper"] is None else f"open; at most {100 * check['upper']:.2g} %"
