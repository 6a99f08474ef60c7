"""`serinus models expectations`: what is expected of a version's inputs, for people, for a file, and for pandera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.options import home_option, json_option, open_home
from serinus.serving.cli.output import print_json, table
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.models.version import ModelVersion
    from serinus.monitors.validation import Expectation, Expectations

__all__ = ["command", "personal_notes", "summary"]


@click.command("expectations")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--pandera", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write them as a pandera schema in YAML (needs the extra `pandera`).")
@home_option
@json_option
def command(tag: str, pandera: Path | None, home: Path | None, as_json: bool) -> None:
    """What is expected of the values of a version's inputs, and what is done otherwise; without VERSION the newest.

    They are learnt from the reference when the version is registered; `expect` of a field in the signature goes before
    that. With --json they are printed as `register --expectations FILE` takes them.
    """
    from serinus.models.registry import Registry
    from serinus.serving.expectations import expectations_of

    registry = Registry(open_home(home).path)
    version = registry.get(*registry.resolve(tag))
    expectations = expectations_of(version, registry)
    if pandera is not None:
        _write_pandera(expectations, version, pandera)
    elif as_json:
        print_json(expectations.to_json())
    else:
        click.echo("\n".join(_lines(expectations, version)))


def summary(expectations: Expectations) -> str:
    """All of them in one line; empty where there are none."""
    features = [feature for feature in expectations.features if _wanted(feature)]
    if not features and not expectations.personal:
        return ""
    said = f"of {len(features)} {'feature' if len(features) == 1 else 'features'}"
    if expectations.rows:
        said += f", learnt from {expectations.rows} rows"
    return said + (f"; personal: {', '.join(expectations.personal)}" if expectations.personal else "")


def personal_notes(expectations: Expectations) -> Iterator[str]:
    """A line for each field that was found to be personal."""
    for name in expectations.personal:
        why = expectations.unchecked.get(name, "")
        if why.startswith("it seems"):
            yield f"Personal: {name}: {why} of its values. If it is not, say so in the signature's `expect.personal`."


def _write_pandera(expectations: Expectations, version: ModelVersion, path: Path) -> None:
    from serinus.monitors.pandera_schema import to_yaml

    text = to_yaml(expectations, version.signature)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error}.") from None
    click.echo(f"Wrote the expectations of {version.tag} to {path} as a pandera schema.")


def _lines(expectations: Expectations, version: ModelVersion) -> Iterator[str]:
    rows = [(feature.name, wanted or "-", _otherwise(feature)) for feature in expectations.features
            if (wanted := _wanted(feature)) or feature.on]
    if not rows:
        yield f"Nothing is expected of the values of {version.tag}: register it with --reference, or declare `expect`."
    else:
        yield from table(("NAME", "EXPECTED", "OTHERWISE"), rows)
    for name, why in expectations.unchecked.items():
        yield f"{name}: {why}."


def _wanted(feature: Expectation) -> str:
    """What a feature's values are expected to be, in words."""
    parts = []
    if feature.minimum is not None or feature.maximum is not None:
        parts.append(f"{_limit(feature.minimum, '-∞')} to {_limit(feature.maximum, '∞')}")
    if feature.usual is not None:
        parts.append(f"usually {feature.usual[0]:g} to {feature.usual[1]:g}")
    if feature.domain is not None:
        parts.append(f"one of {len(feature.domain)} categories")
    if feature.length is not None:
        parts.append(f"{feature.length[0]} to {feature.length[1]} characters")
    if parts and feature.missing:
        parts.append("or missing")
    return ", ".join(parts + ([f"personal: {feature.personal}"] if feature.personal else []))


def _limit(limit: float | None, otherwise: str) -> str:
    return otherwise if limit is None else f"{limit:g}"


def _otherwise(feature: Expectation) -> str:
    from serinus.monitors.validation import DEFAULTS

    changed = [f"{kind} {policy}" for kind, policy in feature.on.items() if policy != DEFAULTS[kind]]
    return ", ".join(changed) or "-"
