"""Job: tell what the journal took down as events, for the log and for an OpenTelemetry backend."""

from __future__ import annotations

from serinus.serving.rollout.journal import explain
from serinus.serving.steward.job import Shared
from serinus.serving.store import JournalEntry
from serinus.serving.telemetry import names
from serinus.serving.telemetry.logs import emit_event


class TellEvents:
    """Tells each new entry once, by the steward that holds the lease; what is older than this steward was told by
    another one."""

    name = "tell_events"
    period_s = 1.0

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._first = True

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        for model in sorted(shared.store.records()):
            known = self._told.get(model, 0)
            while entries := shared.store.journal(model, after=known):
                known = entries[-1].seq or known
                for entry in () if self._first or shared.lease is None else entries:
                    _tell(entry)
            self._told[model] = known
        self._first = False


def _tell(entry: JournalEntry) -> None:
    attributes: dict[str, str | int | float | bool] = {
        names.MODEL_NAME: entry.model, names.ACTOR: entry.actor, names.REASON: entry.reason,
        **{f"serinus.rollout.{key}": value for key, value in entry.body.items()
           if key != "text" and isinstance(value, str | int | float | bool)}}
    emit_event(f"{names.ROLLOUT_EVENTS}.{entry.kind}", f"{entry.model}: {explain(entry)}",
               {name: value for name, value in attributes.items() if value != ""})
