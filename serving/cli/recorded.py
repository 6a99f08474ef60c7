"""What the latest rollout of a model counted, out of the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson

from serinus.serving.errors import CommandError
from serinus.serving.home import Home
from serinus.serving.store import SqliteStore

if TYPE_CHECKING:
    from serinus.serving.rollout.evidence import Evidence

__all__ = ["recorded"]


def recorded(home: Home, model: str) -> Evidence:
    """The evidence of a model's latest rollout. Raises CommandError where nothing was counted."""
    from serinus.serving.rollout.baseline import BASELINE, Baseline
    from serinus.serving.rollout.gathering import PAIRS, TRUTHS, Counted, gather, pairs_of
    from serinus.serving.steward.ship_tallies import CALLER_COUNTS

    store = SqliteStore(home.store, create=False)
    try:
        record, baseline = store.record(model), store.document(BASELINE, model)
        if record is None or record.plan is None:
            raise CommandError(f"Nothing is known of a rollout of {model!r} on home {home.path}.")
        counted = Counted.of(record.rollout_id, store.counters(record.rollout_id), store.documents(CALLER_COUNTS),
                             store.documents(TRUTHS))
        if baseline is None or not counted.numbers:
            raise CommandError(f"Rollout {record.rollout_id} of {model!r} has no counts: a person took its steps, or "
                               "nothing came in.")
        pairs, died = pairs_of(record.rollout_id, store.documents(PAIRS))
        return gather(record, counted, Baseline.from_dict(orjson.loads(baseline.body)), pairs=pairs,
                      shadow_failed=died, elapsed_s=record.elapsed_at(time.time()), silent_s=0.0)
    finally:
        store.close()
