"""Job: carry this host's vetoes into the store, then lift them."""

from __future__ import annotations

import logging
import time

from serinus.serving.home import Home
from serinus.serving.rollout import controller
from serinus.serving.rollout.errors import TransitionRefused
from serinus.serving.snapshot import is_behind, publish_snapshot, read_snapshot
from serinus.serving.steward.job import Shared
from serinus.serving.store import Store
from serinus.serving.veto import Veto, read_vetoes, remove_veto

_log = logging.getLogger("serinus.steward")


class CarryVetoes:
    """A veto is lifted only after a snapshot that says the same was written."""

    name = "carry_vetoes"
    period_s = 0.1

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        for veto in read_vetoes(shared.home.vetoes).by_model.values():
            carry(shared.home, shared.store, veto)


def carry(home: Home, store: Store, veto: Veto) -> None:
    """Make the store say what the veto says. Used by the command line too, where no server runs.

    Raises `StoreError` when the store is out of reach; the veto then stands, as it does while the store knows less
    than the workers.
    """
    if is_behind(store.records(), read_snapshot(home.snapshot).records):
        return
    try:
        controller.roll_back(store, veto.model, veto.actor, now=time.time(), reason=veto.reason, to=veto.to)
    except TransitionRefused as error:
        record = store.record(veto.model)
        if record is None or record.stable != veto.stable:
            _log.error("The rollback of %s stands on this host, but the store refuses it: %s", veto.model, error)
            return
    if publish_snapshot(home.snapshot, store.records()) is not None:
        remove_veto(home, veto)
