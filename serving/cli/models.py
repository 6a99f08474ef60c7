"""`serinus models`: register model versions, look at them, name and delete them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.evaluate import evaluate, exit_code, print_gate, replay
from serinus.serving.cli.exchange import export, import_
from serinus.serving.cli.expectations import command as expectations
from serinus.serving.cli.expectations import personal_notes
from serinus.serving.cli.loading import load, unload
from serinus.serving.cli.optimize import command as optimize
from serinus.serving.cli.options import actor_or_user, home_option, json_option, open_home
from serinus.serving.cli.output import print_json, print_table
from serinus.serving.cli.progress import progress_line
from serinus.serving.cli.recalibrate import command as recalibrate
from serinus.serving.cli.versions import (
    Roles,
    aliases_of,
    description,
    document,
    fields,
    reference_notes,
    size,
    warn_of_skew,
    what_next,
)
from serinus.serving.errors import CommandError
from serinus.serving.home import Home

if TYPE_CHECKING:
    from serinus.models.registry import Registry
    from serinus.models.version import ModelVersion
    from serinus.monitors.evaluation import Gate

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """Register model versions and look at them.

    A version is immutable: the same artifact and signature give the same version, anything else the next number. An
    alias is a movable name for a version: it may stand wherever a number may, as in `iris:production`.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """


@command.command("register")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--reference", type=click.Path(path_type=Path),
              help="CSV or Parquet with rows like those of the training: sharpens the signature, and is what live rows "
                   "are compared with.")
@click.option("--target", help="The reference's column that the model predicts.")
@click.option("--time", "time_column", help="The reference's column that says when a row was made; it puts the rows in "
                                            "order. Without it they count as in order.")
@click.option("--group", help="The reference's column that says whose a row is; no feature.")
@click.option("--seasons", is_flag=True, help="Also learn hours of working days and of weekends; needs --time.")
@click.option("--signature", type=click.Path(path_type=Path),
              help="JSON file with the signature, as `models show --json` prints it, where you know better.")
@click.option("--card", type=click.Path(path_type=Path),
              help="JSON file with the model card: description, owner, intended_use, limitations, training_data, "
                   "license, metrics, tags.")
@click.option("--expectations", type=click.Path(path_type=Path),
              help="What is expected of the inputs' values: JSON as `models expectations --json` prints it, or a "
                   "pandera schema in YAML. Without it they are learnt from the reference.")
@click.option("--trust", multiple=True, metavar="DIGEST",
              help="sha256:… of an artifact that may run code when it loads (pickle, joblib).")
@click.option("--evaluate", "evaluation", type=click.Path(path_type=Path),
              help="CSV or Parquet: rows with the --target that the model has not seen; judge the version by them, see "
                   "`models evaluate`.")
@click.option("--policy", type=click.Path(path_type=Path), help="TOML file of what --evaluate asks for.")
@home_option
@json_option
def register(name: str, path: Path, reference: Path | None, target: str | None, time_column: str | None,
             group: str | None, seasons: bool, signature: Path | None, card: Path | None, expectations: Path | None,
             trust: tuple[str, ...], evaluation: Path | None, policy: Path | None, home: Path | None,
             as_json: bool) -> int:
    """Register the model file (or folder) at PATH as the next version of NAME.

    With --evaluate the version is registered whatever the verdict, and the exit code says it: 0 it passed, 1 it
    failed, 2 the data do not fit, 3 undecided.
    """
    from serinus.models.registry import Registry
    from serinus.serving.expectations import expectations_of
    from serinus.serving.registration import register_path

    folder = open_home(home)
    registry = Registry(folder.path)
    known = set(registry.versions(name))
    if seasons and time_column is None:
        raise click.UsageError("--seasons needs --time: a season is an hour of the day.")
    if evaluation is not None and target is None:
        raise click.UsageError("--evaluate needs --target: the column that the model predicts.")
    if policy is not None and evaluation is None:
        raise click.UsageError("--policy needs --evaluate: it says what is asked of the evaluation.")
    with progress_line(quiet=as_json) as progress:
        version = register_path(path, name, home=folder.path, reference=reference,
                                target=None if evaluation is not None and reference is None else target,
                                signature=signature,
                                trust=trust, card=card, expectations=expectations, ask=not as_json, time=time_column,
                                group=group, seasons=seasons, progress=progress)
    if as_json:
        return _told(version, registry, folder, evaluation, target, policy, group)
    done = f"{version.tag} is registered already, with the same digest" if version.version in known \
        else f"Registered {version.tag}"
    click.echo(f"{done} ({version.adapter}, {fields(version.signature.inputs)} in, "
               f"{fields(version.signature.outputs)} out).")
    for note in personal_notes(expectations_of(version, registry)):
        click.echo(note)
    for line in reference_notes(version, registry, given=reference is not None, known=version.version in known):
        click.echo(line)
    warn_of_skew(version)
    if evaluation is not None and target is not None:
        gate = _judged(version, folder, evaluation, target, policy, group, quiet=False)
        print_gate(gate)
        if code := exit_code(gate):
            return code
    click.echo(what_next(version, folder))
    return 0


def _told(version: ModelVersion, registry: Registry, folder: Home, evaluation: Path | None, target: str | None,
          policy: Path | None, group: str | None) -> int:
    """Print a version, and the verdict on it where one was asked for, as JSON."""
    if evaluation is None or target is None:
        print_json(document(version, registry, None))
        return 0
    gate = _judged(version, folder, evaluation, target, policy, group, quiet=True)
    print_json(document(version, registry, None) | {"gate": gate.to_json()})
    return exit_code(gate)


def _judged(version: ModelVersion, folder: Home, data: Path, target: str, policy: Path | None, group: str | None, *,
            quiet: bool) -> Gate:
    from serinus.serving.evaluation import Asked, read_policy
    from serinus.serving.evaluation import evaluate as judge

    asked = Asked(version.tag, data, target, policy=read_policy(policy), group=group, by=actor_or_user(None))
    with progress_line(quiet=quiet) as progress:
        return judge(asked, folder, progress).gate


@command.command("list")
@home_option
@json_option
def list_all(home: Path | None, as_json: bool) -> None:
    """Every version: what it is, what it is called, and what it does now."""
    from serinus.models.registry import Registry

    folder = open_home(home)
    roles, registry = Roles(folder), Registry(folder.path)
    versions = registry.all()
    if as_json:
        print_json([document(version, registry, roles.of(version)) for version in versions])
    elif not versions:
        click.echo(f"No model is registered in {folder.path}. Register one: serinus models register NAME PATH")
    else:
        print_table(("NAME", "VERSION", "ROLE", "ALIASES", "ADAPTER", "SIZE", "SKEW", "CREATED", "DIGEST"),
                    [(version.name, version.version, roles.of(version) or "-",
                      ",".join(aliases_of(registry, version)) or "-", version.adapter, size(version.size),
                      _skewed(version), version.created, version.digest[:19]) for version in versions])


def _skewed(version: ModelVersion) -> str:
    """The libraries that are installed in other versions than those that a version was made with."""
    from serinus.models.libraries import relevant, skew

    return ",".join(phrase.split()[0] for phrase in skew(relevant(version.adapter, version.libraries))) or "-"


@command.command("show")
@click.argument("tag", metavar="NAME[:VERSION]")
@home_option
@json_option
def show(tag: str, home: Path | None, as_json: bool) -> None:
    """One version with card, lineage and signature; without VERSION the newest."""
    from serinus.models.registry import Registry

    folder = open_home(home)
    registry = Registry(folder.path)
    version = registry.get(*registry.resolve(tag))
    role = Roles(folder).of(version)
    if as_json:
        print_json(document(version, registry, role))
    else:
        click.echo("\n".join(description(version, registry, role, folder)))


@command.command("alias")
@click.argument("name")
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--delete", is_flag=True, help="Remove the alias.")
@home_option
@json_option
def alias(name: str, alias: str, version: str | None, delete: bool, home: Path | None, as_json: bool) -> None:
    """Let ALIAS stand for VERSION of NAME from now on: `serinus serve NAME:ALIAS`, `rollout start NAME:ALIAS` …

    It is looked up when a command runs: moving it changes nothing that is served already.
    """
    from serinus.models.registry import Registry

    if (version is None) != delete:
        raise click.UsageError("Give the VERSION that the alias shall stand for, or --delete.")
    registry = Registry(open_home(home).path)
    if version is None:
        before: str | None = registry.unalias(name, alias)
        said = f"{name}:{alias} is gone; it stood for version {before}."
    else:
        number = registry.get(*registry.resolve(f"{name}:{version}")).version
        before = registry.alias(name, alias, number)
        said = f"{name}:{alias} stands for version {number}" + (f", before for {before}." if before else ".")
    if as_json:
        print_json({"name": name, "alias": alias, "before": before, "aliases": registry.aliases(name)})
    else:
        click.echo(said)


@command.command("trust")
@click.argument("digests", metavar="DIGEST...", nargs=-1, required=True)
@home_option
def trust(digests: tuple[str, ...], home: Path | None) -> None:
    """Trust artifacts (sha256:…) that run code when they load, from now on and on this home.

    A trusted pickle is still a program: trust says that you know who made it, not that it is harmless. What is trusted
    stands in trust.toml in the home.
    """
    from serinus.models.trust import Trust

    folder = open_home(home)
    trusted = Trust(folder.path, digests)
    for digest in digests:
        trusted.remember(digest, "trusted by command")
        click.echo(f"{digest} is trusted in {folder.path}.")


@command.command("delete")
@click.argument("tag", metavar="NAME:VERSION")
@click.option("--force", is_flag=True, help="Even where aliases stand for it; they are removed too.")
@home_option
def delete(tag: str, force: bool, home: Path | None) -> None:
    """Delete a version that does nothing now; its number is never given again."""
    from serinus.models.registry import Registry

    folder = open_home(home)
    registry = Registry(folder.path)
    name, number = registry.resolve(tag)
    if number is None:
        there = ", ".join(registry.versions(name)) or "none"
        raise CommandError(f"Which version of {name!r}? There are {there}: serinus models delete {name}:VERSION")
    version = registry.get(name, number)
    role = Roles(folder).of(version)
    if role:
        raise CommandError(f"{version.tag} is {role} and may be needed at any moment, so it is not deleted. Roll out "
                           f"another version first: serinus rollout start {name}:VERSION")
    registry.delete(name, number, force=force)
    click.echo(f"Deleted {version.tag}.")


command.add_command(evaluate)
command.add_command(replay)
command.add_command(expectations)
command.add_command(export)
command.add_command(import_)
command.add_command(load)
command.add_command(unload)
command.add_command(optimize)
command.add_command(recalibrate)
