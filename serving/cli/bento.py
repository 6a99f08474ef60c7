"""`serinus bento`: build a Bento that holds chosen versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.options import home_option, open_home
from serinus.serving.cli.output import print_json
from serinus.serving.home import Home

if TYPE_CHECKING:
    from serinus.models.version import ModelVersion

__all__ = ["command"]


@click.group("bento")
def command() -> None:
    """Ship chosen versions as a Bento, BentoML's package of code and models.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """


@command.command("build")
@click.argument("tags", metavar="NAME[:VERSION]...", nargs=-1, required=True)
@click.option("--code", type=click.Path(path_type=Path, file_okay=False),
              help="Folder with your own modules that pickles refer to; it comes first on the Bento's search path.")
@click.option("--package", "packages", multiple=True, metavar="REQUIREMENT",
              help="A further library that the image installs, such as s3fs for log.url; may be said again.")
@home_option
@click.option("--json", "--output-json", "as_json", is_flag=True, help="Print JSON.")
def build(tags: tuple[str, ...], code: Path | None, packages: tuple[str, ...], home: Path | None,
          as_json: bool) -> None:
    """Build a Bento with exactly these versions, pinned by digest and read-only.

    NAME without a VERSION means its stable version, an alias the version that it stands for now. Works without network.
    The Bento goes to BENTOML_HOME (default ~/bentoml); serve it anywhere with `bentoml serve TAG`, or make an image
    with `bentoml containerize TAG`.
    """
    from serinus.models.bento import build as build_bento

    folder = open_home(home)
    versions = list({version.tag: version for version in (_version(folder, tag) for tag in tags)}.values())
    if not as_json:
        click.echo(f"Building with {', '.join(version.tag for version in versions)} …", err=True)
    built = build_bento(versions, home=folder.path, code=code, packages=packages)
    if as_json:
        print_json({"tag": built.tag, "path": str(built.path),
                    "versions": {version.tag: version.digest for version in built.versions}})
        return
    click.echo(f"Built {built.tag} in {built.path}")
    for version in built.versions:
        click.echo(f"  {version.tag}  {version.digest}")
    click.echo(f"Serve it: bentoml serve {built.tag}")


def _version(home: Home, tag: str) -> ModelVersion:
    from serinus.models.registry import Registry
    from serinus.serving.cli.local import known_records

    registry = Registry(home.path)
    name, number = registry.resolve(tag)
    if number is None:  # before any server ran, the first registered version counts as stable
        record = known_records(home).get(name)
        number = record.stable if record is not None else next(iter(registry.versions(name)), None)
    return registry.get(name, number)
