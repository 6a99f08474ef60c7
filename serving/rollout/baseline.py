"""The baseline: what stable was like before a step of a rollout, so that both arms are measured by the same.

The steward takes it from what the workers' boards counted of stable, and keeps it in the store. A file of the
host tells it to the workers; without its baseline a worker counts nothing of a rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from serinus.models.signature import Signature
from serinus.monitors.sequential.confidence_sequences import probability_bounds
from serinus.serving.board import BOUNDS_NS, Labels, Series
from serinus.serving.errors import Cancelled, SerinusError
from serinus.serving.files import write_atomically

__all__ = ["BASELINE", "Baseline", "Buckets", "answered", "class_labels", "freeze", "publish_baselines",
           "read_baselines"]

BASELINE = "rollout.baseline"
"""Kind of the documents in the store, by model."""

FORMAT = 1
_QUANTILES = (0.5, 0.95, 0.99)
_LEAST, _MOST = 0.001, 0.4
_CONFIDENCE = 0.001

Buckets = tuple[int, ...]
"""A histogram by `BOUNDS_NS`; empty without any answer."""


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
    buckets: tuple[int, ...] = ()
    """Its histogram when the thresholds were taken; empty without thresholds."""
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
        lists: dict[str, Any] = {name: tuple(values[name]) for name in ("thresholds_ns", "buckets", "labels")}
        return cls(**{**values, **lists})

    def refreshed(self, buckets: Buckets, *, enough: int) -> Baseline:
        """With the thresholds of what stable answered since, where that is `enough`: the load is another one by then.

        They rest on the past only and are the same for both arms, so that no evidence is spoilt by it.
        """
        recent = _since(self.buckets, buckets)
        if not self.thresholds_ns or sum(recent) < enough:
            return self
        return replace(self, thresholds_ns=_thresholds(recent), buckets=tuple(buckets))


def answered(model: str, version: str, series: Iterable[tuple[Labels, Series]]) -> tuple[Buckets, int]:
    """The histogram of a version's answers, and how many requests it could not answer, by the boards' series."""
    mine = [(of, counts) for of, counts in series if of.model == model and of.version == version]
    columns = zip(*(counts.duration_buckets for of, counts in mine if not of.error_type), strict=True)
    errors = sum(counts.requests for of, counts in mine if of.error_type not in ("", Cancelled.kind))
    return tuple(sum(column) for column in columns), errors


def freeze(model: str, rollout_id: str, before: Buckets, now: Buckets, errors: int, labels: tuple[Any, ...], *,
           enough: int) -> Baseline:
    """The baseline of a rollout: errors by all that stable did until `now`, speed by its answers since `before`. There
    are no thresholds where these are fewer than `enough`."""
    recent = _since(before, now)
    requests = sum(now) + errors
    if sum(recent) < enough:
        return Baseline(model, rollout_id, (), requests, errors, (), labels)
    return Baseline(model, rollout_id, _thresholds(recent), requests, errors, now, labels)


def _since(before: Buckets, now: Buckets) -> Buckets:
    """What was added to a histogram; all of it, if it began anew meanwhile."""
    added = tuple(late - early for late, early in zip(now, before, strict=True)) if before and now else now
    return now if any(number < 0 for number in added) else added


def _thresholds(buckets: Buckets) -> tuple[int, ...]:
    return tuple(_quantile(buckets, share) for share in _QUANTILES)


def _quantile(buckets: Buckets, share: float) -> int:
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
