"""`serinus monitor status`, `explain` and `reference`: what is seen of live rows, and what they are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serinus.serving.cli.options import (
    actor_or_user,
    home_option,
    json_option,
    open_home,
    url_option,
)
from serinus.serving.cli.output import iso, print_json, print_json_line, print_table, short, table, width
from serinus.serving.cli.progress import progress_line
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.serving.store import JournalEntry, Store

__all__ = ["explain", "reference", "reset", "status"]

T = TypeVar("T")

_ALARMS = ("alarm", "act")
_COLOURS = {"ok": "green", "warn": "yellow", "alarm": "red", "act": "red", "learning": "yellow", "off": "yellow"}
_METER = 20
_FEATURES, _WINDOWS, _EXAMPLES = 15, 8, 5
_WATCH_S = 1.0


@click.command("status")
@click.argument("tag", metavar="[NAME[:VERSION]]", required=False)
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@home_option
@url_option
@json_option
def status(tag: str | None, watch: bool, home: Path | None, url: str | None, as_json: bool) -> int:
    """Where the rows of a version stand, or of every version that is served.

    Exit codes: 0 nothing found, 1 refused or failed, 2 wrong usage, 3 an alarm is open.
    """
    return _tell(tag, home, url, _print_status, watch=watch, as_json=as_json)


@click.command("explain")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@home_option
@url_option
@json_option
def explain(tag: str, watch: bool, home: Path | None, url: str | None, as_json: bool) -> int:
    """What moved, how much, since when, and which rows to look at; without VERSION of all that are served.

    Exit codes: 0 nothing found, 1 refused or failed, 2 wrong usage, 3 an alarm is open.
    """
    return _tell(tag, home, url, _print_explained, watch=watch, as_json=as_json)


def _tell(tag: str | None, home: Path | None, url: str | None, show: Callable[[list[dict[str, Any]]], None], *,
          watch: bool, as_json: bool) -> int:
    """Print what is known, again every second where it is watched; the exit code."""
    while True:
        found = _views(tag, home, url)
        if watch and not as_json:
            click.clear()
        if as_json:
            (print_json_line if watch else print_json)({"versions": found})
        else:
            show(found)
        if not watch:
            return 3 if any(view["state"] in _ALARMS for view in found) else 0
        time.sleep(_WATCH_S)


def _views(tag: str | None, home: Path | None, url: str | None) -> list[dict[str, Any]]:
    """The published documents. Raises CommandError where there is none."""
    from serinus.models.version import split_tag

    name, version = split_tag(tag) if tag else (None, None)
    if url and home is None:
        from serinus.serving.cli.remote import RemoteServer

        path = f"/api/monitors/{name}" if name else "/api/monitors"
        found = list(RemoteServer(url).call("GET", path, None)["versions"])
    else:
        from serinus.serving.monitoring import MonitorFiles

        found = [dict(view.document) for view in MonitorFiles(open_home(home).monitors).views(name)]
    found = [view for view in found if version in (None, view["version"])]
    if not found:
        raise CommandError(f"Nothing is known of {tag or 'any model'} yet: a server on this home tells a few seconds "
                           "after its start.")
    return found


def _print_status(found: list[dict[str, Any]]) -> None:
    rows = [(f"{view['model']}:{view['version']}", view["state"], _rows(view), _share(view["observed_share"]),
             _meter(view["evidence"]), _when(view["judged"]), short(view["text"], max(30, width() - 80)))
            for view in found]
    lines = table(("VERSION", "STATE", "ROWS", "OBSERVED", "EVIDENCE", "AT", "SAYS"), rows)
    click.echo(click.style(lines[0], bold=True))
    for line, view in zip(lines[1:], found, strict=True):
        click.echo(click.style(line, fg=_COLOURS.get(view["state"])))


def _print_explained(found: list[dict[str, Any]]) -> None:
    click.echo("\n\n".join("\n".join(_explained(view)) for view in found))


def _explained(view: dict[str, Any]) -> Iterator[str]:
    yield click.style(f"{view['model']}:{view['version']}  {view['state']}", fg=_COLOURS.get(view["state"]), bold=True)
    yield f"  {view['text']}"
    for one in view.get("custom", []):
        said = f"{one['name']}: {one['state']}" if one["finding"] is None else one["finding"]["text"]
        yield f"  {one['state'].partition(',')[0]:<10} {said}"
    drift, reference = view["drift"], view["reference"]
    if drift is None:
        return
    yield (f"  evidence   {_meter(drift['evidence'])}; at most one false alarm in {view['run_length']:,} rows on "
           "average, while rows look like the reference's own blocks")
    yield (f"  rows       {view['rows']:,} observed of {view['seen']:,} answered, {drift['rows_since_alarm']:,} since "
           "the last alarm")
    if drift["smallest_shift"] is not None:
        yield f"  would show a mean that moved by {drift['smallest_shift']:.2g} standard deviations"
    if drift["since"] is not None:
        yield f"  since      {iso(drift['since'])}, row {drift['since_row']:,}"
    by = f" by {reference['by']}" if reference["by"] else ""
    why = f": {reference['reason']}" if reference["reason"] else ""
    yield f"  reference  {reference['digest'][7:19]}, {reference['rows']:,} rows, {reference['origin']}{by}{why}"
    if view["self_check"]:
        yield f"  self-check {view['self_check']}"
    yield ""
    yield from (f"  {line}" for line in table(
        ("FEATURE", "EVIDENCE", "CHANGE", "PSI", "MISSING", "UNSEEN", "SINCE"), [
            (feature["name"], _meter(feature["evidence"]), feature["direction"] or "-", f"{feature['effect']:.3f}",
             _share(feature["missing"]), _share(feature["unseen"]),
             _when(drift["since"] if feature["drifted"] else feature["since"]))
            for feature in drift["features"][:_FEATURES]]))
    hidden = view["features_watched"] - _FEATURES
    if hidden > 0:
        yield f"  … and {hidden:,} more"
    if drift["windows"]:
        yield ""
        yield from (f"  {line}" for line in table(("WINDOW", "BEGAN", "ROWS", "P", "PSI", "CHANGED"), [
            (window["kind"], _began(window), f"{window['rows']:,}", f"{window['p']:.2g}", f"{window['effect']:.3f}",
             ", ".join(window["drifted"][:4]) or "-") for window in drift["windows"][-_WINDOWS:]]))
    if view["examples"]:
        yield ""
        yield "  Unusual rows, the latest first (serinus log show --prediction ID):"
        yield from (f"    {example['prediction_id']}  p {example['novelty_p']:.2g}  {example['feature'] or ''}"
                    for example in view["examples"][:_EXAMPLES])


def _began(window: dict[str, Any]) -> str:
    return iso(window["start"]) if window["kind"] in ("hour", "day", "week") else f"row {int(window['start']):,}"


def _rows(view: dict[str, Any]) -> str:
    return f"{view['rows']:,}/{view['wanted_rows']:,}" if view["state"] == "learning" else f"{view['rows']:,}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"


def _meter(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _when(seconds: float | None) -> str:
    return iso(seconds) if seconds else "-"


@click.command("reference")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--set", "file", type=click.Path(path_type=Path), help="CSV or Parquet to compare with from now on.")
@click.option("--list", "listing", is_flag=True, help="Every choice that was made, oldest first.")
@click.option("--target", help="Column that the model predicts.")
@click.option("--time", "time_column", help="Column that says when a row was made.")
@click.option("--group", help="Column that says whose a row is.")
@click.option("--seasons", is_flag=True, help="Also learn hours of working days and of weekends; needs --time.")
@click.option("--by", help="Who decides (default: the user's name).")
@click.option("--reason", default="", help="Why; it is kept in the journal.")
@home_option
@json_option
def reference(tag: str, file: Path | None, listing: bool, target: str | None, time_column: str | None,
              group: str | None, seasons: bool, by: str | None, reason: str, home: Path | None, as_json: bool) -> None:
    """What live rows are compared with: set it, or see who set it when. Nothing is ever replaced or forgotten.

    Without VERSION the newest. A running server takes the new reference within seconds, and begins new evidence.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """
    from serinus.models.version import split_tag

    if (file is None) == (not listing):
        raise click.UsageError("Give --set FILE, or --list.")
    if seasons and time_column is None:
        raise click.UsageError("--seasons needs --time: a season is an hour of the day.")
    from serinus.models import Registry
    from serinus.serving.cli.versions import doubtful
    from serinus.serving.references import Columns, doubts_about, history
    from serinus.serving.registration import set_reference

    folder = open_home(home)
    if file is None:
        _print_history(_asked(folder.store, lambda store: list(history(store, split_tag(tag)[0]))), as_json)
        return
    with progress_line(quiet=as_json) as progress:
        made = set_reference(tag, file, home=folder, columns=Columns(target, time_column, group), seasons=seasons,
                             by=actor_or_user(by), reason=reason, progress=progress)
    if as_json:
        print_json({"digest": made.profile.digest, "rows": made.profile.rows, "self_check": made.check.to_json()})
        return
    click.echo(f"{tag} is compared with {file} from now on: {made.profile.rows:,} rows, reference "
               f"{made.profile.digest[7:19]}.")
    click.echo(made.check.text)
    registry = Registry(folder.path)
    version = registry.get(*registry.resolve(tag))
    before = _asked(folder.store, lambda store: list(history(store, version.name)))[-1].body["before"]
    for line in doubtful(doubts_about(registry, version, made.profile.digest, before)):
        click.echo(line)


@click.command("reset")
@click.argument("tag", metavar="NAME:VERSION")
@click.option("--by", help="Who decides (default: the user's name).")
@click.option("--reason", default="", help="Why; it is kept in the journal.")
@home_option
def reset(tag: str, by: str | None, reason: str, home: Path | None) -> None:
    """Close an alarm and begin the evidence about a version anew, where a change was looked at and is fine.

    What rows are compared with stays the same: where the change is to stay, give them another reference.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """
    from serinus.models.version import split_tag

    name, version = split_tag(tag)
    if version is None:
        raise CommandError(f"Which version of {name!r}? Say `serinus monitor reset {name}:VERSION`.")
    from serinus.serving.steward.judge_drift import forget_evidence

    try:
        _asked(open_home(home).store, lambda store: forget_evidence(store, name, version, actor_or_user(by), reason))
    except LookupError as error:
        raise CommandError(str(error)) from None
    click.echo(f"The evidence about {tag} begins anew; a running server follows within seconds.")


def _asked(path: Path, ask: Callable[[Store], T]) -> T:
    from serinus.serving.store import SqliteStore

    store = SqliteStore(path, create=False)
    try:
        return ask(store)
    finally:
        store.close()


def _print_history(entries: list[JournalEntry], as_json: bool) -> None:
    if as_json:
        print_json([{"time": entry.time, "by": entry.actor, "reason": entry.reason, **entry.body} for entry in entries])
    elif not entries:
        click.echo("Nobody has chosen a reference; versions have the one that they were registered with, if any.")
    else:
        print_table(("TIME", "VERSION", "REFERENCE", "ORIGIN", "BY", "REASON"), [
            (iso(entry.time), entry.body["version"], entry.body["digest"][7:19], entry.body["origin"], entry.actor,
             entry.reason or "-") for entry in entries])
