"""Job: start what should be started when a model is to be trained again, and take down how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from serinus.serving.retraining import Retraining
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict


class StartRetraining:
    """The steward that holds the lease decides; the steward of the host on which a run goes on settles it."""

    name = "start_retraining"
    period_s = 2.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        settings = shared.settings.retraining
        retraining = Retraining(shared.store, shared.home, shared.registry, shared.settings, shared.holder)
        for model in sorted(shared.store.records()):
            try:
                self._look(shared, retraining, model, enabled=settings.enabled and (
                    not settings.models or model in settings.models))
            except Conflict:  # somebody else was first, and goes on with it
                continue

    def _look(self, shared: Shared, retraining: Retraining, model: str, *, enabled: bool) -> None:
        now = self._clock()
        state = retraining.settle(model, retraining.state(model, now), now)
        if shared.lease is None or not enabled:
            return
        if state.revision == 0:
            state = retraining.keep(model, state, now, shared.lease.epoch)
        advice = retraining.advise(model, now, state)
        if advice.decision.start:
            retraining.start(model, state, advice, now, shared.lease.epoch)
