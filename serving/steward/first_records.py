"""Job: give every served model a record, with its first registered version (or the one asked for) as stable."""

from __future__ import annotations

import logging
import time

from serinus.serving.rollout import controller
from serinus.serving.served_models import served
from serinus.serving.steward.job import Shared
from serinus.serving.wishes import read_wishes

_log = logging.getLogger("serinus.steward")


class FirstRecords:
    """Later versions get traffic by a rollout only; naming one to `serve` is a person's decision too."""

    name = "first_records"
    period_s = 1.0

    def __init__(self) -> None:
        self._asked: set[tuple[str, str]] = set()

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.is_behind():  # what looks new was there before
            return
        wishes = read_wishes(shared.run.wishes).by_model
        for name, asked in served(shared.settings, shared.registry, wishes).items():
            versions = shared.registry.versions(name)
            if asked is not None and (name, asked) not in self._asked:
                self._ask(shared, name, asked)
                self._asked.add((name, asked))
            elif versions and shared.store.record(name) is None:
                self._set(shared, name, versions[0], "first registered version")

    def _ask(self, shared: Shared, name: str, asked: str) -> None:
        """A newer version that a person named becomes stable. An older one does not: the command line of a restart
        must not undo a promotion."""
        record = shared.store.record(name)
        if record is None or record.stable is None or int(asked) > int(record.stable):
            self._set(shared, name, asked, "named when the server was started")
        elif asked != record.stable:
            _log.warning("%s:%s was named, but version %s is stable since; to go back: serinus rollback %s --to %s",
                         name, asked, record.stable, name, asked)

    def _set(self, shared: Shared, name: str, version: str, reason: str) -> None:
        found = shared.registry.get(name, version)
        record = shared.store.record(name)
        if record is None or record.stable != version:
            controller.set_stable(shared.store, name, version, found.digest, shared.holder, now=time.time(),
                                  reason=reason)
            shared.publish()
