"""Registration, composed: what the command line needs around the registry."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from serinus.models import ModelVersion, UntrustedArtifact, register_file
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["name_from", "read_reference", "register_path"]


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
    except (OSError, ValueError) as error:
        raise CommandError(f"Reference {path} cannot be read: {error}.") from None
    raise CommandError(f"Reference {path}: expected .csv or .parquet, got {path.suffix or 'no suffix'!r}.")


def register_path(path: Path, name: str | None, *, home: Path, reference: Path | None = None,
                  target: str | None = None, trust: Collection[str] = ()) -> ModelVersion:
    """Register the model at `path`. On a terminal, an artifact that runs code is asked about once."""
    if not path.exists():
        raise CommandError(f"{path}: no such file or folder.")
    frame = read_reference(reference) if reference is not None else None
    chosen = name or name_from(path)
    try:
        return register_file(path, chosen, home=home, reference=frame, target=target, trust=trust)
    except UntrustedArtifact as error:
        digest = re.search(r"sha256:[0-9a-f]{64}", str(error))
        if digest is None or not _asked(str(error)):
            raise
        return register_file(path, chosen, home=home, reference=frame, target=target, trust=[*trust, digest[0]])


def _asked(sentence: str) -> bool:
    import click

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(sentence, err=True)
    return click.confirm("Trust it now, and remember?", default=False, err=True)
