"""What is expected of a version's inputs: learnt at registration, kept beside the version, watched over by a guard.

The expectations are an attachment, `expectations.json`. A version without it (it was registered from a training script,
or lives in memory only) is held to what its signature declares.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from serinus.models.errors import ModelError, one_line
from serinus.models.registry import Registry
from serinus.models.signature import Signature
from serinus.models.version import ModelVersion
from serinus.monitors.errors import InvalidExpectation
from serinus.monitors.personal_data import Redactor, found_in, kind_of_name
from serinus.monitors.validation import Expectations
from serinus.monitors.validator import LISTED, Breach, Validator
from serinus.serving.errors import CommandError, InvalidInput, SerinusError, Violation
from serinus.serving.inputs import quote
from serinus.serving.request import InferenceRequest

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["ATTACHMENT", "Guard", "declared", "deployment_key", "expectations_of", "guard_for", "guard_of",
           "keep_expectations", "learn_expectations", "read_expectations"]

Arrays = Mapping[str, NDArray[Any]]
ATTACHMENT = "expectations.json"
_KEY_FILE = "salt"
_KEY_BYTES = 32
_HASHED = "so it is hashed and nothing is kept"


class Guard:
    """What stands between the requests and one version: it checks what comes in, and hides what is personal.

    Attributes:
        contract: the signature that requests are read with.
        personal: whether any field of the version is personal, so that no text made of values may be written.
    """

    def __init__(self, expectations: Expectations, signature: Signature, key: bytes, *, enforce: bool = True) -> None:
        self.contract = expectations.contract(signature)
        self._validator = Validator(expectations, signature, enforce=enforce)
        self._inputs = Redactor(expectations.personal, key)
        self._outputs = Redactor(expectations.outputs, key)
        self.personal = bool(self._inputs) or bool(self._outputs)

    def check(self, request: InferenceRequest, sent: Mapping[str, Any]) -> InferenceRequest:
        """Give the request as the model shall see it, with what was remarked. Raises `InvalidInput`.

        `sent` are the inputs as they stood in the body, for the paths.
        """
        verdict = self._validator.check(request.inputs, request.block)
        if verdict is None:
            return request
        violations = tuple(_violation(breach, request, sent) for breach in verdict.breaches)
        counts = Counter(verdict.counts)
        if verdict.rejects:
            raise InvalidInput(_sentence(verdict.breaches[0], violations[0], counts.total()), violations, counts)
        counts.update(violation.kind for violation in request.violations)
        changed = verdict.inputs is not request.inputs
        return request._replace(inputs=verdict.inputs, sent=request.inputs if changed else None, block=None,
                                counts=counts, violations=(*request.violations, *violations)[:LISTED])

    def hidden(self, inputs: Arrays, outputs: Arrays, *others: Guard) -> tuple[Arrays, Arrays]:
        """Inputs and outputs as they may be written: personal values hashed, coarsened or left out.

        `others` know of further fields that are personal.
        """
        hide_inputs, hide_outputs = self._inputs, self._outputs
        for other in others:
            hide_inputs, hide_outputs = hide_inputs | other._inputs, hide_outputs | other._outputs
        return hide_inputs.apply(inputs), hide_outputs.apply(outputs)


def guard_of(version: ModelVersion, registry: Registry, mode: str) -> Guard | None:
    """The guard of a registered version; None where there is nothing to check and nothing personal.

    `mode` is `validation.mode` of the settings. Raises SerinusError or ModelError where the attachment is damaged.
    """
    expectations = expectations_of(version, registry)
    return guard_for(expectations, version.signature, registry.home, mode)


def guard_for(expectations: Expectations, signature: Signature, home: Path, mode: str) -> Guard | None:
    """The guard of a model whose expectations are known."""
    personal = expectations.personal or expectations.outputs
    if mode == "off" and not personal:
        return None
    if mode == "off":
        expectations = _only_personal(expectations)
    elif not personal and not expectations.features:
        return None
    key = deployment_key(home) if personal else b""
    return Guard(expectations, signature, key, enforce=mode == "enforce")


def declared(signature: Signature) -> Expectations:
    """What a signature itself declares; nothing where no field says anything."""
    fields = [*signature.inputs, *signature.outputs]
    return Expectations.infer(signature) if any(field.expect for field in fields) else Expectations()


def expectations_of(version: ModelVersion, registry: Registry) -> Expectations:
    """What is expected of a registered version. Raises SerinusError or ModelError where the attachment is damaged."""
    if ATTACHMENT not in registry.attachments(version):
        return declared(version.signature)
    try:
        return Expectations.from_bytes(registry.attachment(version, ATTACHMENT))
    except InvalidExpectation as error:
        raise SerinusError(f"The expectations of {version.tag} cannot be read: {error}") from None


def learn_expectations(version: ModelVersion, home: Path, frame: DataFrame | None) -> Expectations:
    """Learn what to expect of a version's inputs from its reference; what seems personal is hashed from now on."""
    personal = {}
    reasons = {}
    columns = {field.name for field in version.signature.inputs}
    for found in found_in(frame) if frame is not None else ():
        if found.column in columns:
            personal[found.column] = "hash"
            reasons[found.column] = f"it seems personal ({found.kind}, by {found.by}), {_HASHED}"
    for name in columns - set(personal) if frame is None else ():
        if (kind := kind_of_name(name)) is not None:
            personal[name] = "hash"
            reasons[name] = f"it seems personal ({kind}, by its name), {_HASHED}"
    salt = hmac.new(deployment_key(home), version.digest.encode(), "sha256").hexdigest()[:32]
    learnt = Expectations.infer(version.signature, frame, salt=salt, personal=personal)
    tagged = {field.name for field in version.signature.inputs if field.expect and "personal" in field.expect}
    unchecked = {**learnt.unchecked, **{name: why for name, why in reasons.items() if name not in tagged}}
    return Expectations(learnt.features, unchecked, learnt.salt, learnt.rows, learnt.outputs)


def keep_expectations(version: ModelVersion, home: Path, frame: DataFrame | None,
                      given: Path | None = None) -> Expectations | None:
    """Learn (or read from a file) what is expected, and attach it to a version that has no expectations yet.

    Raises ModelError where the version has others than the given ones.
    """
    registry = Registry(home)
    if given is None and ATTACHMENT in registry.attachments(version):
        return expectations_of(version, registry)
    expectations = read_expectations(given) if given is not None else learn_expectations(version, home, frame)
    if given is None and frame is None and not expectations.personal and not _says_anything(version.signature):
        return None
    _check_fields(expectations, version)
    registry.attach(version, {ATTACHMENT: expectations.to_bytes()})
    return expectations


def read_expectations(path: Path) -> Expectations:
    """The expectations in a file: as `serinus models expectations --json` prints them, or a pandera schema in YAML."""
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            from serinus.monitors.pandera_schema import from_yaml

            return from_yaml(path.read_text(encoding="utf-8"))
        return Expectations.from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise CommandError(f"Expectations {path}: no such file.") from None
    except InvalidExpectation as error:
        raise CommandError(f"Expectations {path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"Expectations {path} cannot be read: {one_line(error)}.") from None


def deployment_key(home: Path) -> bytes:
    """The secret of this home that goes into the hashes of personal values; made when it is first wanted.

    Raises SerinusError where it can neither be read nor made.
    """
    path = home / _KEY_FILE
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f".{_KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(aside, path)  # fails where another process was faster: then its key is the one
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        return _read_key(path)
    except OSError as error:
        raise SerinusError(f"The secret in {path}, with which personal values are hashed, cannot be made: {error}. Let "
                           "the server write there, or put 32 random bytes into it.") from None


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) < _KEY_BYTES:
        raise SerinusError(f"The secret in {path}, with which personal values are hashed, has {len(key)} bytes; wanted "
                           f"are {_KEY_BYTES}. Put back the old file, or delete it if nothing was hashed yet.")
    return key


def _only_personal(expectations: Expectations) -> Expectations:
    """The same without anything to check."""
    ignored = dict.fromkeys(("missing_value", "infinite_value", "out_of_range", "unusual_value", "unit_slip",
                             "unseen_category", "text_length"), "ignore")
    features = tuple(type(feature)(feature.field, feature.element, missing=True, infinite=True,
                                   personal=feature.personal, on=ignored)
                     for feature in expectations.features if feature.personal)
    return Expectations(features, outputs=expectations.outputs)


def _says_anything(signature: Signature) -> bool:
    return any(field.expect or field.labels for field in signature.inputs)


def _check_fields(expectations: Expectations, version: ModelVersion) -> None:
    names = {field.name for field in version.signature.inputs}
    unknown = sorted({feature.field for feature in expectations.features} - names)
    if unknown:
        raise ModelError(f"The expectations name {', '.join(map(quote, unknown[:8]))}, which {version.tag} does not "
                         f"take; it takes {', '.join(map(quote, sorted(names)[:20])) or 'nothing'}.")


def _violation(breach: Breach, request: InferenceRequest, sent: Mapping[str, Any]) -> Violation:
    path = _path(breach, request, sent)
    return Violation(path, breach.kind, breach.wanted, breach.got, breach.done)


def _path(breach: Breach, request: InferenceRequest, sent: Mapping[str, Any]) -> str:
    """Where the value stands in the body, as far as its form tells."""
    names = list(sent)
    if breach.field in sent or len(names) != 1:
        index = names.index(breach.field) if breach.field in sent else len(names)
        path = request.where.format(name=breach.field, index=index, row=breach.row)
        return path if breach.element is None else f"{path}[{breach.element}]"
    place = list(request.inputs).index(breach.field)  # a column of the one matrix that was sent for all
    return f"{request.where.format(name=names[0], index=0, row=breach.row)}[{place}]"


def _sentence(breach: Breach, violation: Violation, count: int) -> str:
    name = breach.field if breach.element is None else f"{breach.field}[{breach.element}]"
    hint = "Declare it optional or clean the input." if breach.kind == "missing_value" else "Clean the input."
    more = "" if count < 2 else f" It is one of {count} violations."
    return f"Input {quote(name)} at {violation.path}: expected {breach.wanted}, got {breach.got}. {hint}{more}"
