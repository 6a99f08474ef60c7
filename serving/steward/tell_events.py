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
    """An entry's kind is a rollout's event, or has its subject before a dot; alerts are told by their notifiers."""
    if entry.kind.startswith("alert."):
        return
    attributes: dict[str, str | int | float | bool] = {
        names.MODEL_NAME: entry.model, names.ACTOR: entry.actor, names.REASON: entry.reason,
        **{f"serinus.rollout.{key}": value for key, value in entry.body.items()
           if key != "text" and isinstance(value, str | int | float | bool)}}
    name = f"serinus.{entry.kind}" if "." in entry.kind else f"{names.ROLLOUT_EVENTS}.{entry.kind}"
    emit_event(name, f"{entry.model}: {explain(entry)}",
               {name: value for name, value in attributes.items() if value != ""})
