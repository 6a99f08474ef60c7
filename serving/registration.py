"""Registration, composed: what the command line needs around the registry."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from time import time as now
from typing import TYPE_CHECKING, TypeVar

from serinus.models import (
    Card,
    InvalidSignature,
    ModelVersion,
    Registry,
    Signature,
    Trust,
    UntrustedArtifact,
    register_file,
)
from serinus.models.errors import ModelError, one_line
from serinus.models.loading import check_version_trust
from serinus.monitors.builder import Progress
from serinus.monitors.errors import InvalidData, MonitorError
from serinus.monitors.personal_data import found_in
from serinus.serving.errors import CommandError, SerinusError
from serinus.serving.expectations import keep_expectations
from serinus.serving.home import Home
from serinus.serving.references import Chosen, Columns, Made, attached, choose, keep_reference
from serinus.serving.store import SqliteStore

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["complete", "ensure_trusted", "import_source", "name_from", "personal_columns", "read_card",
           "read_reference", "read_signature", "register_path", "set_reference", "with_trust"]

BENTOML = "bentoml:"
"""Begins what stands for a model in BentoML's store, where else a file would stand."""

_TRUSTED = "trusted by a person at a terminal"

Done = TypeVar("Done")


def name_from(path: Path) -> str:
    """A model name made of a file name: lower case, dashes for what a name may not hold."""
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")
    return name[:63] or "model"


def read_reference(path: Path) -> pd.DataFrame:
    """The frame in a CSV or Parquet file, by its suffix."""
    import pandas as pd

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if path.suffix.lower() in (".csv", ".gz", ".txt"):
            return pd.read_csv(path)
    except FileNotFoundError:
        raise CommandError(f"Reference {path}: no such file.") from None
    except (OSError, ValueError) as error:
        raise CommandError(f"Reference {path} cannot be read: {one_line(error)}.") from None
    raise CommandError(f"Reference {path}: expected .csv or .parquet, got {path.suffix or 'no suffix'!r}.")


def read_card(path: Path) -> Card:
    """The model card in a JSON file."""
    try:
        return Card.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise CommandError(f"Card {path}: no such file.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"Card {path} cannot be read as JSON: {one_line(error)}.") from None


def read_signature(path: Path) -> Signature:
    """The signature in a JSON file, alone or within what `serinus models show --json` prints."""
    try:
        document = json.loads(path.read_bytes())
        inner = document.get("signature", document) if isinstance(document, dict) else document
        return Signature.from_json(inner)
    except FileNotFoundError:
        raise CommandError(f"Signature {path}: no such file.") from None
    except InvalidSignature as error:
        raise CommandError(f"Signature {path}: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"Signature {path} cannot be read as JSON: {one_line(error)}.") from None


def register_path(path: Path, name: str | None, *, home: Path, reference: Path | None = None,
                  target: str | None = None, signature: Path | None = None, trust: Collection[str] = (),
                  card: Path | None = None, expectations: Path | None = None, ask: bool = True,
                  time: str | None = None, group: str | None = None, seasons: bool = False,
                  progress: Progress | None = None) -> ModelVersion:
    """Register the model at `path`. On a terminal, and with `ask`, an artifact that runs code is asked about once."""
    if not path.exists():
        raise CommandError(f"{path}: no such file or folder.")
    for option, given_column in (("--target", target), ("--time", time), ("--group", group)):
        if given_column is not None and reference is None:
            raise CommandError(f"{option} names a column of the reference: give --reference FILE too, or leave it out.")
    columns = Columns(target, time, group)
    whole = read_reference(reference) if reference is not None else None
    frame = None if whole is None else Columns(None, time, group).features(whole)
    facts = read_card(card) if card is not None else None
    given = read_signature(signature) if signature is not None else None

    def attempt(trusted: Collection[str]) -> ModelVersion:
        return register_file(path, name or name_from(path), home=home, reference=frame, target=target,
                             signature=given, trust=trusted, card=facts)

    try:
        version = with_trust(attempt, trust, home=home, ask=ask)
        keep_expectations(version, home, None if whole is None else columns.features(whole), expectations)
        if reference is not None and whole is not None and not attached(Registry(home), version):
            keep_reference(version, home, whole, columns, seasons=seasons, source={"file": reference.name},
                           progress=progress)
        return version
    except InvalidData as error:
        raise CommandError(f"Reference {reference}: {error}") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be registered in {home}: {one_line(error)}.") from None


def personal_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that seem to hold personal data, by their names or their values."""
    return [found.column for found in found_in(frame)]


def complete(version: ModelVersion, home: Path, frame: pd.DataFrame, target: str | None) -> None:
    """Keep what monitors need of a reference that a training script registered a version with.

    What cannot be watched is no reason not to serve it: then a warning says so, and the first live rows are learnt.
    """
    columns = Columns(target)
    try:
        keep_expectations(version, home, columns.features(frame))
        if not attached(Registry(home), version):
            keep_reference(version, home, frame, columns)
    except (ModelError, MonitorError, SerinusError, OSError) as error:
        warnings.warn(f"{version.tag} is registered, but has no reference for its monitors: {error}", stacklevel=3)


def set_reference(tag: str, path: Path, *, home: Home, columns: Columns, seasons: bool, by: str, reason: str,
                  progress: Progress | None = None) -> Made:
    """Compare a version with the rows of a file from now on; who says so and why is kept in the journal."""
    registry = Registry(home.path)
    version = registry.get(*registry.resolve(tag))
    try:
        made = keep_reference(version, home.path, read_reference(path), columns, seasons=seasons,
                              source={"file": path.name}, progress=progress)
    except InvalidData as error:
        raise CommandError(f"Reference {path}: {error}") from None
    store = SqliteStore(home.store, create=True)
    try:
        choose(store, version.name, version.version, Chosen(made.profile.digest, "set", by, reason, now()))
    finally:
        store.close()
    return made


def import_source(source: str, *, home: Path, name: str | None = None, trust: Collection[str] = (),
                  ask: bool = True) -> ModelVersion:
    """Register what `source` stands for: an exported file, or `bentoml:TAG`."""
    try:
        if not source.startswith(BENTOML):
            from serinus.models.archive import import_archive

            version = import_archive(Path(source), Registry(home), name=name)
            if version.digest in trust:
                Trust(home).remember(version.digest, "trusted by whoever imported it")
            return version
        return with_trust(lambda trusted: _import_model(source, home, name, trusted), trust, home=home, ask=ask)
    except OSError as error:
        raise CommandError(f"{source} cannot be imported into {home}: {one_line(error)}.") from None


def _import_model(source: str, home: Path, name: str | None, trust: Collection[str]) -> ModelVersion:
    from serinus.models.bento import import_model

    command = f"serinus models import {source}" + (f" --name {name}" if name else "")
    return import_model(source.removeprefix(BENTOML), home=home, name=name, trust=trust, command=command)


def ensure_trusted(version: ModelVersion, home: Path, *, trust: Sequence[str] = (), ask: bool = True) -> None:
    """Raise UntrustedArtifact unless a version may be loaded; on a terminal, and with `ask`, a person is asked."""
    with_trust(lambda trusted: check_version_trust(version, Trust(home, trusted)), trust, home=home, ask=ask)
    if version.digest in trust:
        Trust(home).remember(version.digest, "trusted by whoever served it")


def with_trust(attempt: Callable[[Collection[str]], Done], trust: Collection[str], *, home: Path, ask: bool) -> Done:
    """Attempt something that may need trust. Refused, a person is asked once; a yes is remembered, a no refuses."""
    try:
        return attempt(trust)
    except UntrustedArtifact as error:
        if not (ask and error.digest and _confirmed(error)):
            raise
        Trust(home).remember(error.digest, _TRUSTED)
        return attempt([*trust, error.digest])


def _confirmed(refusal: UntrustedArtifact) -> bool:
    import click

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(refusal.reason, err=True)
    return click.confirm("Do you know who made it, and trust it from now on?", default=False, err=True)
