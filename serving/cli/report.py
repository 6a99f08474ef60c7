"""`serinus monitor report`: a model over some days, or two files compared, with no server: page, JSON, exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.options import home_option, json_option
from serinus.serving.cli.output import print_json, print_table, short, width
from serinus.serving.cli.progress import progress_line
from serinus.serving.cli.spans import seconds_of
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.monitors.report import Report
    from serinus.monitors.report.comparison import Comparison

__all__ = ["report"]

_SHOWN = 20


@click.command("report")
@click.argument("model", metavar="[NAME]", required=False)
@click.option("--last", metavar="TIME", default="7d", show_default=True, help="Of NAME: how many days, such as 24h, 7d "
                                                                             "or 30d.")
@home_option
@click.option("--reference", type=click.Path(path_type=Path), help="CSV or Parquet: what is normal.")
@click.option("--current", type=click.Path(path_type=Path), help="CSV or Parquet: what is judged.")
@click.option("--target", help="Column of the outcome; the current file may lack it.")
@click.option("--output", "outputs", multiple=True, metavar="COLUMN", help="Column of a model's answers; repeat it.")
@click.option("--time", help="Column of times; the page then shows windows of time.")
@click.option("--group", help="Column of ids, which is no feature.")
@click.option("--window", help="Length of the windows: hour, day, week, month, quarter, year (default: what fits).")
@click.option("--distance", help="Judge by a classic distance: psi, kolmogorov_smirnov, wasserstein, jensen_shannon, "
                                 "chi_squared, or an installed one.")
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.01, show_default=True,
              help="Chance that an unchanged batch names any feature.")
@click.option("--effect", type=click.FloatRange(min=0), default=0.01, show_default=True,
              help="Smallest change that counts, as a corrected PSI.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the page into this file.")
@json_option
def report(model: str | None, last: str, home: Path | None, reference: Path | None, current: Path | None,
           target: str | None, outputs: tuple[str, ...], time: str | None, group: str | None, window: str | None,
           distance: str | None, level: float, effect: float, out: Path | None, as_json: bool) -> int:
    """Say in plain words how NAME did in the last days: is it fine, what changed, what to do.

    Or compare two files of any size, feature by feature.

    Exit codes: 0 nothing to do, no drift; 1 somebody has to do something, drift; 2 the names, files or options do not
    fit.
    """
    if model is not None:
        from serinus.serving.cli.weekly import tell_week

        if reference is not None or current is not None:
            raise click.UsageError("Give either NAME, or --reference and --current.")
        return tell_week(model, seconds_of(last), home, out, as_json=as_json)
    if reference is None or current is None:
        raise click.UsageError("Give NAME, or both of --reference and --current.")
    from serinus.monitors.errors import MonitorError
    from serinus.monitors.report import Report

    try:
        with progress_line(quiet=as_json) as progress:
            found = Report.of_files(reference, current, target, time, group, outputs=outputs, window=window,
                                    distance=distance, level=level, effect=effect, progress=progress)
    except MonitorError as error:
        raise CommandError(str(error), 2) from None
    if out is not None:
        _write(out, found.to_html())
    if as_json:
        print_json(found.to_json())
    else:
        _print(found, out)
    return int(found.drifted)


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise CommandError(f"The page cannot be written to {path}: {error.strerror}; give another --out.", 2) from None


def _print(found: Report, out: Path | None) -> None:
    click.echo(found.sentence)
    named = [feature for feature in found.features if feature.side != "joint"]
    print_table(("FEATURE", "VERDICT", "PSI", "P", "MISSING", "CHANGE"), [_cells(each) for each in named[:_SHOWN]])
    if len(named) > _SHOWN:
        click.echo(f"… and {len(named) - _SHOWN:,} more; --json has all of them.")
    for note in found.notes:
        click.echo(note)
    if out is not None:
        click.echo(f"The page with charts is {out}.")


def _cells(feature: Comparison) -> tuple[str, ...]:
    psi = "-" if feature.psi is None else f"{max(feature.psi, 0.0):.3f}"
    p = "-" if feature.p is None else f"{feature.p:.2g}"
    missing = "-" if feature.p is None else f"{feature.missing.current:.1%}"
    said = "" if feature.verdict == "same" else feature.change or feature.reason
    return feature.name, str(feature.verdict), psi, p, missing, short(said, max(width() - 60, 20))
