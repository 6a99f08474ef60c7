"""One rollout's shadow: answers copies by the candidate, compares with stable's answers, and keeps the pairs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from serinus.monitors.record import PredictionRecord
from serinus.serving.expectations import Guard
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.router import Loaded
from serinus.serving.shadow.ledger import Entry, LedgerWriter
from serinus.serving.shadow.pairs import NO_LABEL, Answer, Answers, PairCounts, chosen_row
from serinus.serving.shadow.published import PREDICT, Mark
from serinus.serving.shadow.slices import Slices, values_at
from serinus.serving.shadow.spans import ShadowSpans

__all__ = ["Journals", "Shadow"]

_log = logging.getLogger("serinus.shadow")

Outputs = Mapping[str, NDArray[Any]]
ROLE = "shadow"
_COMPLAIN_S = 30.0


class Journals(NamedTuple):
    """Where a shadow writes: what it does, its ledgers, predictions and spans. `source` names this server's life."""

    mark: Mark
    ledgers: Path
    source: str
    log: SegmentWriter | None
    ids: IdSource
    spans: ShadowSpans


class Shadow:
    """The candidate of one rollout. `hidden_by` hide what is personal before anything is kept. Copies older
    than `deadline_s` tell of a process that cannot keep up, and are dropped."""

    def __init__(self, record: RolloutRecord, candidate: Loaded, hidden_by: tuple[Guard, ...], counts: PairCounts,
                 slices: Slices, journals: Journals, deadline_s: float) -> None:
        self.counts = counts
        self.slices = slices
        self._deadline_ns = deadline_s * 1e9
        self._version = str(record.candidate)
        self._model = candidate.model
        self._guards = hidden_by
        self._answers = Answers(candidate.model.signature)
        self._outputs = frozenset(field.name for field in candidate.model.signature.outputs)
        self._journals = journals
        self._ledger: LedgerWriter | None = None
        self._early: list[tuple[Entry, dict[str, str]]] = []
        self._entries: list[Entry] = []
        self._complained = float("-inf")

    def pair(self, record: PredictionRecord) -> None:
        """Answer a copy, and compare. `record` is stable's."""
        if time.time_ns() - record.received_ns - record.duration_ns > self._deadline_ns:
            self.counts.late += 1
            return
        began, cpu = time.time_ns(), time.thread_time_ns()
        outputs, error = self._predict(record)
        cpu, ended = time.thread_time_ns() - cpu, time.time_ns()
        row = chosen_row(record)
        mine = None if outputs is None else self._answers.of(outputs, row)
        theirs = self._answers.of(record.outputs, row) if record.outputs else None
        inputs, kept = self._hidden(record.inputs, outputs)
        values = values_at({name: array for name, array in inputs.items() if array is record.inputs.get(name)}, row)
        bits = self.slices.of(values)
        self.counts.add(theirs, mine, stable_ns=record.duration_ns, candidate_ns=cpu, slices=self.slices.told(bits))
        if mine is not None and theirs is not None:
            both = _told(theirs, mine)
            self._note(None if both is None else (record.prediction_uuid, row, *both, bits), values)
        elif self.slices.names is None:
            self.slices.learn(values)
        self._journals.spans.put(record, self._version, began, ended, error, _disagree(theirs, mine))
        if kept is not None and record.outputs:
            self._write(record, inputs, kept, cpu)

    def enter(self) -> None:
        """Bring pairs that are told into the ledger: it never knows of more than were told."""
        if self._entries and self._ledger is None:
            counts, journals = self.counts, self._journals
            self._ledger = LedgerWriter(journals.ledgers, counts.rollout_id, counts.model, journals.source,
                                        counts.labels, self.slices.names or ())
        if self._ledger is not None:
            self._ledger.append(self._entries)
        self._entries = []

    def close(self) -> None:
        """Give ledger and model back."""
        self.enter()
        if self._ledger is not None:
            self._ledger.close()
        self._model.close()

    def _predict(self, record: PredictionRecord) -> tuple[Outputs | None, str]:
        wanted = tuple(record.outputs) if record.outputs and self._outputs.issuperset(record.outputs) else None
        self._journals.mark.set(PREDICT, self.counts.rollout_id)
        try:
            return self._model.predict(record.inputs, wanted), ""
        except Exception as error:
            self._complain(error)
            return None, type(error).__name__
        finally:
            self._journals.mark.clear()

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAIN_S:
            self._complained = now
            personal = any(guard.personal for guard in self._guards)  # an exception's text may hold a value
            _log.warning("%s:%s raised %s in the shadow", self.counts.model, self._version, type(error).__name__,
                         exc_info=None if personal else error)

    def _hidden(self, inputs: Outputs, outputs: Outputs | None) -> tuple[Outputs, Outputs | None]:
        if not self._guards:
            return inputs, outputs
        hidden = self._guards[0].hidden(inputs, outputs or {}, *self._guards[1:])
        return hidden[0], None if outputs is None else hidden[1]

    def _note(self, entry: Entry | None, values: dict[str, str]) -> None:
        """For the ledger, as soon as the slices are fixed; a pair without answers can be held against no truth."""
        if self.slices.names is not None:
            self._entries += [entry] if entry is not None else []
            return
        self._early += [(entry, values)] if entry is not None else []
        if self.slices.learn(values):
            self._entries = [(*early[:4], self.slices.of(values)) for early, values in self._early]
            self._early = []

    def _write(self, record: PredictionRecord, inputs: Outputs, outputs: Outputs, took_ns: int) -> None:
        """Into the prediction log of the shadows, under the id that the caller has."""
        if self._journals.log is None:
            return
        self._journals.ids.next(record.received_ns)
        try:
            self._journals.log.append(
                record._replace(version=self._version, role=ROLE, inputs=inputs, outputs=outputs, duration_ns=took_ns),
                self._journals.ids.sequence - 1)
        except OSError as error:
            self._complain(error)


def _told(stable: Answer, candidate: Answer) -> tuple[float, float] | None:
    """Both classes, or both numbers; None where one gave neither."""
    if NO_LABEL not in (stable.label, candidate.label):
        return stable.label, candidate.label
    if stable.value is not None and candidate.value is not None:
        return stable.value, candidate.value
    return None


def _disagree(stable: Answer | None, candidate: Answer | None) -> bool | None:
    if stable is None or candidate is None or NO_LABEL in (stable.label, candidate.label):
        return None
    return stable.label != candidate.label
