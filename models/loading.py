"""From an artifact to a model: find the adapter, ask for trust, check the digest, load."""

from pathlib import Path

from serinus.models.adapters import adapter_for, adapter_named, find_artifact
from serinus.models.errors import DigestMismatch, UntrustedArtifact
from serinus.models.model import Adapter, Model
from serinus.models.trust import Trust
from serinus.models.version import ArtifactFile, ModelVersion, digest_of, files_in

__all__ = ["check_trust", "load", "verify"]

ARTIFACT = "artifact"
"""The sub-folder of a version that holds the artifact's files."""


def load(source: Path | str | ModelVersion, *, trust: Trust | None = None) -> Model:
    """Make a model of a file, of a folder that holds one, or of a registered version.

    Args:
        source: where the model is.
        trust: the digests that may run code; None trusts nothing, so pickles are refused.

    Raises:
        UnsupportedArtifact: no adapter accepts it, or it is damaged.
        UntrustedArtifact: loading it would run code and its digest is not trusted.
        DigestMismatch: a version's files are not those that were registered.
    """
    if isinstance(source, ModelVersion):
        return _load_version(source, trust or Trust())
    artifact = find_artifact(Path(source))
    adapter = adapter_for(artifact)
    check_trust(adapter, artifact, measured_digest(Path(source)), trust or Trust())
    return adapter.load(artifact, None)


def _load_version(version: ModelVersion, trust: Trust) -> Model:
    verify(version)
    artifact = version.path / version.artifact
    adapter = adapter_named(version.adapter)
    check_trust(adapter, artifact, version.digest, trust, name=version.name)
    return adapter.load(artifact, version.signature)


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


def check_trust(adapter: Adapter, artifact: Path, digest: str, trust: Trust, *, name: str = "NAME") -> None:
    """Raise UntrustedArtifact if reading the artifact would run code and nobody trusts its digest."""
    if digest in trust or not adapter.runs_code(artifact):
        return
    raise UntrustedArtifact(
        f"{artifact} ({digest}) {adapter.why_code(artifact)}, and its digest is not trusted. If you know who made it, "
        f"run: serinus models register {name} {artifact} --trust {digest}"
    )
