"""From an artifact to a model: find the adapter, ask for trust, check the digest, load, compare its answers."""

import logging
import shlex
from pathlib import Path

from serinus.models.adapters import adapter_for, adapter_named, find_artifact
from serinus.models.checks import CHECK, Check
from serinus.models.errors import DigestMismatch, UntrustedArtifact
from serinus.models.home import default_home
from serinus.models.libraries import relevant, skew
from serinus.models.model import Adapter, Model
from serinus.models.trust import Trust
from serinus.models.version import ArtifactFile, ModelVersion, digest_of, files_in

__all__ = ["check_trust", "check_version_trust", "load", "measured_digest", "quoted", "verify"]

_log = logging.getLogger("serinus.models")

ARTIFACT = "artifact"
"""The sub-folder of a version that holds the artifact's files."""


def load(source: Path | str | ModelVersion, *, trust: Trust | None = None) -> Model:
    """Make a model of a file, of a folder that holds one, or of a registered version.

    A version whose libraries differ from those it was made with, or that answers its made-up rows unlike it did when
    it was registered, is loaded all the same: a line of the log says so.

    Args:
        source: where the model is.
        trust: the digests that may run code; None trusts nothing, so pickles are refused.

    Raises:
        UnsupportedArtifact: no adapter accepts it, or it is damaged.
        UntrustedArtifact: loading it would run code and its digest is not trusted.
        DigestMismatch: a version's files are not those that were registered.
    """
    trust = Trust() if trust is None else trust
    if isinstance(source, ModelVersion):
        return _load_version(source, trust)
    artifact = find_artifact(Path(source))
    adapter = adapter_for(artifact)
    check_trust(adapter, artifact, measured_digest(Path(source)), trust)
    return adapter.load(artifact, None)


def _load_version(version: ModelVersion, trust: Trust) -> Model:
    verify(version)
    check_version_trust(version, trust)
    model = adapter_named(version.adapter).load(version.path / version.artifact, version.signature)
    for doubt in _doubts(version, model):
        _log.warning("%s %s", version.tag, doubt)
    return model


def _doubts(version: ModelVersion, model: Model) -> list[str]:
    """Say why this model may not answer as it did where it was made."""
    doubts = []
    libraries = "; ".join(skew(relevant(version.adapter, version.libraries)))
    if libraries:
        doubts.append(f"was made with other libraries ({libraries}), so its answers may differ from those of training.")
    try:
        check = Check.from_bytes((version.path / CHECK).read_bytes())
    except (OSError, ValueError):  # registered before there were checks, or none could be made
        return doubts
    unlike = check.difference(model)
    if unlike is not None:
        why = libraries or "the libraries are the same"
        doubts.append(f"does not answer as it did when it was registered: {unlike} on made-up rows ({why}).")
    return doubts


def measured_digest(source: Path) -> str:
    """Give the digest of a file, or of all files in a folder."""
    return digest_of(files_in(source) if source.is_dir() else [ArtifactFile.of(source, source.parent)])


def verify(version: ModelVersion) -> None:
    """Read the version's files. Raises DigestMismatch unless they are those that were registered."""
    found = digest_of(files_in(version.path / ARTIFACT))
    if found != version.digest:
        raise DigestMismatch(
            f"The files of {version.tag} in {version.path} changed after registration: "
            f"wanted {version.digest}, got {found}; register the model again."
        )


def check_version_trust(version: ModelVersion, trust: Trust) -> None:
    """Raise UntrustedArtifact if loading a version would run code and nobody trusts its digest."""
    command = f"serinus models trust {version.digest}"
    check_trust(adapter_named(version.adapter), version.path / version.artifact, version.digest, trust, command=command)


def check_trust(adapter: Adapter, artifact: Path, digest: str, trust: Trust, *, command: str | None = None) -> None:
    """Raise UntrustedArtifact if reading the artifact would run code and nobody trusts its digest.

    `command` is what a person would run to trust it.
    """
    if digest in trust or not adapter.runs_code(artifact):
        return
    reason = f"{artifact} ({digest}) {adapter.why_code(artifact)}, and its digest is not trusted."
    command = command or f"serinus models register NAME {quoted(artifact)} --trust {digest}"
    elsewhere = trust.home is not None and trust.home.absolute() != default_home().absolute()
    home = f" --home {quoted(trust.home)}" if trust.home is not None and elsewhere else ""
    raise UntrustedArtifact(f"{reason} If you know who made it, run: {command}{home}", digest, reason)


def quoted(path: Path) -> str:
    """Give a path as a word of a shell command."""
    return shlex.quote(str(path))
