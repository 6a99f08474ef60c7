"""Where a version comes from: data, code, parent, who; gathered as well as it can be, and never a reason to fail."""

import getpass
import hashlib
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Lineage", "data_digest"]

_GIT_S = 3.0


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from; None is what nobody knows.

    Attributes:
        data: "sha256:…" of the training data; of the reference where nothing else is said (see `data_digest`).
        rows: how many rows that data has.
        commit: the git commit of the folder in which the registering process worked.
        dirty: whether that folder had changes that were not committed.
        parent: the tag of the version that this one was made of: optimised, retrained.
        step: what made it of its parent, in a few words or as a command.
        origin: where it was imported from: its tag in another registry, `bentoml:TAG`.
        who: user and host that registered it.
    """

    data: str | None = None
    rows: int | None = None
    commit: str | None = None
    dirty: bool | None = None
    parent: str | None = None
    step: str | None = None
    origin: str | None = None
    who: str | None = None

    def completed(self, data: "DataFrame | None" = None, folder: Path | None = None) -> "Lineage":
        """Fill in what this process can tell and is not known yet: commit, who, and the digest of `data`."""
        found = {**_git(folder or Path()), "who": _who()}
        if data is not None and self.data is None:
            found |= {"data": data_digest(data), "rows": len(data)}
        return replace(self, **{key: value for key, value in found.items() if getattr(self, key) is None})

    def to_json(self) -> dict[str, Any]:
        """Give the lineage as JSON values; what is not known is left out."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}

    @classmethod
    def from_json(cls, document: Any) -> "Lineage":
        """Read what `to_json` wrote; what another Serinus knows and this one does not is passed over."""
        if not isinstance(document, Mapping):
            raise ValueError(f"lineage must be an object, got {document!r}")
        return cls(**{item.name: document[item.name] for item in fields(cls) if item.name in document})


def data_digest(data: "DataFrame") -> str | None:
    """Give the SHA-256 of a frame's column names, dtypes and values; the index does not count.

    The same rows in the same order have the same digest, whichever file they came from. None where values
    cannot be hashed (lists, arrays).
    """
    from pandas.util import hash_pandas_object

    head = "".join(f"{name}\t{dtype}\n" for name, dtype in data.dtypes.items())
    try:
        rows = hash_pandas_object(data, index=False).to_numpy().tobytes()
    except TypeError:
        return None
    return f"sha256:{hashlib.sha256(head.encode() + rows).hexdigest()}"


def _git(folder: Path) -> dict[str, Any]:
    # A repository's own settings may name programs that `git status` would run; fsmonitor is the one that counts.
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"}, capture_output=True, timeout=_GIT_S,
            text=True, errors="replace", stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if not commits or not commits[0].isalnum():  # a repository without a commit says "(initial)"
        return {}
    return {"commit": commits[0], "dirty": any(not line.startswith("#") for line in lines)}


def _who() -> str | None:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have a number only
        return f"uid-{os.getuid()}@{socket.gethostname()}"
