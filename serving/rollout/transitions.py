"""The rollout state machine: one pure function, no clock, no store, no randomness.

    IDLE ──Start──▶ PREFLIGHT ──▶ SHADOW ──▶ CANARY(0) ──▶ CANARY(1) … ──▶ SOAK ──▶ PROMOTED
                     │ Reject       │            │                         │          │
                     ▼              │   Hold, Pause, Freeze ▼ ▲ Resume     │          │
                  REJECTED          │            HOLD, FROZEN              │          │
                                    └──Abort, RollBack──▶ ROLLING_BACK ◀───┴──────────┘
                                                               │ Acknowledged
                                                               ▼
                                                          ROLLED_BACK

Along the upper line goes `Advance` on evidence, which may need `Approve` by persons besides, or `Promote` by a person.
A plan that is taken by hand has neither preflight, shadow nor soak. `advance` answers with the next record and the
commands that make it true. An accepted event raises the generation by exactly one; a refused one raises
TransitionRefused; one that has nothing to do returns the same record and a Notice. Only Start, Advance, Promote and
Resume can raise the candidate's weight.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Never, assert_never

from serinus.serving.rollout.errors import TransitionRefused
from serinus.serving.rollout.state import DEFAULT_ROLLBACK_WINDOW_S, FULL_WEIGHT, Phase, Plan, RolloutRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caused:
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Start(_Caused):
    """Begin a rollout of `candidate` at the plan's first step.

    `rollout_id` and `salt` are new and random for each rollout. `force` lifts the candidate's quarantine.
    Repeating a Start whose `rollout_id` is already on record does nothing, so a lost answer may be retried.
    """

    rollout_id: str
    candidate: str
    candidate_digest: str
    plan: Plan
    salt: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Promote(_Caused):
    """Take the next step, or make the candidate stable after the last one.

    `force` makes it stable at once, paused or not. `step_id`, if given, is the step the actor saw: the event is
    refused when the rollout has moved on, so that two people who promote together take one step, not two.
    """

    force: bool = False
    step_id: str = ""
    certified: bool = False
    """Whether the evidence that the plan asks for is there. A rollout that judges itself refuses a promotion without
    it, unless `force` puts it down to the person."""


@dataclass(frozen=True, slots=True)
class Advance(_Caused):
    """Take the next step on evidence: the preflight passed, or the judgement allows it.

    `step_id` is the step that was judged. `risk` says what is not known, if the step was not certified.
    """

    step_id: str
    risk: str = ""


@dataclass(frozen=True, slots=True)
class Approve(_Caused):
    """A person agrees that the present step may end. It ends when its evidence is there too.

    `step_id`, if given, is the step the actor saw. A person counts once in a step.
    """

    step_id: str = ""


@dataclass(frozen=True, slots=True)
class Reject(_Caused):
    """The preflight failed: the candidate never gets a request."""

    step_id: str


@dataclass(frozen=True, slots=True)
class Hold(_Caused):
    """Nothing can be concluded at present, because of `cause` (one word): the weight stays, the step's clock stops."""

    cause: str
    step_id: str


@dataclass(frozen=True, slots=True)
class Pause(_Caused):
    """Hold the rollout where it is; the weight stays. Only a person lets it go on."""


@dataclass(frozen=True, slots=True)
class Freeze(_Caused):
    """Nothing automatic any more, not even a rollback on evidence, until a person acts; the weight stays."""


@dataclass(frozen=True, slots=True)
class Resume(_Caused):
    """Go on with a held or frozen rollout, in the same step.

    With `cause`, only if that is still why it is held: the judgement may not undo what a person said.
    """

    cause: str = ""


@dataclass(frozen=True, slots=True)
class Abort(_Caused):
    """Stop a running rollout: weight 0 at once. The digest is not quarantined, so a better plan may follow."""


@dataclass(frozen=True, slots=True)
class RollBack(_Caused):
    """Take the doubtful version off at once and quarantine its digest.

    A running rollout loses its candidate; otherwise the previous stable version comes back, inside its window.
    `to` names the version to make stable instead, with its `digest` if known; it is the caller's to make sure that
    it can be loaded. `force` allows a quarantined one. Repeated, it never goes back twice.
    """

    to: str | None = None
    digest: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged(_Caused):
    """All live workers are at weight 0 and have seen `generation`, or their leases have ended."""

    generation: int


@dataclass(frozen=True, slots=True)
class SetStable(_Caused):
    """Serve `version` by default: the first registration, or a version set without a rollout.

    The version that was stable can be rolled back to for the default window. A quarantined digest is refused unless
    `force` is set, so that restarting a server does not bring a bad version back.
    """

    version: str
    digest: str | None = None
    force: bool = False


Event = (Start | Promote | Approve | Advance | Reject | Hold | Pause | Freeze | Resume | Abort | RollBack | Acknowledged
         | SetStable)
"""Everything that can happen to a rollout; each says who (`actor`) and why (`reason`)."""


@dataclass(frozen=True, slots=True)
class Veto:
    """At once, before the record is stored: on this host `version` gets no request and `stable` answers.

    It holds over restarts until a record of at least `generation` is seen. It needs no store, so a rollback on the
    last record a host knows works with the store gone.
    """

    model: str
    rollout_id: str
    version: str
    stable: str
    generation: int


@dataclass(frozen=True, slots=True)
class Journal:
    """To be written in the same transaction as the record: what happened, as one sentence."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Publish:
    """After the record is stored: give workers the snapshot of this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Notice:
    """There was nothing to do, and why; the record is unchanged."""

    text: str


Command = Veto | Journal | Publish | Notice
"""What the caller of `advance` must do, in the given order."""

Decision = tuple[RolloutRecord, tuple[Command, ...]]
"""The next record and the commands that make it true."""

_TOKEN = re.compile(r"\(token (.+)\)$")
_BEFORE_START = ("start", "roll back", "set stable")
_RUNNING = ("promote", "approve", "pause", "freeze", "abort", "roll back")
_TAKING_STEPS = frozenset({Phase.SHADOW, Phase.CANARY, Phase.SOAK})
POSSIBLE: dict[Phase, tuple[str, ...]] = {
    Phase.IDLE: _BEFORE_START,
    Phase.PROMOTED: _BEFORE_START,
    Phase.REJECTED: _BEFORE_START,
    Phase.ROLLED_BACK: ("start", "roll back --to VERSION", "set stable"),
    Phase.ROLLING_BACK: ("wait for the workers", "roll back --to VERSION"),
    Phase.PREFLIGHT: ("abort", "roll back"),
    Phase.SHADOW: _RUNNING,
    Phase.CANARY: _RUNNING,
    Phase.SOAK: _RUNNING,
    Phase.HOLD: ("resume", "promote --force", "freeze", "abort", "roll back"),
    Phase.FROZEN: ("resume", "promote --force", "abort", "roll back"),
}
"""The verbs that are accepted in each phase."""


def advance(state: RolloutRecord, event: Event, now: float) -> Decision:
    """Decide what `event` makes of `state` at Unix time `now`: the next record, and commands in order.

    Pure: the same arguments always give the same answer. Raises TransitionRefused; nothing is changed then.
    """
    if not event.actor:
        _refuse(state, "accept an event without an actor", "name who or what causes it")
    match event:
        case Start():
            return _start(state, event, now)
        case Promote():
            return _promote(state, event, now)
        case Approve():
            return _approve(state, event, now)
        case Advance():
            return _advance(state, event, now)
        case Reject():
            return _reject(state, event, now)
        case Hold():
            return _hold(state, event, now)
        case Pause():
            return _pause(state, event, now)
        case Freeze():
            return _freeze(state, event, now)
        case Resume():
            return _resume(state, event, now)
        case Abort():
            return _abort(state, event, now)
        case RollBack():
            return _roll_back(state, event, now)
        case Acknowledged():
            return _acknowledged(state, event, now)
        case SetStable():
            return _set_stable(state, event, now)
        case _:
            assert_never(event)


def _start(state: RolloutRecord, event: Start, now: float) -> Decision:
    if event.rollout_id == state.rollout_id and event.rollout_id:
        return _nothing(state, f"Rollout {event.rollout_id} of model '{state.model}' has been started already.")
    _check_start(state, event)
    begun = {"rollout_id": event.rollout_id, "plan": event.plan, "plan_hash": event.plan.digest,
             "candidate": event.candidate, "candidate_digest": event.candidate_digest, "salt": event.salt,
             "quarantined": _without(state.quarantined, event.candidate_digest)}
    if event.plan.judgement is not None:
        text = f"Started version {event.candidate} beside stable {state.stable} with its preflight."
        return _accept(state, event, now, "start", text, **begun,
                       **_stand(event.plan, Phase.PREFLIGHT, 0, event.rollout_id))
    weight = event.plan.steps[0]
    text = f"Started version {event.candidate} beside stable {state.stable} at {_percent(weight)}."
    return _accept(state, event, now, "start", text, **begun,
                   **_stand(event.plan, Phase.CANARY, 0, event.rollout_id))


def _check_start(state: RolloutRecord, event: Start) -> None:
    what = f"start version {event.candidate}"
    if state.running:
        _refuse(state, what, f"version {state.candidate} is still on trial")
    if state.phase is Phase.ROLLING_BACK:
        _refuse(state, what, "not every worker has confirmed the last rollback yet")
    if state.stable is None:
        _refuse(state, what, "there is no stable version to return to; serve one first")
    if event.candidate == state.stable:
        _refuse(state, what, "it is the stable version already")
    if not event.rollout_id or not event.salt or event.salt == state.salt:
        _refuse(state, what, "a rollout needs an id and a salt of its own")
    if event.candidate_digest in state.quarantined and not event.force:
        _refuse(state, what, f"its artifact {event.candidate_digest} was rolled back before; use --force to retry it")


def _promote(state: RolloutRecord, event: Promote, now: float) -> Decision:
    if event.step_id and event.step_id != state.step_id:
        _refuse(state, "promote", f"step {event.step_id} is over, look at the status and decide again")
    if state.phase not in _TAKING_STEPS and not (event.force and state.phase in (Phase.HOLD, Phase.FROZEN)):
        _refuse(state, "promote", "no rollout is taking steps")
    if _plan(state).judgement is not None and not (event.force or event.certified):
        _refuse(state, "promote", "the evidence that its plan asks for is not there; see `serinus rollout explain`, or "
                                  "use --force to answer for it yourself")
    return _make_stable(state, event, now) if event.force else _next(state, event, now, "step")


def _approve(state: RolloutRecord, event: Approve, now: float) -> Decision:
    if event.step_id and event.step_id != state.step_id:
        _refuse(state, "approve", f"step {event.step_id} is over, look at the status and decide again")
    if state.phase not in _TAKING_STEPS:
        _refuse(state, "approve", "no rollout is taking steps")
    who = person(event.actor)
    if who in state.approvals:
        return _nothing(state, f"{who} has approved this step of model '{state.model}' already; another person has to.")
    if not state.approvers_missing:
        return _nothing(state, f"This step of model '{state.model}' waits for nobody's approval.")
    left = state.approvers_missing - 1
    return _accept(state, event, now, "approve",
                   f"{who} approved the end of this step; {f'{left} more to come' if left else 'nobody else has to'}.",
                   approvals=(*state.approvals, who), elapsed_in_step_s=state.elapsed_at(now))


def person(actor: str) -> str:
    """Who stands behind an actor: the holder of the token, whoever he says that he is."""
    said = _TOKEN.search(actor)
    return said[1] if said is not None else actor


def _advance(state: RolloutRecord, event: Advance, now: float) -> Decision:
    if event.step_id != state.step_id:
        return _nothing(state, f"Step {event.step_id} of model '{state.model}' is over.")
    if state.phase is not Phase.PREFLIGHT and state.phase not in _TAKING_STEPS:
        _refuse(state, "advance", "no rollout is taking steps")
    if _plan(state).judgement is None:
        _refuse(state, "advance", "a person takes the steps of this plan")
    if state.phase is not Phase.PREFLIGHT and state.approvers_missing:
        _refuse(state, "advance", f"{state.approvers_missing} more of its approvers have to agree")
    return _next(state, event, now, "advance", f" Not known: {event.risk}." if event.risk else "")


def _next(state: RolloutRecord, event: Promote | Advance, now: float, kind: str, more: str = "") -> Decision:
    """The next phase or step; after the last one the candidate is stable."""
    plan = _plan(state)
    phase, step = _following(state, plan)
    if phase is Phase.PROMOTED:
        return _make_stable(state, event, now, more)
    stand = _stand(plan, phase, step, state.rollout_id)
    if phase is Phase.SHADOW:
        text = f"Mirrored {_percent(stand['shadow_weight'])} of the requests to version {state.candidate}."
    else:
        text = f"Raised version {state.candidate} from {_percent(state.weight)} to {_percent(stand['weight'])}."
    return _accept(state, event, now, kind, text + more, **stand)


def _following(state: RolloutRecord, plan: Plan) -> tuple[Phase, int]:
    judgement = plan.judgement
    if state.phase is Phase.PREFLIGHT and judgement is not None and judgement.shadow:
        return Phase.SHADOW, 0
    if state.phase in (Phase.PREFLIGHT, Phase.SHADOW):
        return Phase.CANARY, 0
    if state.phase is Phase.CANARY and state.step + 1 < len(plan.steps):
        return Phase.CANARY, state.step + 1
    if state.phase is Phase.CANARY and judgement is not None and judgement.soak_s > 0:
        return Phase.SOAK, state.step
    return Phase.PROMOTED, state.step


def _stand(plan: Plan, phase: Phase, step: int, rollout_id: str) -> dict[str, Any]:
    """Where a rollout stands at the beginning of a step."""
    weight, shadow = _weights(plan, phase, step)
    name = str(step) if phase is Phase.CANARY else str(phase)
    return {"phase": phase, "step": step, "step_id": f"{rollout_id}/{name}", "weight": weight, "shadow_weight": shadow,
            "elapsed_in_step_s": 0.0, "held": None, "cause": "", "approvals": ()}


def _weights(plan: Plan, phase: Phase, step: int) -> tuple[int, int]:
    """The candidate's share and the shadow's, in basis points."""
    if phase is Phase.CANARY:
        return plan.steps[step], 0
    if phase is Phase.SOAK and plan.judgement is not None:
        return FULL_WEIGHT - plan.judgement.holdback, 0
    return 0, plan.judgement.shadow if plan.judgement is not None and phase is Phase.SHADOW else 0


def _reject(state: RolloutRecord, event: Reject, now: float) -> Decision:
    if state.phase is not Phase.PREFLIGHT or event.step_id != state.step_id:
        return _nothing(state, f"Model '{state.model}' is in no such preflight any more.")
    return _accept(
        state, event, now, "reject", f"Rejected version {state.candidate} before it got a request.",
        phase=Phase.REJECTED, step_id="", weight=0, shadow_weight=0, candidate=None, candidate_digest=None,
    )  # fmt: skip


def _make_stable(state: RolloutRecord, event: Promote | Advance, now: float, more: str = "") -> Decision:
    forced = " by force" if isinstance(event, Promote) and event.force else ""
    return _accept(
        state, event, now, "promote",
        f"Promoted version {state.candidate} to stable{forced}; version {state.stable} can come back for "
        f"{_duration(_plan(state).rollback_window_s)}.{more}",
        phase=Phase.PROMOTED, step_id="", weight=0, shadow_weight=0, elapsed_in_step_s=0.0, held=None, cause="",
        approvals=(),
        stable=state.candidate, stable_digest=state.candidate_digest, candidate=None, candidate_digest=None,
        previous_stable=state.stable, previous_digest=state.stable_digest,
        previous_until=now + _plan(state).rollback_window_s,
    )  # fmt: skip


def _hold(state: RolloutRecord, event: Hold, now: float) -> Decision:
    if state.phase not in _TAKING_STEPS or event.step_id != state.step_id:
        return _nothing(state, f"Model '{state.model}' takes no such step.")
    text = f"Held version {state.candidate} at {_percent(state.weight)}: {event.cause}."
    return _stop_clock(state, event, now, "hold", text, Phase.HOLD, event.cause)


def _pause(state: RolloutRecord, event: Pause, now: float) -> Decision:
    if state.phase is Phase.HOLD and not state.cause:
        return _nothing(state, f"The rollout of model '{state.model}' is paused already.")
    if state.phase not in _TAKING_STEPS and state.phase is not Phase.HOLD:
        _refuse(state, "pause", "no rollout is taking steps")
    return _stop_clock(state, event, now, "pause", f"Paused version {state.candidate} at {_percent(state.weight)}.",
                       Phase.HOLD)


def _freeze(state: RolloutRecord, event: Freeze, now: float) -> Decision:
    if state.phase is Phase.FROZEN:
        return _nothing(state, f"The rollout of model '{state.model}' is frozen already.")
    if state.phase not in _TAKING_STEPS and state.phase is not Phase.HOLD:
        _refuse(state, "freeze", "no rollout is taking steps")
    text = f"Froze version {state.candidate} at {_percent(state.weight)}: nothing is decided until a person acts."
    return _stop_clock(state, event, now, "freeze", text, Phase.FROZEN)


def _stop_clock(state: RolloutRecord, event: Event, now: float, kind: str, text: str, phase: Phase,
                cause: str = "") -> Decision:
    """The weights stay, and the phase to go back to is remembered."""
    return _accept(state, event, now, kind, text, phase=phase, held=state.held or state.phase, cause=cause,
                   elapsed_in_step_s=state.elapsed_at(now))


def _resume(state: RolloutRecord, event: Resume, now: float) -> Decision:
    if state.phase in _TAKING_STEPS:
        return _nothing(state, f"The rollout of model '{state.model}' is not paused.")
    if state.phase not in (Phase.HOLD, Phase.FROZEN) or state.held is None:
        _refuse(state, "resume", "no rollout is paused")
    if event.cause and event.cause != state.cause:
        return _nothing(state, f"The rollout of model '{state.model}' is held by {state.cause or state.actor}.")
    weight, shadow = _weights(_plan(state), state.held, state.step)
    return _accept(state, event, now, "resume", f"Resumed version {state.candidate} at {_percent(weight)}.",
                   phase=state.held, weight=weight, shadow_weight=shadow, held=None, cause="")


def _abort(state: RolloutRecord, event: Abort, now: float) -> Decision:
    if not state.running:
        return _nothing(state, f"Model '{state.model}' has no running rollout, so there is nothing to abort.")
    text = f"Aborted the rollout of version {state.candidate}; stable {state.stable} answers everything."
    return _take_off(state, event, now, "abort", text, state.candidate)


def _roll_back(state: RolloutRecord, event: RollBack, now: float) -> Decision:
    if event.to is not None and event.to != state.stable:
        known = state.previous_digest if event.to == state.previous_stable else None
        return _roll_back_to(state, event, now, event.to, event.digest or known)
    if state.running:
        text = f"Rolled back version {state.candidate}; stable {state.stable} answers everything."
        quarantined = _quarantine(state, state.candidate_digest, spare=state.stable_digest)
        return _take_off(state, event, now, "roll_back", text, state.candidate, quarantined=quarantined)
    if event.to is not None or state.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        text = f"Stable {state.stable} of model '{state.model}' answers already; name another version to go further."
        return _nothing(state, text)
    previous = state.previous_at(now)
    if previous is None:
        _refuse(state, "roll back", "no previous stable version is kept ready; name one with --to VERSION")
    return _roll_back_to(state, event, now, previous, state.previous_digest)


def _roll_back_to(state: RolloutRecord, event: RollBack, now: float, to: str, digest: str | None) -> Decision:
    what = f"roll back to version {to}"
    if state.stable is None:
        _refuse(state, what, "no version was ever stable; set one first")
    if to == state.candidate and state.running:
        _refuse(state, what, "it is the candidate on trial; promote it with --force")
    if digest in state.quarantined and event.to is not None and not event.force:
        _refuse(state, what, f"its artifact {digest} was rolled back before; use --force to serve it again")
    quarantined = _quarantine(state, state.candidate_digest, state.stable_digest, spare=digest)
    candidate = None if to == state.candidate else state.candidate
    return _take_off(
        state, event, now, "roll_back", f"Rolled back from version {state.stable} to {to}.", state.stable,
        stable=to, stable_digest=digest, quarantined=quarantined,
        candidate=candidate, candidate_digest=state.candidate_digest if candidate else None,
        previous_stable=None, previous_digest=None, previous_until=None,
    )  # fmt: skip


def _take_off(
    state: RolloutRecord, event: Event, now: float, kind: str, text: str, version: str | None, **changes: Any
) -> Decision:
    elapsed = state.elapsed_at(now)
    record, commands = _accept(
        state, event, now, kind, text,
        phase=Phase.ROLLING_BACK, weight=0, shadow_weight=0, elapsed_in_step_s=elapsed, held=None, cause="",
        approvals=(), **changes,
    )  # fmt: skip
    veto = Veto(state.model, state.rollout_id, str(version), str(record.stable), record.generation)
    return record, (veto, *commands)


def _acknowledged(state: RolloutRecord, event: Acknowledged, now: float) -> Decision:
    if state.phase is not Phase.ROLLING_BACK:
        return _nothing(state, f"Model '{state.model}' waits for no acknowledgement in phase {state.phase}.")
    if event.generation < state.generation:
        text = f"Workers of model '{state.model}' confirmed generation {event.generation}, wanted {state.generation}."
        return _nothing(state, text)
    return _accept(
        state, event, now, "rolled_back", f"Every live worker answers with stable {state.stable}.",
        phase=Phase.ROLLED_BACK, step_id="", candidate=None, candidate_digest=None,
    )  # fmt: skip


def _set_stable(state: RolloutRecord, event: SetStable, now: float) -> Decision:
    what = f"make version {event.version} stable"
    if event.version == state.stable and (event.digest is None or event.digest == state.stable_digest):
        return _nothing(state, f"Version {event.version} of model '{state.model}' is stable already.")
    if state.running or state.phase is Phase.ROLLING_BACK:
        _refuse(state, what, "a rollout is under way; abort it, or wait until it is over")
    if event.digest in state.quarantined and not event.force:
        _refuse(state, what, f"its artifact {event.digest} was rolled back before; use --force to serve it again")
    quarantined = _without(state.quarantined, event.digest)
    return _accept(
        state, event, now, "set_stable", f"Version {event.version} is stable; before it was {state.stable or 'none'}.",
        phase=Phase.IDLE, stable=event.version, stable_digest=event.digest, quarantined=quarantined,
        **_previous_after_set(state, event, now),
    )  # fmt: skip


def _previous_after_set(state: RolloutRecord, event: SetStable, now: float) -> dict[str, Any]:
    if state.stable is None or event.version == state.stable:
        return {}
    until = now + DEFAULT_ROLLBACK_WINDOW_S
    return {"previous_stable": state.stable, "previous_digest": state.stable_digest, "previous_until": until}


def _accept(state: RolloutRecord, event: Event, now: float, kind: str, text: str, **changes: Any) -> Decision:
    generation = state.generation + 1
    record = replace(
        state, generation=generation, actor=event.actor, reason=event.reason, updated=now, **changes
    )
    return record, (Journal(kind, text), Publish(generation))


def _nothing(state: RolloutRecord, text: str) -> Decision:
    return state, (Notice(text),)


def _refuse(state: RolloutRecord, what: str, why: str) -> Never:
    possible = POSSIBLE[state.phase]
    raise TransitionRefused(
        f"Cannot {what} for model '{state.model}' in phase {state.phase}: {why}. Possible now: {', '.join(possible)}.",
        phase=str(state.phase),
        possible=possible,
    )


def _plan(state: RolloutRecord) -> Plan:
    if state.plan is None or state.step >= len(state.plan.steps):
        _refuse(state, "go on", f"step {state.step} is not in its plan; abort and start anew")
    return state.plan


def _quarantine(state: RolloutRecord, *digests: str | None, spare: str | None) -> tuple[str, ...]:
    """Never the digest that will be stable (`spare`): two versions may share one artifact."""
    every = dict.fromkeys((*state.quarantined, *digests))
    return tuple(digest for digest in every if digest and digest != spare)


def _without(digests: tuple[str, ...], lifted: str | None) -> tuple[str, ...]:
    return tuple(digest for digest in digests if digest != lifted)


def _percent(weight: int) -> str:
    return f"{weight * 100 / FULL_WEIGHT:g} %"


def _duration(seconds: float) -> str:
    return f"{seconds / 86_400:g} days" if seconds >= 86_400 else f"{seconds:g} s"
