"""The evaluation gate, composed: versions of a registry judged on a file, and the verdict kept and journaled.

The verdict is an attachment of the version (`gates/SHA/gate.json`, beside it `MODEL_CARD.md` and the same facts as a
CycloneDX ML-BOM), and an entry of the model's journal. The store counts how many versions were judged on the same rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.errors import InvalidSignature, ModelError, one_line
from serinus.models.lineage import data_digest
from serinus.models.model import Model
from serinus.models.optimize import ATTACHMENT as CONVERTED
from serinus.models.parity import compare as compare_answers
from serinus.models.registry import Registry
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion
from serinus.monitors import frames
from serinus.monitors.builder import Progress
from serinus.monitors.errors import InvalidData, InvalidPolicy
from serinus.monitors.evaluation.calibration import check_calibration
from serinus.monitors.evaluation.card import bill_of_materials, model_card
from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.compare import compare
from serinus.monitors.evaluation.fairness import check_fairness
from serinus.monitors.evaluation.gate import Evaluated, Gate, judge
from serinus.monitors.evaluation.latency import Cost, check_latency
from serinus.monitors.evaluation.leakage import RowDigests, check_leakage, row_digests
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.profile import Likeness, check_profile
from serinus.monitors.evaluation.provenance import Provenance, check_provenance
from serinus.monitors.evaluation.replay import Replayed, replay
from serinus.monitors.evaluation.robustness import check_robustness
from serinus.monitors.evaluation.signature import Agreement, check_signature
from serinus.monitors.evaluation.slices import check_slices
from serinus.monitors.evaluation.trial import Trial, classes_of, read_answers, read_truth, trivial
from serinus.monitors.profile import Profile
from serinus.monitors.report import Report
from serinus.monitors.self_check import SelfCheck
from serinus.serving.errors import CommandError
from serinus.serving.expectations import expectations_of
from serinus.serving.gates import FOLDER
from serinus.serving.home import Home
from serinus.serving.ids import prediction_id
from serinus.serving.references import (
    Columns,
    answered,
    attached,
    profile_bytes_of,
    profile_of,
    rows_of,
    self_check_of,
)
from serinus.serving.replay import hidden, latest
from serinus.serving.store import Conflict, Document, JournalEntry, SqliteStore, Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BAD_INPUT", "Asked", "Judged", "evaluate", "look", "read_policy", "take_down"]

KIND = "evaluation"
LOOKS = "evaluation-looks"
FORMAT = 1
BAD_INPUT = 2
_REPLAYED = 200
_LIVE, _ENOUGH = 5_000, 200
_ALIKE, _QUANTIZED = 0.001, 0.02

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Asked:
    """What is to be judged.

    Attributes:
        tag: the version.
        data: file of the evaluation set.
        target: its column that came true.
        against: number or alias of the version to hold it against; None means the stable one, else the one before.
        policy: what is asked for.
        reference: file of rows of the training, to look for them in the evaluation set.
        group: column that says whose a row is: rows of one are drawn together.
        ids: column that names rows.
        approver: who answers for letting it pass.
        by: who runs the evaluation.
    """

    tag: str
    data: Path
    target: str
    against: str | None = None
    policy: Policy = field(default_factory=Policy)
    reference: Path | None = None
    group: str | None = None
    ids: str | None = None
    approver: str = ""
    by: str = ""


class Judged(NamedTuple):
    """A verdict, and what is written about it."""

    gate: Gate
    card: str
    bill: bytes

    def files(self) -> dict[str, bytes]:
        """By name."""
        return {"gate.json": self.gate.to_bytes(), "MODEL_CARD.md": self.card.encode(), "bom.json": self.bill}


class _Loaded(NamedTuple):
    """A version in memory, and what that cost."""

    version: ModelVersion
    model: Model
    load_ms: float
    rss_mb: float


def read_policy(path: Path | None) -> Policy:
    """The policy in a TOML file; without one the defaults."""
    if path is None:
        return Policy()
    try:
        return Policy.from_toml(path.read_text("utf-8"), f"Policy {path}")
    except FileNotFoundError:
        raise CommandError(f"Policy {path}: no such file.", BAD_INPUT) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"Policy {path} cannot be read: {one_line(error)}.", BAD_INPUT) from None
    except InvalidPolicy as error:
        raise CommandError(str(error), BAD_INPUT) from None


def evaluate(asked: Asked, home: Home, progress: Progress | None = None) -> Judged:
    """Judge a version, keep the verdict with it, and take it down in the model's journal.

    Raises CommandError with exit code 2 where the data or the options do not fit, ModelError for the version.
    """
    registry = Registry(home.path)
    version = registry.get(*registry.resolve(asked.tag))
    store = SqliteStore(home.store, create=True)
    try:
        judged = _judged(asked, home, registry, version, store, progress)
        _keep(judged, asked, registry, version, store)
        return judged
    except (InvalidData, InvalidSignature) as error:
        raise CommandError(f"Data {asked.data}: {one_line(error)}", BAD_INPUT) from None
    finally:
        store.close()


def _judged(asked: Asked, home: Home, registry: Registry, version: ModelVersion, store: Store,
            progress: Progress | None) -> Judged:
    data = _read(asked.data)
    candidate = _load(registry, version, home)
    other = _other(asked, registry, version, store)
    current = None if other is None else _load(registry, other, home)
    try:
        setup = _Setup(asked, home, registry, store, candidate, current, data, progress)
        gate = setup.judge()
        return Judged(gate, model_card(gate, version), bill_of_materials(gate, version))
    finally:
        for loaded in (candidate, current):
            if loaded is not None:
                loaded.model.close()


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    data = pd.concat(list(frames.frames_in(path)()), ignore_index=True)
    if not len(data):
        raise InvalidData("it has no rows; give at least a few hundred.")
    return data


def _load(registry: Registry, version: ModelVersion, home: Home) -> _Loaded:
    before, start = _rss_mb(), time.perf_counter()
    model = registry.load(version, trust=Trust(home.path))
    return _Loaded(version, model, (time.perf_counter() - start) * 1e3, max(_rss_mb() - before, 0.0))


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _other(asked: Asked, registry: Registry, version: ModelVersion, store: Store) -> ModelVersion | None:
    """The version to hold it against: as named, else stable, else the one before; None where there is none."""
    if asked.against is not None:
        name, number = registry.resolve(f"{version.name}:{asked.against.rpartition(':')[2]}")
        found = registry.get(name, number)
        if found.version == version.version:
            raise CommandError(f"{version.tag} cannot be held against itself; name another --against.", BAD_INPUT)
        return found
    record = store.record(version.name)
    stable = record.stable if record is not None else None
    numbers = registry.versions(version.name)
    if stable in numbers and stable != version.version:
        return registry.get(version.name, stable)
    before = [number for number in numbers if int(number) < int(version.version)]
    return registry.get(version.name, before[-1]) if before else None


class _Setup:
    """Everything the checks need, made once."""

    def __init__(self, asked: Asked, home: Home, registry: Registry, store: Store, candidate: _Loaded,
                 current: _Loaded | None, data: pd.DataFrame, progress: Progress | None) -> None:
        self.asked, self.home, self.registry, self.store = asked, home, registry, store
        self.candidate, self.current, self.progress = candidate, current, progress
        self.policy = asked.policy
        for option, column in (("--target", asked.target), ("--group", asked.group), ("--ids", asked.ids)):
            if column is not None and column not in data.columns:
                raise InvalidData(f"it has no column {column!r} ({option}); it has "
                                  f"{', '.join(map(str, data.columns[:20]))}.")
        self.digest = data_digest(data) or f"sha256:{hashlib.sha256(asked.data.read_bytes()).hexdigest()}"
        self.data = data[data[asked.target].notna()].reset_index()
        if not len(self.data):
            raise InvalidData(f"no row has a {asked.target!r}.")
        self.left_out = len(data) - len(self.data)
        self.inputs = rows_of(candidate.model.signature, self._features())
        self.refused = 0
        self.outputs: Arrays = {}
        self.trial = self._trial()

    def _features(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """The columns that the models take; a model of one matrix gets none that the policy alone names."""
        beside = {self.asked.target, self.asked.group, self.asked.ids, "index"}
        whole = self.data if frame is None else frame
        features = whole.drop(columns=[name for name in whole.columns if name in beside])
        inputs = self.candidate.model.signature.inputs
        if len(inputs) == 1 and len(inputs[0].shape) == 2 and features.shape[1] > inputs[0].shape[1] > 0:
            named = {*self.policy.slices.columns, *self.policy.fairness.groups}
            features = features.drop(columns=[name for name in features.columns if name in named])
        return features

    def _trial(self) -> Trial:
        rows = len(self.data)
        kept, outputs = answered(self.candidate.model, self.inputs, rows, self.progress)
        self.refused = rows - len(kept)
        theirs: Arrays | None = None
        if self.current is not None:
            both, theirs = answered(self.current.model, rows_of(self.current.model.signature, self._features()), rows)
            places = np.intersect1d(kept, both, assume_unique=True)
            outputs = _taken(outputs, np.searchsorted(kept, places))
            theirs, kept = _taken(theirs, np.searchsorted(both, places)), places
        if not len(kept):
            raise InvalidData("the two versions can answer no row in common.")
        self.outputs = outputs
        truth = self.data[self.asked.target].to_numpy()[kept]
        classes = classes_of(self.candidate.model.signature, truth, self.policy.worth)
        known = read_truth(truth, classes)
        ours = read_answers(self.candidate.model.signature, outputs, classes)
        against, against_words = trivial(known, classes), "a trivial answer"
        if self.current is not None and theirs is not None:
            against = read_answers(self.current.model.signature, theirs, classes)
            against_words = self.current.version.tag
        columns = frames.arrays_of(self.data.drop(columns=["index"]))
        return Trial(
            _taken(self.inputs, kept), known, classes, ours, against, against_words, self.current is None,
            _taken(columns, kept), self.data[self.asked.ids or "index"].to_numpy()[kept],
            None if self.asked.group is None else self.data[self.asked.group].astype(str).to_numpy()[kept],
            look(self.store, f"{self.candidate.version.name}:{self.digest}", self.candidate.version.digest),
            frozenset(expectations_of(self.candidate.version, self.registry).personal), self.policy.worth)

    def judge(self) -> Gate:
        """All checks, in order."""
        evaluated = Evaluated(
            self.candidate.version.name, self.candidate.version.version,
            "" if self.current is None else self.current.version.tag, self.asked.data.name, self.digest,
            self.trial.rows, self.left_out + len(self.data) - self.trial.rows, self.asked.target,
            datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return judge(evaluated, list(self._checks()), self.policy, self.trial.classes)

    def _checks(self) -> Iterator[Check]:
        model, other = self.candidate.model, None if self.current is None else self.current.model
        for name, make in (
            ("signature", self._signature),
            ("metrics", lambda: compare(self.trial, self.policy)),
            ("calibration", lambda: check_calibration(self.trial, self.policy)),
            ("slices", lambda: check_slices(self.trial, self.policy)),
            ("robustness", lambda: check_robustness(self.trial, self.policy, model, other, self.progress)),
            ("fairness", lambda: check_fairness(self.trial, self.policy)),
            ("leakage", lambda: check_leakage(self.trial, self.policy, self._training())),
            ("latency", lambda: check_latency(self.trial.inputs, self.policy, model, other, self._cost(),
                                              time.perf_counter)),
            ("profile", self._profile),
            ("provenance", lambda: check_provenance(self._provenance())),
        ):
            if self.progress is not None and name != "robustness":
                self.progress(name, self.trial.rows, self.trial.rows)
            yield make()

    def _signature(self) -> Check:
        if self.refused:
            return Check("signature", Status.FAIL, f"It refuses {self.refused:,} of {len(self.data):,} rows of the "
                         "evaluation set.")
        obstacles: tuple[str, ...] = ()
        if self.current is not None:
            obstacles = tuple(self.candidate.model.signature.incompatibilities(self.current.model.signature))
        replayed, why = self._replayed()
        agreement, allowed = self._agreement()
        return check_signature(self.candidate.model.signature, self.outputs, self.trial.rows, obstacles=obstacles,
                               replayed=replayed, not_replayed=why, agreement=agreement, max_changed=allowed)

    def _replayed(self) -> tuple[Replayed | None, str]:
        if redacted := hidden(self.registry, self.candidate.version):
            return None, f"{', '.join(redacted)} is redacted in the log."
        records = list(latest(self.home.log, self.candidate.version.name, _REPLAYED))
        if not records:
            return None, "the log has none."
        return replay(records, self.candidate.model, name_of=prediction_id, clock=time.perf_counter), ""

    def _agreement(self) -> tuple[Agreement | None, float]:
        """With the version that it was converted from, if it was."""
        version = self.candidate.version
        parent = version.lineage.parent
        if parent is None or CONVERTED not in self.registry.attachments(version):
            return None, _ALIKE
        try:
            loaded = _load(self.registry, self.registry.get(*self.registry.resolve(parent)), self.home)
        except ModelError:
            return None, _ALIKE
        answers = loaded.model.predict(self.trial.inputs)
        found = compare_answers(version.signature, answers, self.outputs)
        loaded.model.close()
        quantized = "quant" in (version.lineage.step or "")
        return Agreement(parent, found.changed_share, max(found.differences.values(), default=0.0)), \
            _QUANTIZED if quantized else _ALIKE

    def _training(self) -> RowDigests | None:
        if self.asked.reference is None:
            return None
        frame = _read(self.asked.reference)
        return frozenset(row_digests(rows_of(self.candidate.model.signature, self._features(frame))))

    def _cost(self) -> Cost:
        other = self.current
        machine = {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version(),
                   "system": platform.platform()}
        return Cost(self.candidate.load_ms, self.candidate.rss_mb, self.candidate.version.size / 1e6,
                    None if other is None else other.version.size / 1e6, machine)

    def _profile(self) -> Check:
        version, registry, live = self.candidate.version, self.registry, self._likeness()
        digests = attached(registry, version)
        if digests:
            profile = Profile.from_bytes(profile_bytes_of(registry, version, digests[-1]))
            return check_profile(profile, self_check_of(registry, version, digests[-1]), attached=True, live=live)
        profile_, check = self._made() or (None, None)
        return check_profile(profile_, check, attached=False, live=live)

    def _likeness(self) -> Likeness | None:
        """The evaluation set against the newest logged rows; None where these are few or redacted."""
        names = [name for name, array in self.trial.inputs.items() if array.ndim == 1 and name not in
                 self.trial.personal]
        records = [record for record in latest(self.home.log, self.candidate.version.name, _LIVE)
                   if all(name in record.inputs for name in names)]
        rows = sum(record.rows for record in records)
        if rows < _ENOUGH or not names:
            return None
        live = {name: np.concatenate([record.inputs[name].reshape(-1) for record in records]) for name in names}
        report = Report.of(_frame({name: self.trial.inputs[name] for name in names}), _frame(live))
        return Likeness(rows, tuple(one.name for one in report.changed if one.side != "joint"), report.sentence)

    def _made(self) -> tuple[Profile, SelfCheck] | None:
        if self.asked.reference is None:
            return None
        frame = _read(self.asked.reference)
        target = self.asked.target if self.asked.target in frame.columns else None
        made = profile_of(self.candidate.model, frame, Columns(target))
        return made.profile, made.check

    def _provenance(self) -> Provenance:
        version = self.candidate.version
        libraries = json.dumps(dict(version.libraries), sort_keys=True)
        entries = [entry for entry in self.store.journal(version.name, limit=1_000_000) if entry.kind == KIND]
        return Provenance(
            version.digest, self.digest, version.lineage.data or "", version.lineage.commit or "",
            bool(version.lineage.dirty), f"sha256:{hashlib.sha256(libraries.encode()).hexdigest()}",
            version.card.license, self.asked.approver, self.policy.digest,
            str(entries[-1].body["digest"]) if entries else "")


def _frame(arrays: Arrays) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(arrays))


def _taken(arrays: Arrays, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    return {name: array[rows] for name, array in arrays.items()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
                platform.machine())


def look(store: Store, key: str, digest: str) -> int:
    """The number of this look at what `key` names: a version at the same rows, or more rows of a version. The same
    digest again is no new one."""
    while True:
        found = store.document(LOOKS, key)
        seen: list[str] = orjson.loads(found.body)["versions"] if found else []
        if digest in seen:
            return seen.index(digest) + 1
        seen.append(digest)
        revision = found.revision if found else 0
        body = orjson.dumps({"format": FORMAT, "versions": seen})
        try:
            store.put_document(Document(LOOKS, key, revision + 1, body, time.time()), expected_revision=revision)
            return len(seen)
        except Conflict:
            continue


def _keep(judged: Judged, asked: Asked, registry: Registry, version: ModelVersion, store: Store) -> None:
    gate = judged.gate
    folder = f"{FOLDER}/{gate.digest[7:23]}"
    try:
        registry.attach(version, {f"{folder}/{name}": data for name, data in judged.files().items()})
    except OSError as error:
        raise CommandError(f"The verdict on {version.tag} cannot be kept: {one_line(error)}.") from None
    take_down(gate, store, version, asked.policy, asked.approver, asked.by)


def take_down(gate: Gate, store: Store, version: ModelVersion, policy: Policy, approver: str, by: str) -> None:
    """Enter a verdict in the model's journal."""
    record = store.record(version.name)
    text = f"Version {version.version} was evaluated on {gate.evaluated.data}: {gate.verdict}. {gate.sentence}"
    store.append(JournalEntry(
        version.name, KIND, time.time(), record.generation if record else 0, approver or by, "",
        {"text": text[:1000], "version": version.version, "verdict": str(gate.verdict), "digest": gate.digest,
         "data": gate.evaluated.digest, "rows": gate.evaluated.rows, "against": gate.evaluated.against,
         "policy": policy.digest, "approver": approver}))
