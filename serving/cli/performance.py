"""`serinus monitor performance`: what a model's answers turned out to be worth, by version and hour."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from serinus.serving.cli.options import home_option, json_option, model_argument, open_home, url_option
from serinus.serving.cli.output import print_json, print_json_line, table
from serinus.serving.errors import CommandError, ControlRefused

__all__ = ["performance"]

_HOURS = 24
_WATCH_S = 1.0
_HARM = 3


@click.command("performance")
@model_argument
@click.option("--hours", type=click.IntRange(min=1), default=_HOURS, show_default=True,
              help="How many of the latest hours to print.")
@click.option("--measure", help="Which measure to print by hour, such as value; by default accuracy or rmse.")
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@home_option
@url_option
@json_option
def performance(model: str, hours: int, measure: str | None, watch: bool, home: Path | None, url: str | None,
                as_json: bool) -> int:
    """What the answers of NAME turned out to be worth, by version and hour, and what they are estimated to be.

    Exit codes: 0 no harm is seen, 1 refused or failed, 2 wrong usage, 3 a harm alarm is open.
    """
    while True:
        found = _document(model, home, url)
        if watch and not as_json:
            click.clear()
        if as_json:
            (print_json_line if watch else print_json)(found)
        else:
            click.echo("\n".join(_lines(found, hours, measure)))
        if not watch:
            return _HARM if any(_harmful(version) for version in found["versions"]) else 0
        time.sleep(_WATCH_S)


def _document(model: str, home: Path | None, url: str | None) -> dict[str, Any]:
    from serinus.serving.cli.remote import RemoteServer
    from serinus.serving.performance.published import published

    try:
        if url:
            return RemoteServer(url).call("GET", f"/api/performance/{model}", None)
        return published(open_home(home).performance, model)
    except ControlRefused as error:
        raise CommandError(str(error)) from None


def _harmful(version: Mapping[str, Any]) -> bool:
    return version["harm"] is not None and version["harm"]["state"] == "alarm"


def _lines(found: Mapping[str, Any], hours: int, measure: str | None = None) -> Iterator[str]:
    name = measure or found["measure"]
    for version in found["versions"]:
        whole = version["measures"].get(name)
        yield click.style(f"{found['model']}:{version['version']}  {version['role']}", bold=True)
        yield f"  {_known(version)}" + (f"; {name} {_measure(whole)}" if whole else "")
        yield from _windows(version, name, hours)
        yield from _value(version)
        yield from _facts(version)


def _known(version: Mapping[str, Any]) -> str:
    if not version["labelled"]:
        return "no truth has come yet"
    return f"{version['rows']:,} rows in hours with truths, {version['labelled'] / version['rows']:.1%} of them known"


def _windows(version: Mapping[str, Any], name: str | None, hours: int) -> Iterator[str]:
    rows = [(window["hour"], f"{window['rows']:,}", f"{window['labelled']:,}", _cell(window, name),
             _estimate(window, name)) for window in version["windows"][-hours:]]
    if rows:
        lines = table(("HOUR", "ROWS", "KNOWN", (name or "measure").upper(), "ESTIMATED"), rows)
        yield from (f"  {line}" for line in lines)


def _value(version: Mapping[str, Any]) -> Iterator[str]:
    if (value := version["measures"].get("value")) is not None:
        unit = " ".join(filter(None, (version["unit"], "a row")))
        yield f"  {'value':<11} {_measure(value)} {unit}"


def _facts(version: Mapping[str, Any]) -> Iterator[str]:
    for part in ("calibration", "harm", "estimates", "change"):
        if version[part] is not None:
            yield f"  {part:<11} {version[part]['text']}"
    for part in ("slices", "fairness", "quality"):
        for one in version[part]:
            yield f"  {part:<11} {one['text']}"


def _cell(window: Mapping[str, Any], name: str | None) -> str:
    return "too early" if not window["mature"] else _measure(window["measures"].get(name))


def _estimate(window: Mapping[str, Any], name: str | None) -> str:
    if window["withdrawn"]:
        return "withdrawn"
    return "-" if window["estimate"] is None else _measure(window["estimate"].get(name))


def _measure(measure: Mapping[str, Any] | None) -> str:
    """A value and its interval."""
    if measure is None or measure["value"] is None:
        return "-"
    if measure["reason"]:
        return "unknown"
    if measure["low"] is None:
        return f"{measure['value']:.4g}"
    return f"{measure['value']:.4g} ({measure['low']:.4g} to {measure['high']:.4g})"
