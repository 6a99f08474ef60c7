"""Reference profiles of versions: made of rows and of what the model answers to them, kept beside the version.

A profile is an attachment, `references/SHA.json`, with its self-check beside it; neither is ever replaced. Which one a
version is compared with is a document of the store (kind `reference`), changed by a person's command and journaled; a
version registered with one profile has that one without any document.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.errors import InvalidSignature, one_line
from serinus.models.model import Model
from serinus.models.registry import Registry
from serinus.models.signature import Signature
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion
from serinus.monitors.builder import Progress
from serinus.monitors.errors import InvalidData, MonitorError
from serinus.monitors.profile import Profile
from serinus.monitors.reference import Reference
from serinus.monitors.referral import confidence_output
from serinus.monitors.sample import Rows
from serinus.monitors.security import Baseline, Doubt, guard_reference, margins
from serinus.monitors.self_check import SelfCheck, count_steps
from serinus.serving.expectations import deployment_key, expectations_of
from serinus.serving.performance import quality
from serinus.serving.performance.promise import Promise, attachment_of, make_promise, promise_of
from serinus.serving.store import Conflict, Document, JournalEntry, Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KIND", "Chosen", "Columns", "Made", "answered", "attached", "baseline_of", "check_of", "choose", "chosen",
           "doubts_about", "history", "keep_reference", "profile_bytes", "profile_bytes_of", "profile_of", "rows_of",
           "self_check_of"]

_log = logging.getLogger("serinus.monitors")
FOLDER = "references"
KIND = "reference"
FORMAT = 1
RUN_LENGTH = 1_000_000.0
_BATCH = 1_000
_BASELINE_ROWS = 3_000

Arrays = Mapping[str, NDArray[Any]]
Origin = Literal["registered", "set", "learnt", "inherited"]


class Columns(NamedTuple):
    """Columns of a reference that are no features."""

    target: str | None = None
    time: str | None = None
    group: str | None = None

    def features(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame without them. Raises InvalidData where one is missing."""
        named = [column for column in self if column is not None]
        for column in named:
            if column not in frame.columns:
                raise InvalidData(f"The reference has no column {column!r}; it has "
                                  f"{', '.join(map(str, frame.columns[:20]))}.")
        return frame.drop(columns=named)


NO_COLUMNS = Columns()


class Made(NamedTuple):
    """A profile, what a replay of its own rows says of it, what honest clients' rows are like, and what was answered.

    `rows` are those that the model can answer, of which `kept` says where they stood in the frame.
    """

    profile: Profile
    check: SelfCheck
    baseline: Baseline
    rows: Rows
    kept: NDArray[np.intp]


def profile_of(model: Model, frame: pd.DataFrame, columns: Columns = NO_COLUMNS, *, personal: Mapping[str, str] = {},
               salt: bytes = b"", seasons: bool = False, source: Mapping[str, Any] = {},
               run_length: float = RUN_LENGTH, progress: Progress | None = None) -> Made:
    """The profile of a frame's rows and of what the model answers to them, checked on these rows.

    Rows that the model cannot answer are left out, and a note says how many. Raises InvalidData or InvalidSignature.
    """
    from serinus.monitors.frames import times_of

    inputs = rows_of(model.signature, columns.features(frame))
    times = None if columns.time is None else times_of(frame[columns.time])[0]
    answers = _Answers(model, inputs, len(frame), progress)
    facts = {role: column for role, column in columns._asdict().items() if column is not None}
    whole = Rows(*answers.all(), None if times is None else times[answers.kept])
    notes = {} if len(answers.kept) == len(frame) else {
        "left_out": f"{len(frame) - len(answers.kept)} of {len(frame)} rows, which the model cannot answer"}
    profile = Reference.from_arrays(
        whole.inputs, whole.outputs, times=whole.times, signature=model.signature, personal=dict(personal), salt=salt,
        seasons=seasons, source={**facts, **notes, **source}, progress=progress)
    return Made(profile, _checked(profile, whole, run_length), _baseline(profile, whole, model.signature), whole,
                answers.kept)


def _baseline(profile: Profile, rows: Rows, signature: Signature) -> Baseline:
    chosen = np.random.default_rng(0).permutation(profile.rows)[:_BASELINE_ROWS]
    inputs, outputs = _chosen_rows(rows, chosen)
    table = outputs.get(confidence_output(signature) or "")
    return Baseline.fit(profile.encoder.numbers(inputs), None if table is None else margins(table))


def _checked(profile: Profile, rows: Rows, run_length: float) -> SelfCheck:
    order = np.arange(profile.rows) if rows.times is None else np.argsort(rows.times, kind="stable")
    chunks = (_chosen_rows(rows, order[start:start + _BATCH]) for start in range(0, len(order), _BATCH))
    return SelfCheck.of(profile, count_steps(profile, chunks), run_length)


def _chosen_rows(rows: Rows, chosen: NDArray[np.intp]) -> tuple[Arrays, Arrays]:
    inputs, outputs = ({name: array[chosen] for name, array in side.items()} for side in (rows.inputs, rows.outputs))
    return inputs, outputs


def rows_of(signature: Signature, features: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """A frame's rows as the model takes them; an optional column may be missing. Raises InvalidSignature."""
    from serinus.models.frame import arrays_of

    names = set(map(str, features.columns))
    fields = [field for field in signature.inputs if field.name in names or not field.optional]
    only = signature.inputs[0] if len(signature.inputs) == 1 else None
    if only is not None and only.name not in names and len(only.shape) == 2:
        if only.shape[1] not in (-1, features.shape[1]):
            raise InvalidSignature(f"The reference has {features.shape[1]} columns, and input {only.name!r} takes "
                                   f"{only.shape[1]}: give it exactly these, and name the others --target, --time, "
                                   "--group.")
        return {only.name: features.to_numpy().astype(only.dtype)}
    return arrays_of(features, fields)


class _Answers:
    """What a model answers to rows, asked in batches; rows that it cannot answer are left out."""

    def __init__(self, model: Model, inputs: Arrays, rows: int, progress: Progress | None) -> None:
        self._model, self._inputs = model, inputs
        self._parts: list[tuple[NDArray[np.intp], dict[str, NDArray[Any]]]] = []
        for start in range(0, rows, _BATCH):
            self._ask(np.arange(start, min(start + _BATCH, rows)))
            if progress is not None:
                progress("answers", min(start + _BATCH, rows), rows)
        if not self._parts:
            raise InvalidData("The model can answer no row of the reference: see that it has the columns and types "
                              "that the model was trained with.")
        self.kept = np.concatenate([rows for rows, _ in self._parts])

    def _ask(self, rows: NDArray[np.intp]) -> None:
        try:
            outputs = self._model.predict({name: array[rows] for name, array in self._inputs.items()})
        except Exception:  # whatever a model raises: some row is to blame
            if len(rows) > 1:
                for half in np.array_split(rows, 2):
                    self._ask(half)
            return
        self._parts.append((rows, {name: array for name, array in outputs.items() if len(array) == len(rows)}))

    def all(self) -> tuple[Arrays, Arrays]:
        """Inputs and outputs of the rows that were answered."""
        names = set.intersection(*(set(outputs) for _, outputs in self._parts))
        order = [name for name in self._parts[0][1] if name in names]
        outputs = {name: np.concatenate([part[name] for _, part in self._parts]) for name in order}
        return {name: array[self.kept] for name, array in self._inputs.items()}, outputs


def answered(model: Model, inputs: Arrays, rows: int, progress: Progress | None = None) -> tuple[NDArray[np.intp],
                                                                                                  Arrays]:
    """Which rows a model can answer, and its outputs for them. Raises InvalidData where it can answer none."""
    answers = _Answers(model, inputs, rows, progress)
    return answers.kept, answers.all()[1]


def keep_reference(version: ModelVersion, home: Path, frame: pd.DataFrame, columns: Columns = NO_COLUMNS, *,
                   seasons: bool = False, source: Mapping[str, Any] = {}, run_length: float = RUN_LENGTH,
                   progress: Progress | None = None) -> Made:
    """Make the profile of a version's reference and attach it with its self-check. Raises InvalidData or ModelError."""
    registry = Registry(home)
    salt = hmac.new(deployment_key(home), version.digest.encode(), "sha256").digest()[:16]
    expected = expectations_of(version, registry)
    personal = {**expected.personal, **expected.outputs}
    model = registry.load(version, trust=Trust(home))
    try:
        made = profile_of(model, frame, columns, personal=personal, salt=salt, seasons=seasons, run_length=run_length,
                          source={"model": version.name, "version": version.version, **source}, progress=progress)
    except InvalidSignature as error:
        raise InvalidData(one_line(error)) from None
    finally:
        model.close()
    digest = made.profile.digest
    registry.attach(version, {_path(digest): made.profile.to_bytes()})
    if _check_path(digest) not in registry.attachments(version):  # another run length is another check
        registry.attach(version, {_check_path(digest): orjson.dumps(made.check.to_json())})
    if _clients_path(digest) not in registry.attachments(version):
        registry.attach(version, {_clients_path(digest): orjson.dumps(made.baseline.to_json())})
    if columns.target is None:
        _keep_quality(registry, version, made, personal)
    elif promise_of(registry, version) is None:
        _keep_promise(registry, version, made, frame[columns.target].to_numpy()[made.kept], personal)
    return made


def _keep_quality(registry: Registry, version: ModelVersion, made: Made, personal: Mapping[str, str]) -> None:
    """Of clusterers and outlier detectors, which nobody labels, what their answers are like."""
    if quality.quality_of(registry, version) is None:
        found = quality.make_quality(version.signature, made.profile, made.rows, personal)
        if found is not None:
            registry.attach(version, {quality.attachment_of(made.profile.digest): found.to_bytes()})


def _keep_promise(registry: Registry, version: ModelVersion, made: Made, truth: NDArray[Any],
                  personal: Mapping[str, str]) -> Promise | None:
    """What the rows with their truth promise goes with the version; where they promise nothing, it is served all the
    same, and its performance is known from live truths alone."""
    try:
        promise = make_promise(version.signature, made.profile, made.rows, truth, personal)
    except MonitorError as error:
        _log.warning("%s promises no performance: %s", version.tag, error)
        return None
    registry.attach(version, {attachment_of(made.profile.digest): promise.to_bytes()})
    return promise


def attached(registry: Registry, version: ModelVersion) -> list[str]:
    """The digests of the profiles that a version came with or was given."""
    names = [Path(name) for name in registry.attachments(version)]
    return [f"sha256:{name.stem}" for name in names if name.parent == Path(FOLDER) and name.suffixes == [".json"]]


def doubts_about(registry: Registry, version: ModelVersion, digest: str, before: str | None = None) -> list[Doubt]:
    """What speaks against a version's reference: compared with the one `before` it, else the version before, and
    with the model's first one."""
    others: dict[str, ModelVersion] = {}
    for number in registry.versions(version.name):
        each = registry.get(version.name, number)
        if int(number) <= int(version.version):
            others |= {other: each for other in attached(registry, each) if other != digest}
    kept = [Profile.from_bytes(profile_bytes_of(registry, others[end], end)) for end in _ends(list(others), before)]
    new = Profile.from_bytes(profile_bytes_of(registry, version, digest))
    return guard_reference(new, kept[-1] if kept else new, kept[0] if kept else None)


def _ends(digests: list[str], before: str | None) -> list[str]:
    """The first one, and the one to compare with."""
    return [digests[0], before if before in digests else digests[-1]] if digests else []


def profile_bytes_of(registry: Registry, version: ModelVersion, digest: str) -> bytes:
    """A profile of a version. Raises ModelError where it has none of that digest, or it was changed."""
    return registry.attachment(version, _path(digest))


def self_check_of(registry: Registry, version: ModelVersion, digest: str) -> SelfCheck | None:
    """The self-check beside a version's profile."""
    if _check_path(digest) not in registry.attachments(version):
        return None
    return SelfCheck.from_json(orjson.loads(registry.attachment(version, _check_path(digest))))


def baseline_of(registry: Registry, model: str, digest: str) -> Baseline | None:
    """What honest clients' rows are like, by the reference of some version of a model; None where it was not kept."""
    for number in registry.versions(model):
        version = registry.get(model, number)
        if _clients_path(digest) in registry.attachments(version):
            return Baseline.from_json(orjson.loads(registry.attachment(version, _clients_path(digest))))
    return None


def profile_bytes(store: Store, registry: Registry, model: str, digest: str) -> bytes | None:
    """A profile that some version of a model, or the store, has under that digest."""
    return _found(store, registry, model, digest, _path(digest), "profile")


def check_of(store: Store, registry: Registry, model: str, digest: str) -> SelfCheck | None:
    """The self-check of a profile, which lies beside it; None where there is none."""
    data = _found(store, registry, model, digest, _check_path(digest), "self-check")
    return None if data is None else SelfCheck.from_json(orjson.loads(data))


def _found(store: Store, registry: Registry, model: str, digest: str, path: str, kind: str) -> bytes | None:
    for number in registry.versions(model):
        version = registry.get(model, number)
        if path in registry.attachments(version):
            return registry.attachment(version, path)
    found = store.document(kind, digest)
    return None if found is None else found.body


def _clients_path(digest: str) -> str:
    return f"{FOLDER}/{digest.removeprefix('sha256:')}.clients.json"


def _path(digest: str) -> str:
    return f"{FOLDER}/{digest.removeprefix('sha256:')}.json"


def _check_path(digest: str) -> str:
    return f"{FOLDER}/{digest.removeprefix('sha256:')}.self-check.json"


@dataclass(frozen=True)
class Chosen:
    """Which reference a version is compared with, who said so, and why. `at` is in Unix seconds."""

    digest: str
    origin: Origin
    by: str = ""
    reason: str = ""
    at: float = 0.0


def chosen(store: Store, registry: Registry, model: str, version: str, stable: str | None) -> Chosen | None:
    """The reference of a version: the one that was set or learnt, else the one it came with, else its stable
    version's where that has the same inputs and outputs; None where there is none."""
    own = _own(store, registry, model, version)
    if own is not None or stable in (None, version) or not {version, stable} <= set(registry.versions(model)):
        return own
    ours, theirs = registry.get(model, version).signature, registry.get(model, stable).signature
    inherited = _own(store, registry, model, stable)
    if inherited is None or (ours.inputs, ours.outputs) != (theirs.inputs, theirs.outputs):
        return None
    return Chosen(inherited.digest, "inherited", reason=f"version {stable} has it", at=inherited.at)


def _own(store: Store, registry: Registry, model: str, version: str) -> Chosen | None:
    found = store.document(KIND, f"{model}:{version}")
    if found is not None:
        stored = orjson.loads(found.body)
        return Chosen(**stored["chosen"]) if stored["format"] == FORMAT else None
    if version not in registry.versions(model):
        return None
    digests = attached(registry, registry.get(model, version))
    return Chosen(digests[0], "registered") if digests else None


def choose(store: Store, model: str, version: str, choice: Chosen) -> None:
    """Compare a version with another reference from now on, and take that down in the model's journal."""
    key = f"{model}:{version}"
    while True:
        found = store.document(KIND, key)
        revision = found.revision if found else 0
        body = orjson.dumps({"format": FORMAT, "chosen": asdict(choice)})
        try:
            store.put_document(Document(KIND, key, revision + 1, body, time.time()), expected_revision=revision)
            break
        except Conflict:
            continue
    before = orjson.loads(found.body)["chosen"]["digest"] if found else None
    record = store.record(model)
    text = f"Version {version} is compared with reference {choice.digest[7:19]} ({choice.origin})."
    store.append(JournalEntry(model, "reference", choice.at, record.generation if record else 0, choice.by,
                              choice.reason, {"text": text, "version": version, "digest": choice.digest,
                                              "origin": choice.origin, "before": before}))


def history(store: Store, model: str) -> Iterator[JournalEntry]:
    """Every choice of a reference for versions of a model, oldest first."""
    return (entry for entry in store.journal(model, limit=1_000_000) if entry.kind == "reference")
