"""What is said of a model's windows: how much is known, how much should be, and what the answers were worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import sqrt
from typing import Any, NamedTuple

from serinus.monitors.label_delay import EDGES_S, Cohort, Delays, complete, dependence, estimate
from serinus.monitors.metrics import Sums
from serinus.monitors.performance import Definition
from serinus.serving.ground_truth.windows import COUNTS, cohort, merged

__all__ = ["Summary", "WindowName"]

_HOUR_S = 3600
_SHOWN = 7 * 24
_STUDIED = 500
_BEHIND = 4.0
"""Standard errors below what is expected, at which a window is said to be behind."""


class WindowName(NamedTuple):
    """Whose predictions, and of which hour since 1970."""

    model: str
    version: str
    role: str
    hour: int

    @property
    def key(self) -> str:
        """As documents are named."""
        return f"{self.model}:{self.version}:{self.role}:{self.hour}"

    @classmethod
    def of(cls, key: str) -> WindowName:
        """The name that `key` gave."""
        model, version, role, hour = key.rsplit(":", 3)
        return cls(model, version, role, int(hour))

    @property
    def begins(self) -> str:
        """ISO 8601, in UTC."""
        return datetime.fromtimestamp(self.hour * _HOUR_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def age_s(self, now: float) -> float:
        """How old its predictions are in the middle."""
        return now - (self.hour + 0.5) * _HOUR_S


class Summary:
    """Says it again and again; what has not changed is not computed anew."""

    def __init__(self) -> None:
        self._wholes: dict[WindowName, tuple[int, dict[str, Any]]] = {}
        self._measured: dict[WindowName, tuple[int, dict[str, Any] | None]] = {}

    def of(self, windows: Mapping[WindowName, Mapping[str, Any]], definitions: Mapping[tuple[str, str], Definition],
           now: float, mature_share: float) -> dict[str, Any]:
        """By model: its delays, whether truths are learnt by score, and its latest windows with their measures.

        `windows` are documents with `revision` and `parts`; `definitions` those of the versions that can be measured.
        """
        self._wholes = {name: self._whole(name, window) for name, window in windows.items()}
        self._measured = {name: known for name, known in self._measured.items() if name in windows}
        found = {}
        for model in sorted({name.model for name in windows}):
            mine = sorted((name for name in windows if name.model == model), key=lambda name: name.hour)
            latest = mine[-_STUDIED:]
            cohorts = {name: cohort(self._wholes[name][1], name.age_s(now)) for name in latest}
            delays = estimate(cohorts.values())
            shown = {name: self._window(name, windows[name], cohorts[name], delays, definitions.get(name[:2]),
                                        mature_share, name.age_s(now)) for name in latest[-_SHOWN:]}
            mature = [self._wholes[name][1] for name, told in shown.items() if told["mature"]]
            found[model] = {"delays": _delays(delays), "selection": _selection(mature), "windows": [*shown.values()]}
        return found

    def _whole(self, name: WindowName, window: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        known = self._wholes.get(name)
        if known is not None and known[0] == window["revision"]:
            return known
        return window["revision"], merged(window["parts"].values())

    def _window(self, name: WindowName, document: Mapping[str, Any], part: Cohort, delays: Delays,
                definition: Definition | None, mature_share: float, age_s: float) -> dict[str, Any]:
        whole = self._wholes[name][1]
        expected, predictions = delays.expected(max(0.0, age_s)), whole["predictions"]
        share = whole["labelled"] / predictions if predictions else 0.0
        error = sqrt(expected * (1 - expected) / predictions) if predictions else 0.0
        mature = share >= mature_share or (expected >= mature_share and share > 0)
        completed = complete(part, delays)
        classes = definition is not None and definition.task == "classification"
        total, squares, right = whole["weights"]
        return {"version": name.version, "role": name.role, "window": name.begins, "revision": document["revision"],
                **{kind: whole[kind] for kind in COUNTS},
                "labelled_share": share, "expected_share": expected, "mature": mature,
                "behind": share < expected - _BEHIND * error - 1 / max(predictions, 1), "events": whole["events"],
                "naive_accuracy": completed.naive if classes else None,
                "corrected_accuracy": completed.corrected if classes else None,
                "weighted_accuracy": right / total if classes and total > 0 else None,
                "effective_rows": total**2 / squares if squares > 0 else 0.0,
                "measures": self._measures(name, document, definition) if mature else None}

    def _measures(self, name: WindowName, document: Mapping[str, Any],
                  definition: Definition | None) -> dict[str, Any] | None:
        known = self._measured.get(name)
        if known is None or known[0] != document["revision"]:
            known = self._measured[name] = document["revision"], _measures(document["parts"].values(), definition)
        return known[1]


def _measures(parts: Iterable[Mapping[str, Any]], definition: Definition | None) -> dict[str, Any] | None:
    """Every metric with its interval; None where the version has none, or its sums are of another definition."""
    if definition is None:
        return None
    sums = [Sums.from_json(part["sums"]) for part in parts if part.get("definition") == definition.digest]
    if not sums:
        return None
    whole = sums[0]
    for more in sums[1:]:
        whole = whole + more
    return {metric: measure.to_json() for metric, measure in definition.measure(whole).items()}


def _delays(delays: Delays) -> dict[str, Any]:
    return {"seconds": EDGES_S.tolist(), "known": (1 - delays.overall[1:-1]).round(6).tolist(),
            "by_class": {label: (1 - row[1:-1]).round(6).tolist()
                         for label, row in zip(delays.classes, delays.survival, strict=True)}}


def _selection(mature: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    known, totals = merged(_whole_as_part(whole) for whole in mature)["scores"]
    return dependence(known, totals)._asdict()


def _whole_as_part(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {**whole, "labels": [[*place, counts] for place, counts in whole["labels"].items()]}
