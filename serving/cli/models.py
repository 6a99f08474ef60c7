"""`serinus models`: register model versions and look at them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from serinus.models.registry import Registry
from serinus.models.signature import Field
from serinus.models.version import ModelVersion, parse_tag
from serinus.serving.cli.local import known_records
from serinus.serving.cli.options import home_option, json_option, open_home
from serinus.serving.cli.output import print_json, print_table, table
from serinus.serving.errors import CommandError
from serinus.serving.home import Home
from serinus.serving.veto import read_vetoes

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """Register model versions and look at them.

    A version is immutable: the same artifact and signature give the same version, anything else the next number.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """


@command.command("register")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--reference", type=click.Path(path_type=Path),
              help="CSV or Parquet with rows like those of the training; sharpens the signature.")
@click.option("--target", help="The reference's column that the model predicts.")
@click.option("--trust", multiple=True, metavar="DIGEST",
              help="sha256:… of an artifact that may run code when it loads (pickle, joblib).")
@home_option
@json_option
def register(name: str, path: Path, reference: Path | None, target: str | None, trust: tuple[str, ...],
             home: Path | None, as_json: bool) -> None:
    """Register the model file (or folder) at PATH as the next version of NAME."""
    from serinus.serving.registration import register_path

    if target is not None and reference is None:
        raise CommandError("--target names a column of the reference: give --reference FILE too, or leave it out.")
    folder = open_home(home)
    known = set(Registry(folder.path).versions(name))
    version = register_path(path, name, home=folder.path, reference=reference, target=target, trust=trust)
    if as_json:
        print_json(_document(version, None))
        return
    done = f"{version.tag} is registered already, with the same digest" if version.version in known \
        else f"Registered {version.tag}"
    click.echo(f"{done} ({version.adapter}, {_fields(version.signature.inputs)} in, "
               f"{_fields(version.signature.outputs)} out).")
    click.echo(_what_next(version, folder))


@command.command("list")
@home_option
@json_option
def list_all(home: Path | None, as_json: bool) -> None:
    """Every version: what it is and what it does now."""
    folder = open_home(home)
    roles = _Roles(folder)
    versions = Registry(folder.path).all()
    if as_json:
        print_json([_document(version, roles.of(version)) for version in versions])
    elif not versions:
        click.echo(f"No model is registered in {folder.path}. Register one: serinus models register NAME PATH")
    else:
        print_table(("NAME", "VERSION", "ROLE", "ADAPTER", "CREATED", "DIGEST"),
                    [(version.name, version.version, roles.of(version) or "-", version.adapter, version.created,
                      version.digest[:19]) for version in versions])


@command.command("show")
@click.argument("tag", metavar="NAME[:VERSION]")
@home_option
@json_option
def show(tag: str, home: Path | None, as_json: bool) -> None:
    """One version with its signature; without VERSION the newest."""
    folder = open_home(home)
    version = Registry(folder.path).get(*parse_tag(tag))
    role = _Roles(folder).of(version)
    if as_json:
        print_json(_document(version, role))
        return
    lines = [f"{version.tag}  ({role})" if role else version.tag, f"  adapter  {version.adapter}",
             f"  digest   {version.digest}", f"  created  {version.created}",
             f"  path     {version.path / version.artifact}"]
    for side, fields in (("inputs", version.signature.inputs), ("outputs", version.signature.outputs)):
        rows = [_row(field) for field in fields]
        lines += [f"  {side}", *(f"    {line}" for line in table(("NAME", "DATATYPE", "SHAPE", "REMARKS"), rows))]
    click.echo("\n".join(lines))


@command.command("delete")
@click.argument("tag", metavar="NAME:VERSION")
@home_option
def delete(tag: str, home: Path | None) -> None:
    """Delete a version that does nothing now; its number is never given again."""
    name, number = parse_tag(tag)
    folder = open_home(home)
    registry = Registry(folder.path)
    if number is None:
        there = ", ".join(registry.versions(name)) or "none"
        raise CommandError(f"Which version of {name!r}? There are {there}: serinus models delete {name}:VERSION")
    version = registry.get(name, number)
    role = _Roles(folder).of(version)
    if role:
        raise CommandError(f"{version.tag} is {role} and may be needed at any moment, so it is not deleted. Roll out "
                           f"another version first: serinus rollout start {name}:VERSION")
    registry.delete(name, number)
    click.echo(f"Deleted {version.tag}.")


class _Roles:
    """What each version does now, as the workers of this host know it."""

    def __init__(self, home: Home) -> None:
        self._records = known_records(home)
        self._vetoes = read_vetoes(home.vetoes).by_model

    def of(self, version: ModelVersion) -> str | None:
        record, veto = self._records.get(version.name), self._vetoes.get(version.name)
        if record is None:
            return None
        if version.version == record.stable or (veto is not None and version.version == veto.stable):
            return "stable"
        if version.version == record.candidate:
            return "candidate"
        return "previous" if version.version == record.previous_at(time.time()) else None


def _what_next(version: ModelVersion, home: Home) -> str:
    """The command that makes use of a version just registered."""
    record = known_records(home).get(version.name)
    stable = record.stable if record is not None else Registry(home.path).versions(version.name)[0]
    if stable == version.version:
        return f"Serve it: serinus serve {version.name}"
    return f"Version {stable} stays stable. Try this one on part of the traffic: serinus rollout start {version.tag}"


def _document(version: ModelVersion, role: str | None) -> dict[str, Any]:
    return {"name": version.name, "version": version.version, "tag": version.tag, "role": role,
            "adapter": version.adapter, "digest": version.digest, "created": version.created,
            "path": str(version.path), "artifact": version.artifact, "signature": version.signature.to_json()}


def _row(field: Field) -> tuple[str, str, str, str]:
    remarks = ["optional"] if field.optional else []
    if field.frame_dtype:
        remarks.append(field.frame_dtype)
    if field.labels:
        remarks.append("one of " + ", ".join(map(str, field.labels[:8])) + (", …" if len(field.labels) > 8 else ""))
    return field.name, field.datatype, str(list(field.shape)), "; ".join(remarks)


def _fields(fields: tuple[Field, ...]) -> str:
    return f"{len(fields)} {'field' if len(fields) == 1 else 'fields'}"
