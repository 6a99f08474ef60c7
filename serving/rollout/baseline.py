"""The baseline: what stable was like when a rollout began, frozen, so that both arms are measured by the same.

The steward takes it from what the workers' boards counted of stable so far, and keeps it in the store. A file of the
host tells it to the workers; without its baseline a worker counts nothing of a rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from serinus.models.signature import Signature
from serinus.monitors.sequential.confidence_sequences import probability_bounds
from serinus.serving.board import BOUNDS_NS, Labels, Series
from serinus.serving.errors import Cancelled, SerinusError
from serinus.serving.files import write_atomically

__all__ = ["BASELINE", "Baseline", "class_labels", "freeze", "publish_baselines", "read_baselines"]

BASELINE = "rollout.baseline"
"""Kind of the documents in the store, by model."""

FORMAT = 1
_QUANTILES = (0.5, 0.95, 0.99)
_LEAST, _MOST = 0.001, 0.4
_CONFIDENCE = 0.001


@dataclass(frozen=True, slots=True)
class Baseline:
    """What stable was like before a rollout."""

    model: str
    rollout_id: str
    thresholds_ns: tuple[int, ...] = ()
    """Median, 95th and 99th percentile of its answers' time; empty where it had answered too little."""
    requests: int = 0
    errors: int = 0
    """Requests that it could not answer, of `requests`."""
    labels: tuple[Any, ...] = ()
    """The classes that the versions may give, stable's first; empty where they give none."""

    @property
    def expected_failures(self) -> float:
        """What a sound version's probability of failing is at most."""
        if not self.requests:
            return 10 * _LEAST
        return min(_MOST, max(_LEAST, probability_bounds(self.errors, self.requests, _CONFIDENCE).high))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Baseline:
        """What `to_dict` gave."""
        if data.get("format") != FORMAT:
            raise SerinusError(f"A rollout's baseline has format {data.get('format')}, this program reads {FORMAT}: "
                               "upgrade it.")
        values = {name: value for name, value in data.items() if name != "format"}
        return cls(**{**values, "thresholds_ns": tuple(values["thresholds_ns"]), "labels": tuple(values["labels"])})


def freeze(model: str, rollout_id: str, stable: str, series: Iterable[tuple[Labels, Series]], labels: tuple[Any, ...],
           *, enough: int) -> Baseline:
    """The baseline of a rollout, from the boards' series; without thresholds where stable answered fewer than `enough`
    requests."""
    mine = [(of, counts) for of, counts in series if of.model == model and of.version == stable]
    buckets = [sum(column) for column in zip(*(counts.duration_buckets for of, counts in mine if not of.error_type),
                                             strict=True)]
    errors = sum(counts.requests for of, counts in mine if of.error_type not in ("", Cancelled.kind))
    answered = sum(buckets)
    thresholds = tuple(_quantile(buckets, share) for share in _QUANTILES) if answered >= enough else ()
    return Baseline(model, rollout_id, thresholds, answered + errors, errors, labels)


def _quantile(buckets: list[int], share: float) -> int:
    """A quantile in nanoseconds, by straight lines within the histogram's buckets."""
    wanted, below, low = share * sum(buckets), 0, 0
    for number, high in zip(buckets, BOUNDS_NS, strict=False):
        if below + number >= wanted:
            return int(low + (high - low) * (wanted - below) / number)
        below, low = below + number, high
    return BOUNDS_NS[-1]


def class_labels(*signatures: Signature) -> tuple[Any, ...]:
    """The classes that versions with these signatures may give, those of the first one first."""
    found = [next((field.labels for field in signature.outputs if field.labels and len(field.shape) == 1), ())
             for signature in signatures]
    return tuple(dict.fromkeys(label for labels in found for label in labels))


def publish_baselines(path: Path, baselines: Iterable[Baseline]) -> None:
    """Tell the workers of this host, where it is news."""
    data = orjson.dumps({"format": FORMAT, "baselines": {each.model: each.to_dict() for each in baselines}})
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)


def read_baselines(path: Path) -> dict[str, Baseline]:
    """By model what was published last at `path`; nothing when there is no file."""
    try:
        stored = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    if stored.get("format") != FORMAT:
        raise SerinusError(f"{path} has format {stored.get('format')}, this program reads {FORMAT}: upgrade it.")
    return {model: Baseline.from_dict(data) for model, data in stored["baselines"].items()}
