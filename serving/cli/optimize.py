"""`serinus models optimize`: a faster version that answers alike."""

from __future__ import annotations

from pathlib import Path

import click

from serinus.serving.cli.options import home_option, json_option, open_home
from serinus.serving.cli.output import print_json

__all__ = ["command"]


@click.command("optimize")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("--data", type=click.Path(path_type=Path), required=True,
              help="CSV or Parquet with rows like those the model is asked; both versions must answer them alike.")
@click.option("--target", help="The data's column with the ground truth: the cost of --quantize is measured on it.")
@click.option("--tolerance", type=click.FloatRange(min=0), default=1e-5, show_default=True,
              help="How far numbers may be apart, absolute below 1 and relative above; no label may change.")
@click.option("--quantize", is_flag=True, help="Make weights 8-bit integers; then --max-cost decides.")
@click.option("--max-cost", type=float, default=0.01, show_default=True,
              help="How much accuracy --quantize may cost: a share of labels, or of the error.")
@home_option
@json_option
def command(tag: str, data: Path, target: str | None, tolerance: float, quantize: bool, max_cost: float,
            home: Path | None, as_json: bool) -> None:
    """Convert a version to ONNX, prove that it answers alike, measure it, and register it as the next one.

    It takes and gives the same by the same names, so it can be rolled out like any other version. A model that cannot
    be converted, or answers otherwise, stays as it is. Without VERSION the newest is taken.

    Exit codes: 0 registered, 1 refused or failed, 2 wrong usage.
    """
    from serinus.models.optimize import optimize
    from serinus.models.registry import Registry
    from serinus.models.trust import Trust
    from serinus.serving.registration import read_reference

    folder = open_home(home).path
    registry = Registry(folder)
    parent = registry.get(*registry.resolve(tag))
    there = set(registry.versions(parent.name))
    done = optimize(parent, read_reference(data), registry=registry, trust=Trust(folder), target=target,
                    tolerance=tolerance, quantize=quantize, max_cost=max_cost)
    if as_json:
        print_json(done.to_json() | {"new": done.version.version not in there})
        return
    known = "is registered already" if done.version.version in there else "is registered"
    click.echo(f"{done.version.tag} {known}: {parent.tag} as {done.method}.")
    click.echo(f"  answers  {done.parity}")
    for name, parity in done.gaps.items():
        click.echo(f"  without {name}  {parity}")
    if done.cost is not None:
        click.echo(f"  costs    {done.cost}")
    for speed in done.speed:
        click.echo(f"  speed    {speed}")
    click.echo(f"Try it on part of the traffic: serinus rollout start {done.version.tag}")
