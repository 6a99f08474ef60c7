"""What the server tells of models, rollouts, monitors and alerts: the members that people ask for by name, and the
whole document for everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from serinus.models.signature import Field, Signature
from serinus.serving.rollout.state import FULL_WEIGHT, RUNNING
from serinus.serving.store import JournalEntry

__all__ = ["Alert", "Contribution", "Explanation", "Monitored", "Receipt", "RolledBack", "Rollout", "ServedModel",
           "read_alert", "read_alerts", "read_journal", "read_models", "read_monitors", "read_rolled_back",
           "read_rollout", "read_signature"]

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A registered model, and which of its versions does what."""

    name: str
    versions: tuple[str, ...]
    stable: str | None
    candidate: str | None
    weight: float
    """The candidate's share of the requests, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a model's rollout stands; `document` is all that the server said."""

    model: str
    phase: str
    """`idle`, `preflight`, `shadow`, `canary`, `soak`, `hold`, `frozen`, `rolling_back`, `rolled_back`, `promoted` or
    `rejected`."""
    stable: str | None
    candidate: str | None
    weight: float
    """The candidate's share of the requests, 0 to 1."""
    step: int
    steps: tuple[float, ...]
    """The plan's shares, 0 to 1."""
    reason: str
    actor: str
    notice: str | None
    """Of a call that changed nothing: why."""
    document: Document = field(repr=False)

    @property
    def running(self) -> bool:
        """Whether a rollout is under way."""
        return self.phase in RUNNING

    @property
    def followed(self) -> bool:
        """Whether every live worker does what the record says; known of `status` only."""
        workers = self.document.get("workers") or ()
        return bool(workers) and all(worker["ready"] and worker["follows"] for worker in workers)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback came to: who answers now, and whether every worker has obeyed."""

    model: str
    stable: str
    """The version that answers."""
    version: str
    """The one that was taken off."""
    complete: bool
    seconds: Mapping[int, float | None]
    """By worker (its pid), how long it took to obey; None for one that has not yet."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """What the monitors see of one version; `document` has features, windows, self-check and reference."""

    model: str
    version: str
    state: str
    """`off`, `learning`, `collecting`, `ok`, `warn`, `alarm` or `act`."""
    text: str
    rows: int
    evidence: float
    """How far the evidence of drift is on its way to an alarm; 1 is one."""
    document: Document = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much one feature of a row moved its score, against the same row with the usual value there."""

    feature: str
    contribution: float | None
    value: Any
    usual: Any


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a row is answered as it is: the largest contributions first. It describes the model, not the world."""

    output: str
    label: Any
    """The class whose probability is explained; None for a number."""
    score: float | None
    usual_score: float | None
    contributions: tuple[Contribution, ...]
    left_out: tuple[str, ...]
    text: str

    @classmethod
    def read(cls, document: Document) -> Explanation:
        """One explanation as the server tells it."""
        parts = tuple(Contribution(one["feature"], one["contribution"], one["value"], one["usual"])
                      for one in document["contributions"])
        return cls(document["output"], document["label"], document["score"], document["usual_score"], parts,
                   tuple(document["left_out"]), document["text"])


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong and lasts."""

    id: str
    model: str
    version: str
    kind: str
    severity: str
    state: str
    """`pending`, `firing` or `resolved`."""
    summary: str
    document: Document = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """How many outcomes were accepted, and why others were not: row number and reason, the first ones."""

    accepted: int
    rejected: tuple[tuple[int, str], ...]
    rejected_count: int

    def __add__(self, other: Receipt) -> Receipt:
        """Both together."""
        return Receipt(self.accepted + other.accepted, self.rejected + other.rejected,
                       self.rejected_count + other.rejected_count)

    @classmethod
    def read(cls, document: Document, first: int = 0) -> Receipt:
        """The answer to a body whose first row is row `first`."""
        return cls(document["accepted"], tuple((first + one["row"], one["reason"]) for one in document["rejected"]),
                   document["rejected_count"])


def read_models(document: Document) -> tuple[ServedModel, ...]:
    """`GET /api/models`."""
    return tuple(ServedModel(each["name"], tuple(each["versions"]), each["stable"], each["candidate"],
                             each["weight"] / FULL_WEIGHT) for each in document["models"])


def read_signature(document: Document) -> Signature:
    """`GET /v2/models/NAME`."""
    return Signature(tuple(map(_field, document["inputs"])), tuple(map(_field, document["outputs"])))


def _field(tensor: Document) -> Field:
    parameters = tensor.get("parameters", {})
    labels = parameters.get("labels")
    return Field(tensor["name"], tensor["datatype"], tuple(tensor["shape"]), bool(parameters.get("optional", False)),
                 None if labels is None else tuple(json.loads(labels)), None, bool(parameters.get("sequence", False)))


def read_rollout(document: Document) -> Rollout:
    """`GET /api/rollouts/NAME`, and what its verbs answer."""
    record = document["record"]
    steps = (record["plan"] or {}).get("steps", ())
    return Rollout(record["model"], record["phase"], record["stable"], record["candidate"],
                   record["weight"] / FULL_WEIGHT, record["step"], tuple(step / FULL_WEIGHT for step in steps),
                   record["reason"], record["actor"], document.get("notice"), document)


def read_rolled_back(document: Document) -> RolledBack:
    """`POST /api/rollouts/NAME/rollback`."""
    return RolledBack(document["model"], document["stable"], document["version"], document["complete"],
                      {worker["pid"]: worker["seconds"] for worker in document["workers"]})


def read_journal(document: Document) -> tuple[JournalEntry, ...]:
    """`GET /api/rollouts/NAME/journal`."""
    known = {each.name for each in fields(JournalEntry)}
    return tuple(JournalEntry(**{name: value for name, value in entry.items() if name in known})
                 for entry in document["entries"])


def read_monitors(document: Document) -> tuple[Monitored, ...]:
    """`GET /api/monitors[/NAME]`."""
    return tuple(Monitored(each["model"], each["version"], each["state"], each.get("text", ""), each.get("rows", 0),
                           each.get("evidence", 0.0), each) for each in document["versions"])


def read_alerts(document: Document) -> tuple[Alert, ...]:
    """`GET /api/alerts`."""
    return tuple(map(read_alert, document["alerts"]))


def read_alert(document: Document) -> Alert:
    """One of them."""
    return Alert(document["id"], document["model"], document["version"], document["kind"], document["severity"],
                 document["state"], document["summary"], document)
