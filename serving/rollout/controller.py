"""Joins the pure state machine to a store: read, decide, swap, and decide again when someone was faster.

Used by the steward and the command line alike. A rollback on a host whose store is out of reach needs none of this:
`advance(last_known_record, RollBack(...), now)` gives the Veto to obey at once, and `roll_back` here follows when the
store is back.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serinus.serving.rollout.errors import TransitionRefused
from serinus.serving.rollout.state import Plan, RolloutRecord
from serinus.serving.rollout.transitions import (
    Abort,
    Acknowledged,
    Approve,
    Command,
    Event,
    Freeze,
    Journal,
    Notice,
    Pause,
    Promote,
    Resume,
    RollBack,
    SetStable,
    Start,
    Veto,
    advance,
)
from serinus.serving.store import Conflict, JournalEntry, Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event came to: the stored record, and the commands left for the caller to carry out."""

    record: RolloutRecord
    commands: tuple[Command, ...]

    @property
    def notice(self) -> str | None:
        """Why nothing was done; None when the record changed."""
        return next((command.text for command in self.commands if isinstance(command, Notice)), None)

    @property
    def veto(self) -> Veto | None:
        """What every worker of this host must obey; None when no version was taken off."""
        return next((command for command in self.commands if isinstance(command, Veto)), None)


def apply(
    store: Store, model: str, event: Event, *, now: float, epoch: int | None = None, retries: int = 5
) -> RolloutRecord:
    """Let the event happen to the model, and answer with the record after it; see `decide`."""
    return decide(store, model, event, now=now, epoch=epoch, retries=retries).record


def decide(
    store: Store, model: str, event: Event, *, now: float, epoch: int | None = None, retries: int = 5,
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    """Read the record, advance it and store it with its journal; after a lost race, decide anew on what won.

    `details` are JSON values to be kept in the journal's entry. Only SetStable may come first for a model. Raises
    TransitionRefused, Conflict after `retries` lost races, Fenced when `epoch` is an old one, and StoreUnavailable,
    after which the event may or may not have happened.
    """
    for _ in range(retries):
        try:
            return _try(store, model, event, now, epoch, details)
        except Conflict:
            continue
    return _try(store, model, event, now, epoch, details)


def start(
    store: Store,
    model: str,
    candidate: str,
    digest: str,
    plan: Plan,
    actor: str,
    *,
    now: float,
    reason: str = "",
    force: bool = False,
    epoch: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    """Begin a rollout of `candidate`, whose artifact has `digest`, under a new id and salt."""
    event = Start(
        uuid.uuid4().hex, candidate, digest, plan, secrets.token_hex(16), force=force, actor=actor, reason=reason
    )
    return decide(store, model, event, now=now, epoch=epoch, details=details)


def promote(
    store: Store,
    model: str,
    actor: str,
    *,
    now: float,
    reason: str = "",
    force: bool = False,
    step_id: str | None = None,
    epoch: int | None = None,
) -> Outcome:
    """Take the next step, or make the candidate stable after the last one; `force` makes it stable at once.

    `step_id` is the step the actor saw, the present one when not given: of two who promote together one is refused.
    """
    seen = _read(store, model).step_id if step_id is None else step_id
    return decide(
        store, model, Promote(force=force, step_id=seen, actor=actor, reason=reason), now=now, epoch=epoch
    )


def approve(
    store: Store, model: str, actor: str, *, now: float, reason: str = "", epoch: int | None = None
) -> Outcome:
    """Agree that the step which is seen may end; it does when its evidence is there too."""
    event = Approve(_read(store, model).step_id, actor=actor, reason=reason)
    return decide(store, model, event, now=now, epoch=epoch)


def pause(
    store: Store, model: str, actor: str, *, now: float, reason: str = "", epoch: int | None = None
) -> Outcome:
    """Hold a running rollout at its weight."""
    return decide(store, model, Pause(actor=actor, reason=reason), now=now, epoch=epoch)


def resume(
    store: Store, model: str, actor: str, *, now: float, reason: str = "", epoch: int | None = None
) -> Outcome:
    """Go on with a held rollout."""
    return decide(store, model, Resume(actor=actor, reason=reason), now=now, epoch=epoch)


def freeze(
    store: Store, model: str, actor: str, *, now: float, reason: str = "", epoch: int | None = None
) -> Outcome:
    """Let nothing automatic happen to a running rollout, not even a rollback on evidence, until a person acts."""
    return decide(store, model, Freeze(actor=actor, reason=reason), now=now, epoch=epoch)


def abort(
    store: Store, model: str, actor: str, *, now: float, reason: str = "", epoch: int | None = None
) -> Outcome:
    """Stop a running rollout; without one, the outcome's notice says so."""
    return decide(store, model, Abort(actor=actor, reason=reason), now=now, epoch=epoch)


def roll_back(
    store: Store,
    model: str,
    actor: str,
    *,
    now: float,
    reason: str = "",
    to: str | None = None,
    digest: str | None = None,
    force: bool = False,
    epoch: int | None = None,
) -> Outcome:
    """Take the doubtful version off: the candidate, else stable in favour of the one before it, or of `to`."""
    return decide(store, model, RollBack(to, digest, force, actor=actor, reason=reason), now=now, epoch=epoch)


def acknowledge(
    store: Store, model: str, generation: int, actor: str, *, now: float, epoch: int | None = None
) -> Outcome:
    """Note that every live worker is at weight 0 and has seen `generation`."""
    return decide(store, model, Acknowledged(generation, actor=actor), now=now, epoch=epoch)


def set_stable(
    store: Store,
    model: str,
    version: str,
    digest: str | None,
    actor: str,
    *,
    now: float,
    reason: str = "",
    force: bool = False,
    epoch: int | None = None,
) -> Outcome:
    """Serve `version` by default without a rollout: the first registration, or a deliberate replacement."""
    return decide(store, model, SetStable(version, digest, force, actor=actor, reason=reason), now=now, epoch=epoch)


def _try(store: Store, model: str, event: Event, now: float, epoch: int | None,
         details: Mapping[str, Any] | None) -> Outcome:
    old = RolloutRecord.initial(model, None, now) if isinstance(event, SetStable) else None
    old = store.record(model) or old or _read(store, model)
    new, commands = advance(old, event, now)
    if new is not old:
        entries = [_entry(new, command, details or {}) for command in commands if isinstance(command, Journal)]
        store.swap(new, expected_generation=old.generation, journal=entries, epoch=epoch)
    return Outcome(new, commands)


def _read(store: Store, model: str) -> RolloutRecord:
    record = store.record(model)
    if record is None:
        raise TransitionRefused(
            f"Model '{model}' has no stable version, so nothing can be rolled out or back. Serve one first.",
            phase="idle",
            possible=("set stable",),
        )
    return record


def _entry(new: RolloutRecord, command: Journal, details: Mapping[str, Any]) -> JournalEntry:
    body = {
        "text": command.text,
        "rollout_id": new.rollout_id,
        "phase": str(new.phase),
        "step_id": new.step_id,
        "weight": new.weight,
        "stable": new.stable,
        "candidate": new.candidate,
        **details,
    }
    return JournalEntry(new.model, command.kind, new.updated, new.generation, new.actor, new.reason, body)
