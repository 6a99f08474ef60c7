"""`serinus models export` and `import`: versions as files, and as models of BentoML's store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.options import home_option, json_option, open_home
from serinus.serving.cli.output import print_json
from serinus.serving.cli.versions import document, fields, size, warn_of_skew, what_next
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.models.version import ModelVersion

__all__ = ["export", "import_"]


@click.command("export")
@click.argument("tag", metavar="NAME[:VERSION]")
@click.argument("target", metavar="FILE|bentoml:")
@home_option
@json_option
def export(tag: str, target: str, home: Path | None, as_json: bool) -> None:
    """Write a version as one file, or put it into BentoML's model store; without VERSION the newest.

    The file is a plain zip with everything that belongs to the version: artifact, signature, card, lineage. In
    BentoML's store (BENTOML_HOME) it has the same tag; `bentoml.sklearn.load_model` or `bentoml.onnx.load_model` loads
    it.
    """
    from serinus.models.registry import Registry
    from serinus.serving.registration import BENTOML

    registry = Registry(open_home(home).path)
    version = registry.get(*registry.resolve(tag))
    if target == BENTOML:
        from serinus.models.bento import export_model

        where = f"{BENTOML}{export_model(version)}"
        said = f"Exported {version.tag} to BentoML's store: bentoml models get {version.tag}"
    elif target.startswith(BENTOML):
        raise CommandError(f"A version keeps its tag in BentoML's store: say `serinus models export {tag} {BENTOML}`.")
    else:
        where = str(_write(version, Path(target)))
        said = f"Exported {version.tag} to {where} ({size(Path(where).stat().st_size)}): serinus models import {where}"
    if as_json:
        print_json({"tag": version.tag, "digest": version.digest, "target": where})
    else:
        click.echo(said)


def _write(version: ModelVersion, path: Path) -> Path:
    from serinus.models.archive import export_version

    if path.exists():
        raise CommandError(f"{path} is there already; choose another file, or remove it.")
    try:
        export_version(version, path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


@click.command("import")
@click.argument("source", metavar="FILE|bentoml:TAG")
@click.option("--name", help="The model's name here (default: the one it had).")
@click.option("--trust", multiple=True, metavar="DIGEST",
              help="sha256:… of an artifact that may run code when it loads (pickle, joblib).")
@home_option
@json_option
def import_(source: str, name: str | None, trust: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Register an exported file, or a model of BentoML's store, under the next version number.

    Its lineage keeps the tag that it had. A file's digests are checked, and nothing in it is run: a pickle must be
    trusted before it is served. A pickle of BentoML's is loaded now, to learn its signature, so it must be trusted now.
    """
    from serinus.models.registry import Registry
    from serinus.serving.registration import import_source

    folder = open_home(home)
    registry = Registry(folder.path)
    known = {version.tag for version in registry.all()}
    version = import_source(source, home=folder.path, name=name, trust=trust, ask=not as_json)
    if as_json:
        print_json(document(version, registry, None))
        return
    done = f"{version.tag} is registered already, with the same digest" if version.tag in known \
        else f"Imported {version.lineage.origin} as {version.tag}"
    click.echo(f"{done} ({version.adapter}, {fields(version.signature.inputs)} in, "
               f"{fields(version.signature.outputs)} out).")
    warn_of_skew(version)
    click.echo(what_next(version, folder))
