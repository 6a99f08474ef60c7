"""A stream: the rows of one version as its monitors see them, in the steward that leads.

It takes ticks in closed intervals, keeps what each worker counted last, and feeds what is new to the drift monitor. All
of it goes into one document of the store, so that another steward goes on where this one stopped: the ticks that came
after the last saved interval are still in the store, and the same ticks give the same verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from serinus.monitors.alerts import Condition
from serinus.monitors.conditions import of_drift
from serinus.monitors.counts import Counts
from serinus.monitors.drift import DriftMonitor, DriftState
from serinus.monitors.drift_state import WARM_UP
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import VALUES
from serinus.monitors.profile import Profile
from serinus.monitors.security import evasion_in
from serinus.monitors.self_check import SelfCheck
from serinus.serving.monitoring import FORMAT as VIEW_FORMAT
from serinus.serving.monitoring import View
from serinus.serving.references import Chosen
from serinus.serving.ticks import Example, Ledger, Told

__all__ = ["Stream"]

FORMAT = 2
_EXAMPLES = 32
_EVASION_ROWS = 4096
_FEATURES = 50
"""Features in the published view, the most suspicious first."""
_DRAWN = 12
"""Of those, features whose values are told by bin."""


class Stream:
    """One version's rows against one reference. Not thread-safe: used under the steward's lock."""

    def __init__(self, model: str, version: str, chosen: Chosen, profile: Profile, check: SelfCheck | None,
                 run_length: int) -> None:
        self.model, self.version = model, version
        self.chosen = chosen
        self.profile, self.check = profile, check
        self.interval = -1
        """The last one that was taken."""
        self.seen = self.unusual = 0
        """Rows answered, and how many of the observed ones were unusual."""
        self.total = profile.empty()
        """All that was ever counted."""
        self._run_length = run_length
        self._monitor = DriftMonitor(profile, run_length, check=check)
        self._ledger = Ledger()
        self._examples: dict[str, Example] = {}
        self._known: DriftState | None = None
        self._window = profile.empty()
        """Rows since evasion was last looked for."""
        self._forgotten_until = -1
        """The latest interval whose rows a person did not want judged any more."""
        self._evasion: list[dict[str, Any]] = []

    @property
    def state(self) -> DriftState:
        """What the drift monitor says."""
        if self._known is None:
            self._known = self._monitor.state
        return self._known

    def take(self, ticks: Iterable[Told], closed: int) -> bool:
        """Take the ticks of all intervals up to `closed`, and whether there was anything new among them.

        Ticks of intervals that were taken before, which came late, are taken with the next one.
        """
        by_interval: dict[int, list[Told]] = {}
        for tick in ticks:
            if tick.digest == self.profile.digest and tick.interval <= closed and self._ledger.is_new(tick):
                by_interval.setdefault(max(tick.interval, self.interval + 1), []).append(tick)
        due = sorted(interval for interval in by_interval if interval <= closed)
        for interval in due:
            self._apply(interval, by_interval[interval])
        self._ledger.forget(closed)
        return bool(due)

    def _apply(self, interval: int, ticks: list[Told]) -> None:
        news = self._ledger.news(ticks, len(self.profile.features))
        self.seen += news.seen
        self.unusual += news.unusual
        self.total = self.total + news.counts
        self.interval = interval
        if interval > self._forgotten_until:
            self._monitor.apply(interval, news.counts, float(interval))
        self._known = None
        self._look_for_evasion(news.counts)
        for tick in ticks:
            self._examples.update((example.prediction, example) for example in tick.examples)
        latest = sorted(self._examples.values(), key=lambda example: (example.time, example.prediction))[-_EXAMPLES:]
        self._examples = {example.prediction: example for example in latest}

    def _look_for_evasion(self, counts: Counts) -> None:
        """In windows of 4,096 rows and more; the last one's result is shown."""
        self._window = self._window + counts
        if self._window.rows >= _EVASION_ROWS:
            self._evasion = [
                {"kind": look.kind, "feature": look.feature, "told": look.told, "rows": self._window.rows,
                 "share": round(look.excess.share, 4), "expected": round(look.excess.expected, 4), "p": look.excess.p}
                for look in evasion_in(self.profile, self._window.table)]
            self._window = self.profile.empty()

    def view(self) -> View:
        """What is published of it."""
        state = self.state
        collecting = state.rows < WARM_UP and state.severity == "ok"
        drift = state.to_json()
        drift["features"] = drift["features"][:_FEATURES]
        counts = self._monitor.recent
        for feature in drift["features"][:_DRAWN]:
            feature["histogram"] = self._histogram(feature["name"], counts)
        return View({
            "format": VIEW_FORMAT, "model": self.model, "version": self.version,
            "state": "collecting" if collecting else state.severity, "text": state.text,
            "judged": max(self.interval, 0), "rows": state.rows, "seen": self.seen,
            "observed_share": round(state.rows / self.seen, 4) if self.seen else None,
            "evidence": round(state.evidence, 4), "run_length": int(state.run_length), "reference": self._reference(),
            "self_check": None if self.check is None else self.check.text, "drift": drift,
            "features_watched": len(self.profile.features),
            "novelty": {"unusual": self.unusual, "share": self.unusual / state.rows if state.rows else None},
            "evasion": self._evasion,
            "examples": [self._example(example) for example in reversed(self._examples.values())]})

    def _histogram(self, name: str, counts: Counts) -> dict[str, Any]:
        """A feature's values by bin, as shares: the reference's, and those of the rows that it is told of."""
        place = self.profile.names.index(name)
        feature, usual, live = self.profile.features[place], self.profile.counts[place], counts.table[place]
        told = [code for code, label in enumerate(feature.labels)
                if label and (code < VALUES or usual[code] or live[code])]
        edges = [feature.low, *feature.edges, feature.high] if feature.kind == "numeric" and feature.edges else None
        return {"rows": counts.rows, "labels": [feature.labels[code] for code in told], "edges": edges,
                "reference": (usual[told] / max(usual.sum(), 1)).round(5).tolist(),
                "live": (live[told] / max(live.sum(), 1)).round(5).tolist()}

    def _reference(self) -> dict[str, Any]:
        profile = self.profile
        return {**asdict(self.chosen), "rows": profile.rows, "span": profile.span, "source": dict(profile.source),
                "notes": list(profile.notes)}

    def _example(self, example: Example) -> dict[str, Any]:
        names = self.profile.names
        return {"prediction_id": example.prediction, "time": example.time, "novelty_p": example.p,
                "feature": names[example.feature] if 0 <= example.feature < len(names) else None}

    def conditions(self) -> list[Condition]:
        """What alerts should hear: every kind of finding, active or not."""
        return of_drift(self.state, self.model, self.version)

    def to_bytes(self) -> bytes:
        """All of it but reference and check."""
        return orjson.dumps({
            "format": FORMAT, "chosen": asdict(self.chosen), "run_length": self._run_length, "interval": self.interval,
            "seen": self.seen, "unusual": self.unusual, "total": self.total.to_json(),
            "ledger": self._ledger.to_json(),
            "window": self._window.to_json(), "evasion": self._evasion, "forgotten_until": self._forgotten_until,
            "examples": list(map(list, self._examples.values())), "monitor": self._monitor.to_json()})

    @staticmethod
    def forgotten(data: bytes, until: int) -> bytes:
        """What `to_bytes` gave, with all evidence and alarms forgotten; no row is counted again, and those of intervals
        up to `until` that were not saved yet are not judged."""
        return orjson.dumps({**orjson.loads(data), "monitor": None, "forgotten_until": until})

    @staticmethod
    def counted(data: bytes) -> tuple[str, Counts] | None:
        """Of what `to_bytes` gave: the reference's digest, and all that was ever counted; None before that was kept."""
        stored: Mapping[str, Any] = orjson.loads(data)
        if stored["format"] != FORMAT or "total" not in stored:
            return None
        return stored["chosen"]["digest"], Counts.from_json(stored["total"])

    def restore(self, data: bytes) -> bool:
        """Go on where `to_bytes` was called; False, and nothing done, where that was against another reference, with
        another run length, or by another release."""
        stored: Mapping[str, Any] = orjson.loads(data)
        if stored["format"] != FORMAT or stored["run_length"] != self._run_length:
            return False
        if stored["chosen"]["digest"] != self.profile.digest:
            return False
        try:
            if stored["monitor"] is not None:
                self._monitor = DriftMonitor.from_json(stored["monitor"], self.profile, check=self.check)
        except InvalidData:
            return False
        self.interval, self.seen, self.unusual = stored["interval"], stored["seen"], stored["unusual"]
        if "total" in stored:  # earlier releases kept none
            self.total = Counts.from_json(stored["total"])
        self._ledger = Ledger.from_json(stored["ledger"])
        self._forgotten_until = stored.get("forgotten_until", -1)  # earlier releases had none
        self._window, self._evasion = Counts.from_json(stored["window"]), stored["evasion"]
        self._examples = {row[0]: Example(*row) for row in stored["examples"]}
        self._known = None
        return True
