"""Putting models into a registry: from a training script (`register`) or from a file (`register_file`)."""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serinus.models.adapters import adapter_for, adapter_of, find_artifact
from serinus.models.errors import InvalidSignature
from serinus.models.loading import check_trust, measured_digest
from serinus.models.model import Adapter, Model
from serinus.models.registry import Registry, default_home
from serinus.models.signature import Signature
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion, check_name

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["register", "register_file", "wrap"]

_OWN = "registered by a training process on this machine"
_FLAG = "trusted by whoever registered the file"


def wrap(fitted: Any, signature: Signature | None = None, *, reference: "DataFrame | None" = None) -> Model:
    """Make a model of an object in memory: an estimator, an ONNX ModelProto, or (with a signature) a function.

    Raises UnsupportedArtifact where no adapter owns the object, InvalidSignature where its signature cannot be told.
    """
    adapter = adapter_of(fitted)
    return adapter.wrap(fitted, signature or adapter.infer_signature(fitted, reference))


def register(
    fitted: Any,
    name: str,
    *,
    reference: "DataFrame | None" = None,
    target: str | None = None,
    home: Path | None = None,
) -> ModelVersion:
    """Register a model from the script that trained it.

    What this process made, this machine trusts: the artifact's digest is remembered in `trust.toml`.

    Args:
        fitted: a fitted estimator, an ONNX ModelProto, or the path of a model file.
        name: the model's name.
        reference: rows like those it was trained with; sharpens the signature (dtypes, categories, missing values).
        target: the reference's column that the model predicts, which is dropped.
        home: the registry's folder; `$SERINUS_HOME`, else `~/.serinus`.

    Returns:
        The new version, or the existing one with the same digest and signature.
    """
    if isinstance(fitted, str | Path):
        return register_file(Path(fitted), name, home=home, reference=reference, target=target)
    check_name(name)
    adapter = adapter_of(fitted)
    signature = adapter.infer_signature(fitted, _features(reference, target))
    with tempfile.TemporaryDirectory() as folder:
        return _add(adapter, adapter.save(fitted, Path(folder)), name, signature, Path(home or default_home()))


def _add(adapter: Adapter, artifact: Path, name: str, signature: Signature, home: Path) -> ModelVersion:
    if adapter.runs_code(artifact):
        Trust(home).remember(measured_digest(artifact), _OWN)
    return Registry(home).add(name, artifact, adapter=adapter.name, signature=signature)


def register_file(
    path: Path,
    name: str,
    *,
    home: Path | None = None,
    reference: "DataFrame | None" = None,
    target: str | None = None,
    trust: Collection[str] = (),
) -> ModelVersion:
    """Register a model file, or a folder that holds one beside the files it needs.

    Args:
        path: the file or folder.
        name: the model's name.
        home: the registry's folder; `$SERINUS_HOME`, else `~/.serinus`.
        reference: rows like those it was trained with; sharpens the signature.
        target: the reference's column that the model predicts, which is dropped.
        trust: digests that may run code; the file's own, if it is among them, is remembered.

    Raises:
        UntrustedArtifact: the file runs code when loaded and its digest is not trusted; the message says how.
        UnsupportedArtifact: no adapter accepts it, or it is damaged.
        InvalidSignature: the reference does not fit the model.
    """
    check_name(name)
    path, root = Path(path), Path(home or default_home())
    artifact = find_artifact(path)
    adapter, digest = adapter_for(artifact), measured_digest(path)
    trusted = Trust(root, trust)
    check_trust(adapter, artifact, digest, trusted, name=name)
    signature = adapter.infer_signature(adapter.read(artifact), _features(reference, target))
    version = Registry(root).add(
        name, artifact, adapter=adapter.name, signature=signature, companions=_companions(path, artifact)
    )
    if digest in trust:
        trusted.remember(digest, _FLAG)
    return version


def _companions(path: Path, artifact: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [file for file in sorted(path.rglob("*")) if file.is_file() and file != artifact]


def _features(reference: "DataFrame | None", target: str | None) -> "DataFrame | None":
    if reference is None or target is None:
        return reference
    if target not in reference.columns:
        columns = ", ".join(map(str, reference.columns))
        raise InvalidSignature(f"The reference has no target column {target!r}; its columns are {columns}.")
    return reference.drop(columns=target)
