"""Job: let alerts hear when a stable version fails more often, or answers more slowly, than it used to."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from serinus.monitors.alerts import Condition
from serinus.serving.alerting import report
from serinus.serving.board import read_all
from serinus.serving.own_rates import KINDS, Counted, OwnRates, Watch, counted
from serinus.serving.steward.job import Shared
from serinus.serving.steward.ship_tallies import name_of
from serinus.serving.store import Conflict, Document

__all__ = ["OWN", "WatchRequests"]

OWN = "requests.own"
"""Kind of the documents with what is normal for a version on one host: MODEL:VERSION/HOME."""
_REPORT_S = 300.0


class WatchRequests:
    """Every steward, of what its own host's workers counted. What is normal is kept; a steward that takes over looks at
    what comes from then on, so its evidence begins anew, and so does the run length."""

    name = "watch_requests"
    period_s = 2.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._before: dict[str, Counted] = {}
        self._own: dict[str, OwnRates] = {}
        self._watches: dict[str, list[Watch]] = {}
        self._reported: dict[tuple[str, str, str], tuple[bool, float]] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if not shared.settings.monitors.enabled:
            return
        (_, series), _ = read_all(shared.run.boards)
        stable = {f"{model}:{record.stable}": (model, record.stable)
                  for model, record in shared.store.records().items() if record.stable is not None}
        for key, (model, version) in stable.items():
            total = counted(series.items(), model, version)
            news = total.less(self._before.setdefault(key, total))
            self._before[key] = total
            self._look(shared, key, news)
            for watch in self._watches.get(key, ()):
                self._report(shared, watch.condition(model, version))
        for key in self._before.keys() - stable.keys():
            self._end(shared, key)

    def _look(self, shared: Shared, key: str, news: Counted) -> None:
        own = self._own.get(key) or _kept(shared, key)
        if own.is_known:
            watches = self._watches.setdefault(key, [
                Watch(own, kind, shared.settings.monitors.run_length) for kind in KINDS])
            for watch in watches:
                watch.take(news)
        elif (own := own.learn(news)).is_known:
            _keep(shared, key, own, self._clock())
        self._own[key] = own

    def _end(self, shared: Shared, key: str) -> None:
        """It is stable no more, and nothing is wrong with what does not answer."""
        model, _, version = key.rpartition(":")
        for watch in self._watches.pop(key, ()):
            self._report(shared, Condition(model, version, watch.kind, "warn", False, "It is not stable any more."))
        del self._before[key]
        self._own.pop(key, None)

    def _report(self, shared: Shared, condition: Condition) -> None:
        """Every change, and now and then that it is so still."""
        now = self._clock()
        active, at = self._reported.get(condition.subject, (None, 0.0))
        if active != condition.active or now - at >= _REPORT_S:
            with suppress(Conflict):  # another steward of this home said the same
                report(shared.store, condition, now, watcher=name_of(shared.home))
                self._reported[condition.subject] = condition.active, now


def _kept(shared: Shared, key: str) -> OwnRates:
    found = shared.store.document(OWN, f"{key}/{name_of(shared.home)}")
    return OwnRates() if found is None else OwnRates.from_json(orjson.loads(found.body))


def _keep(shared: Shared, key: str, own: OwnRates, now: float) -> None:
    with suppress(Conflict):  # another steward of this home has learnt it too
        shared.store.put_document(Document(OWN, f"{key}/{name_of(shared.home)}", 1, orjson.dumps(own.to_json()), now),
                                  expected_revision=0)
