"""`serinus models evaluate` and `replay`: is a version fit to answer, by labelled rows and by what was asked before."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.models.errors import ModelError
from serinus.serving.cli.options import actor_or_user, home_option, json_option, open_home
from serinus.serving.cli.output import print_json, print_table, short, width
from serinus.serving.cli.progress import progress_line
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.monitors.evaluation import Check, Gate
    from serinus.monitors.evaluation.replay import Replayed
    from serinus.serving.evaluation import Judged

__all__ = ["evaluate", "exit_code", "print_gate", "replay", "warn_of_gate", "write_files"]

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "red", "not-run": "yellow", "undecided": "yellow"}
_CODES = {"pass": 0, "fail": 1, "undecided": 3}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@click.command("evaluate")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--data", type=click.Path(path_type=Path),
              help="CSV or Parquet: rows that the model has not seen, with their ground truth.")
@click.option("--target", help="The data's column that the model predicts.")
@click.option("--against", metavar="VERSION",
              help="Hold it against this version (default: the stable one, else the one before); `shadow`: against "
                   "stable, on what its shadow was asked and ground truth came for, without --data.")
@click.option("--policy", type=click.Path(path_type=Path), help="TOML file of margins, floors, slices, groups, limits.")
@click.option("--reference", type=click.Path(path_type=Path),
              help="CSV or Parquet with rows of the training: looks for them in the data.")
@click.option("--group", help="The data's column that says whose a row is: rows of one are drawn together.")
@click.option("--ids", help="The data's column that names rows (default: their numbers from 0).")
@click.option("--approver", default="", help="Who answers for letting it pass; it is kept in the journal.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Write gate.json, MODEL_CARD.md and bom.json (CycloneDX) into this folder.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as a page.")
@home_option
@json_option
def evaluate(tag: str, data: Path | None, target: str | None, against: str | None, policy: Path | None,
             reference: Path | None, group: str | None, ids: str | None, approver: str, out: Path | None,
             html: Path | None, home: Path | None, as_json: bool) -> int:
    """Judge a version by ten checks; without VERSION the newest.

    The verdict is kept with the version and in the journal. A check that could not be told is never a pass.

    Exit codes: 0 it passed, 1 it failed, 2 the data, the policy or the options do not fit, 3 undecided: mostly too few
    rows, or no ground truth yet.
    """
    from serinus.serving.evaluation import Asked, read_policy
    from serinus.serving.evaluation import evaluate as judge
    from serinus.serving.shadow_evaluation import NAME, AskedOfShadow, evaluate_shadow

    rules, by = read_policy(policy), actor_or_user(None)
    if against == NAME:
        if any((data, target, reference, group, ids)):
            raise click.UsageError("--against shadow judges what was logged: leave out --data, --target, --reference, "
                                   "--group and --ids.")
        judged = evaluate_shadow(AskedOfShadow(tag, rules, approver, by), open_home(home))
    elif data is None or target is None:
        raise click.UsageError("Give --data FILE and --target COLUMN, or --against shadow.")
    else:
        asked = Asked(tag, data, target, against, rules, reference, group, ids, approver, by)
        with progress_line(quiet=as_json) as progress:
            judged = judge(asked, open_home(home), progress)
    write_files(judged, out, html)
    if as_json:
        print_json(judged.gate.to_json() | {"digest": judged.gate.digest})
    else:
        print_gate(judged.gate)
        for path in (out, html):
            if path is not None:
                click.echo(f"Written: {path}")
    return exit_code(judged.gate)


def exit_code(gate: Gate) -> int:
    """What a script is told."""
    return _CODES[str(gate.verdict)]


def write_files(judged: Judged, out: Path | None, html: Path | None) -> None:
    """Put the machine's and the people's form where they were asked for."""
    files = [(out / name, data) for name, data in judged.files().items()] if out is not None else []
    if html is not None:
        files.append((html, judged.gate.to_html().encode()))
    for path, content in files:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}; name another place.", 2) from None


def print_gate(gate: Gate) -> None:
    """A verdict for a person."""
    what = gate.evaluated
    click.echo(click.style(f"{what.tag}: {gate.verdict}", fg=_COLOURS[str(gate.verdict)], bold=True)
               + f"  {what.rows:,} rows of {what.data}, against {what.against or 'a trivial answer'}")
    room = max(max(len(check.name) for check in gate.checks) + 13, 24)
    for check in gate.checks:
        status = click.style(str(check.status).ljust(8), fg=_COLOURS[str(check.status)])
        click.echo(f"  {status} {check.name.ljust(12)} {short(check.reason, max(width() - room, 60))}")
    _print_metrics(gate.check("metrics"))


def _print_metrics(check: Check) -> None:
    if check.details is None:
        return
    rows = [(one.title, f"{one.value:.4g}", _span(one.interval), f"{one.current:.4g}", f"{one.difference:+.3g}",
             _span(one.difference_interval), "-" if one.margin is None else f"{one.margin:.3g}")
            for one in check.details.metrics]
    if rows:
        click.echo("")
        print_table(("METRIC", "VALUE", "INTERVAL", "AGAINST", "CHANGE", "INTERVAL", "MARGIN"), rows)


def _span(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4g} … {interval[1]:.4g}"


def warn_of_gate(tag: str, home: Path | None) -> None:
    """One line on standard error where a version's last evaluation did not end well."""
    from serinus.models.registry import Registry
    from serinus.serving.gates import last_gate

    registry = Registry(open_home(home).path)
    with suppress(ModelError):  # what is wrong with the tag is told by who uses it
        gate = last_gate(registry, registry.get(*registry.resolve(tag)))
        if gate is not None and gate["verdict"] != "pass":
            word = {"fail": "failed", "undecided": "did not decide"}[gate["verdict"]]
            click.echo(f"serinus: the evaluation of {gate['tag']} on {gate['data']} {word}: "
                       f"{short(gate['sentence'], 300)}", err=True)


@click.command("replay")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--last", default="24h", show_default=True, metavar="TIME",
              help="How far back: a number and s, m, h or d.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many requests, the newest; 0: all.")
@click.option("--max-disagreement", type=click.FloatRange(0, 1), default=1.0, metavar="SHARE",
              help="Exit with 1 where more of the rows get another answer.")
@click.option("--shadow", is_flag=True, help="What its shadows were asked, and compared with their answers.")
@home_option
@json_option
def replay(tag: str, last: str, limit: int, max_disagreement: float, shadow: bool, home: Path | None,
           as_json: bool) -> int:
    """Ask a version what its model was asked before, as the prediction log has it; nobody notices.

    Exit codes: 0 done, 1 it refuses rows or disagrees too often, 2 wrong usage, 3 nothing could be replayed.
    """
    from serinus.monitors.evaluation.check import plain
    from serinus.serving.replay import replay_log

    with progress_line(quiet=as_json) as progress:
        version, found = replay_log(tag, open_home(home), _seconds(last), limit=limit, shadow=shadow,
                                    progress=progress)
    if as_json:
        print_json({"tag": version.tag, "disagreement": found.share, **plain(found)})
    else:
        _print_replayed(version.tag, found)
    return 1 if found.errors or found.share > max_disagreement else 0


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text.strip())
    if found is None:
        raise click.BadParameter(f"expected a number and s, m, h or d, such as 24h, got {text!r}.")
    return float(found[1]) * _UNITS[found[2]]


def _print_replayed(tag: str, found: Replayed) -> None:
    click.echo(f"{tag} was asked {found.requests:,} logged requests of {found.rows:,} rows again.")
    if found.interval is not None:
        low, high = found.interval
        click.echo(f"  other answers  {found.differ:,} rows, {found.share:.2%} ({low:.2%} to {high:.2%})")
    if found.apart is not None:
        click.echo(f"  apart          {found.apart:.3g} standard deviations of the logged answers on average")
    refused = f": {found.first_error}" if found.errors else ""
    click.echo(f"  refused        {found.errors:,} rows{refused}")
    if found.p50_ms is not None and found.p99_ms is not None:
        click.echo(f"  takes          {found.p50_ms:.3g} ms a request, 99 in 100 below {found.p99_ms:.3g} ms")
    if found.slices:
        click.echo("")
        print_table(("WHERE", "ROWS", "OTHER", "SHARE"), [
            (one.name, f"{one.rows:,}", f"{one.differ:,}", f"{one.differ / one.rows:.2%}") for one in found.slices])
    if found.examples:
        click.echo("\nSuch as (serinus log show --prediction ID):")
        click.echo("\n".join(f"  {name}" for name in found.examples[:5]))
