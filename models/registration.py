"""Putting models into a registry: from a training script (`register`) or from a file (`register_file`)."""

import tempfile
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import serinus
from serinus.models.adapters import adapter_for, adapter_of, find_artifact
from serinus.models.card import Card
from serinus.models.checks import CHECK, Check
from serinus.models.errors import InvalidSignature, UnsupportedArtifact, one_line
from serinus.models.examples import example_rows
from serinus.models.home import default_home
from serinus.models.libraries import installed
from serinus.models.lineage import Lineage
from serinus.models.loading import check_trust, measured_digest, quoted
from serinus.models.model import Adapter, Model
from serinus.models.registry import Registry
from serinus.models.signature import Signature
from serinus.models.synthetic import synthetic_frame, synthetic_rows
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
    signature: Signature | None = None,
    home: Path | None = None,
    card: Card | Mapping[str, Any] | None = None,
    lineage: Lineage | None = None,
    attachments: Mapping[str, bytes] | None = None,
) -> ModelVersion:
    """Register a model from the script that trained it.

    What this process made, this machine trusts: the artifact's digest is remembered in `trust.toml`. The saved file
    is loaded back, and must answer a few made-up rows as the fitted object does; rows and answers are kept, and
    compared again whenever the version is loaded.

    Args:
        fitted: a fitted estimator, an ONNX ModelProto, or the path of a model file.
        name: the model's name.
        reference: rows like those it was trained with; sharpens the signature (dtypes, categories, missing values),
            and is what live rows are compared with.
        target: the reference's column that the model predicts, which is dropped.
        signature: what the model takes and gives, where you know it better than can be inferred.
        home: the registry's folder; `$SERINUS_HOME`, else `~/.serinus`.
        card: what people should know of it, as a `Card` or its keys.
        lineage: where it comes from, as far as you know better: the rest (commit, who, the reference's digest) is
            filled in.
        attachments: further bytes to keep with the version, by relative path.

    Returns:
        The new version, or the existing one with the same digest and signature.

    Raises:
        UnsupportedArtifact: no adapter owns the object, or it answers otherwise when it is loaded back.
        InvalidSignature: the reference does not fit the model.
    """
    about = _About(card, lineage, attachments or {}, reference, target, signature)
    root = Path(home or default_home())
    if isinstance(fitted, str | Path):
        return _completed(_register_file(Path(fitted), name, root, (), about), root, reference, target)
    check_name(name)
    adapter = adapter_of(fitted)
    signature = about.signature_of(adapter, fitted)
    about.check(name, fitted, adapter.wrap(fitted, signature))
    with tempfile.TemporaryDirectory() as folder:
        artifact = adapter.save(fitted, Path(folder))
        about.check_again(name, adapter.load(artifact, signature))
        if adapter.runs_code(artifact):
            Trust(root).remember(measured_digest(artifact), _OWN)
        version = about.add(root, name, artifact, adapter, signature)
    return _completed(version, root, reference, target)


def register_file(
    path: Path,
    name: str,
    *,
    home: Path | None = None,
    reference: "DataFrame | None" = None,
    target: str | None = None,
    signature: Signature | None = None,
    trust: Collection[str] = (),
    card: Card | Mapping[str, Any] | None = None,
    lineage: Lineage | None = None,
    attachments: Mapping[str, bytes] | None = None,
    libraries: Mapping[str, str] | None = None,
    command: str | None = None,
) -> ModelVersion:
    """Register a model file, or a folder that holds one beside the files it needs.

    Args:
        path: the file or folder.
        name: the model's name.
        home: the registry's folder; `$SERINUS_HOME`, else `~/.serinus`.
        reference: rows like those it was trained with; sharpens the signature.
        target: the reference's column that the model predicts, which is dropped.
        signature: what the model takes and gives, where you know it better than can be inferred.
        trust: digests that may run code; the file's own, if it is among them, is remembered.
        card: what people should know of it, as a `Card` or its keys.
        lineage: where it comes from, as far as you know better.
        attachments: further bytes to keep with the version, by relative path.
        libraries: the versions it was made with, by distribution name, where they are not the installed ones.
        command: what a person runs to register it, where that is not `serinus models register NAME PATH`; the
            refusal of a file that is not trusted says it, with the flag to add.

    Raises:
        UntrustedArtifact: the file runs code when loaded and its digest is not trusted; the message says how.
        UnsupportedArtifact: no adapter accepts it, or it is damaged.
        InvalidSignature: the reference does not fit the model.
    """
    about = _About(card, lineage, attachments or {}, reference, target, signature)
    about.libraries |= libraries or {}
    return _register_file(Path(path), name, Path(home or default_home()), trust, about, command)


def _completed(version: ModelVersion, home: Path, reference: "DataFrame | None", target: str | None) -> ModelVersion:
    """Let the composition keep what monitors need of the reference, beside the version."""
    if reference is not None:
        import_module(serinus._COMPOSITION).complete(version, home, reference, target)
    return version


class _About:
    """What is registered beside the artifact itself."""

    def __init__(
        self,
        card: Card | Mapping[str, Any] | None,
        lineage: Lineage | None,
        attachments: Mapping[str, bytes],
        reference: "DataFrame | None",
        target: str | None,
        signature: Signature | None,
    ) -> None:
        self.card = card if isinstance(card, Card | None) else Card.from_json(card)
        self.features = _features(reference, target)
        self._reference = reference
        self._signature = signature
        self.libraries: dict[str, str] = {}
        self._attachments = attachments
        self._lineage = lineage or Lineage()
        self._check: Check | None = None

    def signature_of(self, adapter: Adapter, fitted: Any) -> Signature:
        """Infer what the model takes and gives, or see that it answers as the given signature says."""
        if self._signature is None:
            return _without_personal_labels(adapter.infer_signature(fitted, self.features), self.features)
        _try(adapter.wrap(fitted, self._signature), self._signature)
        return self._signature

    def read(self, adapter: Adapter, artifact: Path) -> Any:
        """Read a file; where it says which scikit-learn wrote it, that is the one the model was made with."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = adapter.read(artifact)
        for warning in caught:
            wrote = getattr(warning.message, "original_sklearn_version", None)
            if isinstance(wrote, str):
                self.libraries["scikit-learn"] = wrote
        return fitted

    def check(self, name: str, fitted: Any, model: Model) -> None:
        """Keep what a model answers to made-up rows, where it answers any.

        Raises UnsupportedArtifact where the fitted object itself gives other answers to a frame as in training.
        """
        self._check = Check.of(model, synthetic_rows(model.signature, self.features))
        columns = [field.name for field in model.signature.inputs]
        if self._check is None or self.features is None or not set(columns) <= set(self.features.columns):
            return
        unlike = self._check.difference_to_fitted(fitted, synthetic_frame(self.features[columns]))
        if unlike is not None:
            raise UnsupportedArtifact(
                f"{name!r} is not registered, for as it would be served it does not answer as the fitted object does: "
                f"{unlike}; see that the reference has the columns and dtypes of the training data."
            )

    def check_again(self, name: str, loaded: Model) -> None:
        """Raise UnsupportedArtifact unless the model that was loaded back gives the same answers."""
        unlike = self._check.difference(loaded) if self._check else None
        loaded.close()
        if unlike is not None:
            raise UnsupportedArtifact(
                f"{name!r} is not registered, for the saved model does not answer as the fitted one does: {unlike}; "
                "see that all it learned is kept when it is pickled."
            )

    def add(
        self,
        home: Path,
        name: str,
        artifact: Path,
        adapter: Adapter,
        signature: Signature,
        companions: Collection[Path] = (),
    ) -> ModelVersion:
        """Put the artifact into the registry of a home, with all that is known of it."""
        check = self._check.to_bytes() if self._check else None
        return Registry(home).add(
            name,
            artifact,
            adapter=adapter.name,
            signature=signature,
            companions=tuple(companions),
            attachments={**({CHECK: check} if check else {}), **self._attachments},
            card=self.card,
            lineage=self._lineage.completed(self._reference),
            libraries=installed() | self.libraries,
        )


def _register_file(
    path: Path, name: str, home: Path, trust: Collection[str], about: _About, command: str | None = None
) -> ModelVersion:
    check_name(name)
    artifact = find_artifact(path)
    adapter, digest = adapter_for(artifact), measured_digest(path)
    trusted = Trust(home, trust)
    command = command or f"serinus models register {name} {quoted(path)}"
    check_trust(adapter, artifact, digest, trusted, command=f"{command} --trust {digest}")
    fitted = about.read(adapter, artifact)
    try:
        signature = about.signature_of(adapter, fitted)
    except (UnsupportedArtifact, InvalidSignature) as error:
        raise type(error)(f"{artifact}: {error}") from error
    about.check(name, fitted, adapter.wrap(fitted, signature))
    version = about.add(home, name, artifact, adapter, signature, _companions(path, artifact, adapter))
    if digest in trust:
        trusted.remember(digest, _FLAG)
    return version


def _without_personal_labels(signature: Signature, features: "DataFrame | None") -> Signature:
    """List no categories of columns that seem to be personal; only a pandas category cannot be restored without."""
    if features is None or not any(field.labels for field in signature.inputs):
        return signature
    personal = import_module(serinus._COMPOSITION).personal_columns(features)
    inputs = [
        replace(field, labels=None)
        if field.labels and field.name in personal and not str(field.frame_dtype).startswith("category")
        else field
        for field in signature.inputs
    ]
    return replace(signature, inputs=tuple(inputs))


def _try(model: Model, signature: Signature) -> None:
    """Raise InvalidSignature unless made-up rows of a signature are answered as it says."""
    try:
        answer = model.predict(example_rows(signature, 2))
    except Exception as error:
        raise InvalidSignature(
            f"The given signature does not fit the model, which cannot answer rows of it: {one_line(error)}"
        ) from error
    for field in signature.outputs:
        array = answer[field.name]
        fits = len(array.shape) == len(field.shape) and all(
            wanted in (-1, length) for wanted, length in zip(field.shape, array.shape, strict=True)
        )
        if array.dtype != field.dtype or (field.shape and not fits):
            raise InvalidSignature(
                f"The given signature says that output {field.name!r} is {field.datatype} {list(field.shape)}, and the "
                f"model gives {array.dtype} {list(array.shape)}."
            )


def _companions(path: Path, artifact: Path, adapter: Adapter) -> list[Path]:
    if not path.is_dir():
        return adapter.companions(artifact)
    return [file for file in sorted(path.rglob("*")) if file.is_file() and file != artifact]


def _features(reference: "DataFrame | None", target: str | None) -> "DataFrame | None":
    if reference is None or target is None:
        return reference
    if target not in reference.columns:
        columns = ", ".join(map(str, reference.columns))
        raise InvalidSignature(f"The reference has no target column {target!r}; its columns are {columns}.")
    return reference.drop(columns=target)
