"""The state machine: its steps as a story, its invariants as properties over random events."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.serving.rollout import (
    Abort,
    Acknowledged,
    Advance,
    Approve,
    Event,
    Freeze,
    Hold,
    Journal,
    Judgement,
    Notice,
    Pause,
    Phase,
    Plan,
    Promote,
    Publish,
    Reject,
    Resume,
    RollBack,
    RolloutRecord,
    SetStable,
    Start,
    TransitionRefused,
    Veto,
    advance,
)
from serinus.serving.rollout.state import RUNNING
from serinus.serving.rollout.transitions import POSSIBLE

PLAN = Plan((500, 5000), rollback_window_s=100.0)
IDLE = RolloutRecord.initial("m", "1", 0.0, digest="d1")


def start(version: str = "2", rollout_id: str = "r1", *, force: bool = False) -> Start:
    return Start(rollout_id, version, f"d{version}", PLAN, f"salt-{rollout_id}", force=force, actor="ana")


def after(*events: Event, state: RolloutRecord = IDLE, now: float = 10.0) -> RolloutRecord:
    for event in events:
        state, _ = advance(state, event, now)
    return state


PROMOTE, PAUSE, RESUME = Promote(actor="ana"), Pause(actor="ana"), Resume(actor="ana")
ABORT, ROLL_BACK = Abort(actor="ana"), RollBack(actor="ana", reason="bad")
CANARY = after(start())
HELD = after(start(), PAUSE)
PROMOTED = after(start(), PROMOTE, PROMOTE)
ROLLING_BACK = after(start(), ROLL_BACK)
ROLLED_BACK = after(start(), ROLL_BACK, Acknowledged(2, actor="steward"))


def test_a_start_gives_the_first_weight() -> None:
    """The candidate takes the first step's share, beside stable."""
    assert (CANARY.phase, CANARY.stable, CANARY.candidate, CANARY.weight) == (Phase.CANARY, "1", "2", 500)
    assert (CANARY.plan, CANARY.plan_hash, CANARY.step_id) == (PLAN, PLAN.digest, "r1/0")


def test_commands_come_in_the_order_to_obey() -> None:
    """A veto before the store, the journal with it, the snapshot after it."""
    _, commands = advance(CANARY, ROLL_BACK, 20.0)
    assert commands == (
        Veto("m", "r1", version="2", stable="1", generation=2),
        Journal("roll_back", "Rolled back version 2; stable 1 answers everything."),
        Publish(2),
    )


def test_promotion_walks_the_steps_to_stable() -> None:
    """Each Promote takes one step; behind the last, the candidate is stable and the old one is kept."""
    second = after(PROMOTE, state=CANARY)
    assert (second.step, second.step_id, second.weight) == (1, "r1/1", 5000)
    assert (PROMOTED.phase, PROMOTED.stable, PROMOTED.stable_digest) == (Phase.PROMOTED, "2", "d2")
    assert (PROMOTED.candidate, PROMOTED.weight, PROMOTED.step_id) == (None, 0, "")
    assert (PROMOTED.previous_stable, PROMOTED.previous_digest, PROMOTED.previous_until) == ("1", "d1", 110.0)


def test_force_promotes_at_once() -> None:
    """A named person may skip what is left of the plan, even of a held rollout."""
    for state in (CANARY, HELD):
        forced = after(Promote(force=True, actor="ana"), state=state)
        assert (forced.phase, forced.stable) == (Phase.PROMOTED, "2")


def test_two_who_promote_together_take_one_step() -> None:
    """A Promote for a step that is over is refused."""
    second = after(Promote(step_id="r1/0", actor="ana"), state=CANARY)
    with pytest.raises(TransitionRefused, match="step r1/0 is over"):
        after(Promote(step_id="r1/0", actor="bob"), state=second)


def test_a_pause_keeps_the_weight_and_stops_the_time() -> None:
    """Time in a step leaves pauses out, and a clock set back takes nothing away."""
    held = after(PAUSE, state=CANARY, now=15.0)
    assert (held.phase, held.weight, held.elapsed_in_step_s) == (Phase.HOLD, 500, 5.0)
    resumed = after(RESUME, state=held, now=1000.0)
    assert (resumed.phase, resumed.weight, resumed.step_id) == (Phase.CANARY, 500, "r1/0")
    assert after(PAUSE, state=resumed, now=1003.0).elapsed_in_step_s == 8.0
    assert after(PAUSE, state=resumed, now=900.0).elapsed_in_step_s == 5.0


@pytest.mark.parametrize("state", [CANARY, HELD])
def test_a_rollback_is_one_transition(state: RolloutRecord) -> None:
    """The candidate is off at once, and quarantined; it stays named until the workers have confirmed."""
    off = after(ROLL_BACK, state=state)
    assert (off.phase, off.weight, off.stable, off.candidate) == (Phase.ROLLING_BACK, 0, "1", "2")
    assert off.quarantined == ("d2",)
    done = after(Acknowledged(off.generation, actor="steward"), state=off)
    assert (done.phase, done.candidate) == (Phase.ROLLED_BACK, None)


def test_an_abort_does_not_quarantine() -> None:
    """A plan is immutable: abort and start anew is how it is changed."""
    aborted = after(ABORT, state=CANARY)
    assert (aborted.phase, aborted.weight, aborted.quarantined) == (Phase.ROLLING_BACK, 0, ())
    idle = after(Acknowledged(aborted.generation, actor="steward"), state=aborted)
    assert after(start(rollout_id="r2"), state=idle).phase is Phase.CANARY


def test_an_old_acknowledgement_does_not_count() -> None:
    """Workers must have seen the rollback, not something before it."""
    same, commands = advance(ROLLING_BACK, Acknowledged(ROLLING_BACK.generation - 1, actor="steward"), 1.0)
    assert same is ROLLING_BACK
    assert isinstance(commands[0], Notice)


def test_a_promotion_is_rolled_back_inside_its_window() -> None:
    """The old stable version is stable again, the bad one is quarantined and not kept for a way back."""
    back, commands = advance(PROMOTED, ROLL_BACK, 109.0)
    assert (back.phase, back.stable, back.stable_digest, back.weight) == (Phase.ROLLING_BACK, "1", "d1", 0)
    assert (back.quarantined, back.previous_stable, back.previous_until) == (("d2",), None, None)
    assert commands[0] == Veto("m", "r1", version="2", stable="1", generation=back.generation)


def test_after_the_window_a_version_must_be_named() -> None:
    """Then the old version may be unloaded, so a person says which one to load."""
    with pytest.raises(TransitionRefused, match="--to VERSION"):
        advance(PROMOTED, ROLL_BACK, 110.0)
    named = after(RollBack("1", actor="ana"), state=PROMOTED, now=1e6)
    assert (named.stable, named.stable_digest, named.quarantined) == ("1", "d1", ("d2",))


def test_a_second_rollback_goes_no_further_back() -> None:
    """Pressing twice, or a retry, does what pressing once does."""
    second_rollout = after(start("3", "r2"), ROLL_BACK, state=PROMOTED)
    assert second_rollout.previous_at(50.0) == "1"
    done = after(Acknowledged(second_rollout.generation, actor="steward"), state=second_rollout)
    for state in (second_rollout, done):
        assert advance(state, ROLL_BACK, 50.0)[0] is state


def test_a_named_version_becomes_stable() -> None:
    """In a running rollout too: candidate and stable are both taken off, and quarantined."""
    state = after(start("3", "r2"), state=PROMOTED)
    back = after(RollBack("1", "d1", actor="ana"), state=state)
    assert (back.stable, back.stable_digest, back.candidate, back.weight) == ("1", "d1", "3", 0)
    assert set(back.quarantined) == {"d2", "d3"}


def test_the_version_rolled_back_to_is_never_quarantined() -> None:
    """Two versions of one artifact: what is bad in one is not held against the stable one."""
    twin = replace(PROMOTED, stable_digest="d1", previous_digest="d1")
    assert after(ROLL_BACK, state=twin).quarantined == ()


def test_the_stable_version_named_takes_only_the_candidate_off() -> None:
    """`--to` the version that is stable is an ordinary rollback; without a rollout there is nothing to do."""
    assert after(RollBack("1", actor="ana"), state=CANARY) == replace(after(RollBack(actor="ana"), state=CANARY))
    assert advance(IDLE, RollBack("1", actor="ana"), 1.0)[0] is IDLE


def test_a_quarantined_artifact_comes_back_only_by_force() -> None:
    """By a start, by name or by serving it: each says so and each can be forced, which lifts the quarantine."""
    for make in _BRING_BACK:
        with pytest.raises(TransitionRefused, match="d2 was rolled back before; use --force"):
            after(make(False), state=ROLLED_BACK)
        assert after(make(True), state=ROLLED_BACK).quarantined in ((), ("d1",))


_BRING_BACK: list[Callable[[bool], Event]] = [
    lambda force: start("2", "r2", force=force),
    lambda force: RollBack("2", "d2", force, actor="ana"),
    lambda force: SetStable("2", "d2", force, actor="ana"),
]


def test_the_first_stable_version_is_set() -> None:
    """A model's first event names its stable version; another one set later can be rolled back."""
    first = after(SetStable("1", "d1", actor="ana"), state=RolloutRecord.initial("m", None, 0.0))
    assert (first.phase, first.stable, first.previous_stable, first.generation) == (Phase.IDLE, "1", None, 1)
    second = after(SetStable("2", "d2", actor="ana"), state=first)
    assert after(ROLL_BACK, state=second).stable == "1"


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (IDLE, ABORT), (PROMOTED, ABORT), (ROLLING_BACK, ABORT), (HELD, PAUSE), (CANARY, RESUME), (CANARY, start()),
        (IDLE, SetStable("1", actor="ana")), (IDLE, Acknowledged(0, actor="steward")),
    ],
)  # fmt: skip
def test_what_is_done_already_is_said(state: RolloutRecord, event: Event) -> None:
    """A no-op returns the same record and one notice."""
    same, commands = advance(state, event, 1.0)
    assert same is state
    assert [type(command) for command in commands] == [Notice]


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (CANARY, start("3", "r2")), (ROLLING_BACK, start("3", "r2")), (IDLE, start("1")), (IDLE, PROMOTE),
        (replace(IDLE, stable=None), start()), (HELD, PROMOTE), (ROLLING_BACK, Promote(force=True, actor="ana")),
        (IDLE, PAUSE), (IDLE, RESUME), (IDLE, ROLL_BACK), (CANARY, RollBack("2", actor="ana")),
        (CANARY, SetStable("3", actor="ana")), (ROLLING_BACK, SetStable("3", actor="ana")), (IDLE, Abort(actor="")),
        (IDLE, replace(start(), salt="")), (replace(IDLE, salt="salt-r1"), start()),
        (replace(IDLE, stable=None), RollBack("2", actor="ana")), (replace(CANARY, plan=None), PROMOTE),
        (replace(CANARY, step=len(PLAN.steps)), PROMOTE),
    ],
)  # fmt: skip
def test_a_refusal_says_where_and_what_is_possible(state: RolloutRecord, event: Event) -> None:
    """The sentence names model, phase and the verbs that work now."""
    with pytest.raises(TransitionRefused) as raised:
        advance(state, event, 1.0)
    assert f"model 'm' in phase {state.phase}" in str(raised.value)
    assert "Possible now: " in str(raised.value)
    assert raised.value.possible == POSSIBLE[state.phase]


JUDGED = Plan((500, 5000), False, 100.0, Judgement(soak_s=60.0))


def judged(*events: Event, now: float = 10.0) -> RolloutRecord:
    return after(replace(start(), plan=JUDGED), *events, now=now)


def on(step: str, risk: str = "") -> Advance:
    return Advance(f"r1/{step}", risk, actor="steward", reason="evidence")


WAY = tuple(map(on, ("preflight", "shadow", "0", "1", "soak")))


def test_a_rollout_that_judges_itself_goes_from_preflight_to_stable() -> None:
    """Nobody meets the candidate before the canary, and a holdback stays on stable in the soak."""
    states = [judged(*WAY[:number]) for number in range(len(WAY) + 1)]
    assert [(state.phase, state.weight, state.shadow_weight) for state in states] == [
        (Phase.PREFLIGHT, 0, 0), (Phase.SHADOW, 0, 1000), (Phase.CANARY, 500, 0), (Phase.CANARY, 5000, 0),
        (Phase.SOAK, 9000, 0), (Phase.PROMOTED, 0, 0)]
    assert states[-1].stable == "2"


def test_evidence_of_another_step_moves_nothing() -> None:
    """A judgement that comes late, or twice, was of a step that is over."""
    state = judged(*WAY[:2])
    for late in (on("shadow"), on("1"), Hold("silence", "r1/shadow", actor="steward")):
        assert advance(state, late, 20.0)[0] is state


def test_what_is_not_known_stands_in_the_journal() -> None:
    """An advance without a certificate says its risk."""
    _, commands = advance(judged(*WAY[:4]), on("soak", "accuracy not judged"), 20.0)
    assert commands[0].text.endswith("Not known: accuracy not judged.")


def test_a_preflight_that_fails_ends_the_rollout() -> None:
    """The candidate never got a request, so there is nothing to roll back."""
    state = judged(Reject("r1/preflight", actor="steward", reason="its signature differs"))
    assert (state.phase, state.candidate, state.stable) == (Phase.REJECTED, None, "1")
    assert after(start("3", "r2"), state=state).phase is Phase.CANARY


def test_a_promotion_needs_evidence_or_a_person_who_answers_for_it() -> None:
    """Without either it is refused, in every step."""
    for number in (1, 2, 3, 4):
        with pytest.raises(TransitionRefused, match="use --force to answer for it yourself"):
            judged(*WAY[:number], PROMOTE)
        assert judged(*WAY[:number], Promote(force=True, actor="ana")).stable == "2"
    assert judged(*WAY[:4], Promote(certified=True, actor="ana")).stable == "2"


TWO = Plan((500, 5000), False, 100.0, Judgement(shadow=0, approve=2))


def two(*events: Event) -> RolloutRecord:
    return after(replace(start(), plan=TWO), on("preflight"), on("0"), *events)


def agrees(who: str) -> Approve:
    return Approve(actor=who)


def test_a_plan_may_want_two_persons() -> None:
    """Evidence alone does not end the last step, nor does one person who says it twice; a step begins anew."""
    assert two().approvers_missing == 2
    for events in ((), (agrees("ana"),), (agrees("ana"), agrees("ana")),
                   (agrees("ana"), agrees("ana (token ops)"), agrees("ops"), agrees("bo (token ops)"))[:1]):
        with pytest.raises(TransitionRefused, match="more of its approvers have to agree"):
            two(*events, on("1"))
    assert two(agrees("ana"), agrees("bo"), on("1")).stable == "2"
    assert two(agrees("ana"), agrees("bo"), on("1")).approvals == ()
    early = replace(TWO, judgement=Judgement(shadow=0, approve=1, approve_from=500))
    first = after(replace(start(), plan=early), on("preflight"), agrees("ana"), on("0"))
    assert (first.approvals, first.approvers_missing) == ((), 1)


def test_the_holder_of_a_token_is_one_person() -> None:
    """Whatever names he gives himself; an approval moves nothing else, and the step's time goes on."""
    state = two(agrees("ana (token ops)"), agrees("bo (token ops)"), agrees("ops"))
    assert (state.approvals, state.approvers_missing) == (("ops",), 1)
    later, commands = advance(state, agrees("bo"), 25.0)
    assert (later.weight, later.step_id, later.elapsed_at(30.0)) == (state.weight, state.step_id, 20.0)
    assert commands[0] == Journal("approve", "bo approved the end of this step; nobody else has to.")
    assert advance(later, agrees("cy"), 26.0) == (
        later, (Notice("This step of model 'm' waits for nobody's approval."),))


def test_an_approval_is_of_the_step_that_was_seen() -> None:
    """Not of the next one, and of none while it is held."""
    with pytest.raises(TransitionRefused, match="step r1/0 is over"):
        two(Approve("r1/0", actor="ana"))
    with pytest.raises(TransitionRefused, match="no rollout is taking steps"):
        two(PAUSE, agrees("ana"))


def test_a_hold_for_a_cause_ends_with_the_cause_and_a_persons_only_by_a_person() -> None:
    """The weights stay meanwhile, in the shadow and in the soak too."""
    hold = Hold("silence", "r1/shadow", actor="steward")
    held = judged(*WAY[:1], hold)
    assert (held.phase, held.held, held.shadow_weight, held.cause) == (Phase.HOLD, Phase.SHADOW, 1000, "silence")
    assert advance(held, Resume("mismatch", actor="steward"), 20.0)[0] is held
    assert after(Resume("silence", actor="steward"), state=held).phase is Phase.SHADOW
    paused = after(PAUSE, state=held)
    assert advance(paused, Resume("silence", actor="steward"), 20.0)[0] is paused
    assert after(RESUME, state=paused).phase is Phase.SHADOW


def test_nothing_automatic_happens_to_a_frozen_rollout() -> None:
    """It keeps its weight; a person resumes it, or takes the candidate off."""
    frozen = judged(*WAY[:4], Freeze(actor="ana"))
    assert (frozen.phase, frozen.weight) == (Phase.FROZEN, 9000)
    with pytest.raises(TransitionRefused, match="no rollout is taking steps"):
        after(on("soak"), state=frozen)
    assert after(RESUME, state=frozen).phase is Phase.SOAK
    assert after(ROLL_BACK, state=frozen).weight == 0


VERSIONS = ("1", "2", "3", "4")
STEP_NAMES = ("preflight", "shadow", "0", "1", "2", "soak")


def random_event(chance: random.Random, number: int) -> Event:
    """Any event, sensible or not; ids and salts are new, as a controller makes them."""
    version, force = chance.choice(VERSIONS), chance.random() < 0.2
    steps = tuple(sorted(chance.sample(range(1, 10001), chance.randint(1, 3))))
    judgement = Judgement(shadow=chance.choice([0, 1000]), soak_s=chance.choice([0.0, 9.0]),
                          approve=chance.choice([0, 0, 1, 2])) if force else None
    plan = Plan(steps, judgement is None, chance.choice([0.0, 10.0, 1e6]), judgement)
    force = chance.random() < 0.2
    step_id = f"r{chance.randint(max(0, number - 9), number)}/{chance.choice(STEP_NAMES)}"
    named = chance.choice([None, None, version])
    return chance.choice(
        [
            Start(f"r{number}", version, f"d{version}", plan, f"salt{number}", force=force, actor="a"),
            Promote(force, actor="a"),
            Promote(actor="a"),
            Promote(certified=True, actor="a"),
            Approve(actor=chance.choice(["a", "b"])),
            *[Advance(step_id, chance.choice(["", "no ground truth"]), actor="steward")] * 3,
            Reject(step_id, actor="steward"),
            Hold(chance.choice(["silence", "mismatch"]), step_id, actor="steward"),
            Freeze(actor="a"),
            Pause(actor="a"),
            Resume(actor="a"),
            Resume(chance.choice(["silence", "mismatch"]), actor="steward"),
            Abort(actor="a"),
            RollBack(named, f"d{named}" if named else None, force, actor="a"),
            Acknowledged(chance.randint(0, 60), actor="a"),
            SetStable(version, f"d{version}", force, actor="a"),
        ]
    )


RAISES_WEIGHT = (Start, Advance, Promote, Resume)


def check_invariants(old: RolloutRecord, event: Event, new: RolloutRecord, salts: set[str]) -> None:
    """What must hold of every accepted event, whatever came before it."""
    assert new.generation == old.generation + 1
    assert (new.actor, new.reason) == (event.actor, event.reason)
    assert new.stable is not None or old.stable is None
    assert 0 <= new.weight <= 10_000
    assert new.weight == 0 or (new.phase in RUNNING and new.candidate is not None)
    assert new.candidate is None or new.candidate != new.stable
    assert new.phase not in RUNNING or (new.plan is not None and new.plan.digest == new.plan_hash)
    assert new.weight <= old.weight or isinstance(event, RAISES_WEIGHT)
    if isinstance(event, RollBack | Abort):
        assert (new.weight, new.shadow_weight, new.phase) == (0, 0, Phase.ROLLING_BACK)
    if isinstance(event, RollBack):
        assert new.stable_digest not in new.quarantined
        assert new.stable == old.stable or old.stable_digest in (*new.quarantined, None, new.stable_digest)
    if isinstance(event, Start):
        assert new.salt not in salts
        assert event.force or event.candidate_digest not in old.quarantined
        salts.add(new.salt)
    else:
        assert new.salt == old.salt
    if new.stable != old.stable:
        assert isinstance(event, Advance | Promote | RollBack | SetStable)
    if isinstance(event, Advance | Promote) and old.plan is not None and old.plan.judgement is not None:
        assert isinstance(event, Advance) or event.certified or event.force
    if isinstance(event, Advance) and old.phase is not Phase.PREFLIGHT:
        assert old.approvers_missing == 0
    assert not new.approvals or (new.step_id == old.step_id and len(set(new.approvals)) == len(new.approvals))
    assert (new.held is None) == (new.phase not in (Phase.HOLD, Phase.FROZEN))
    assert new.shadow_weight == 0 or Phase.SHADOW in (new.phase, new.held)
    assert not (new.shadow_weight and new.weight)
    assert RolloutRecord.from_json(new.to_json()) == new


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**63), st.booleans())
def test_invariants_hold_over_random_events(seed: int, served: bool) -> None:
    """Sixty events at random, on clocks that jump: refused, ignored or accepted, never unsound."""
    chance = random.Random(seed)
    state, salts, now = RolloutRecord.initial("m", "1" if served else None, 0.0, digest="d1"), set[str](), 0.0
    for number in range(60):
        event, now = random_event(chance, number), now + chance.choice([-5.0, 0.0, 1.0, 20.0])
        before = copy.deepcopy(state)
        try:
            new, commands = advance(state, event, now)
        except TransitionRefused:
            new, commands = state, ()
        assert state == before
        if new is state:
            assert all(isinstance(command, Notice) for command in commands)
            continue
        assert advance(before, event, now) == (new, commands)
        assert [type(command) for command in commands if not isinstance(command, Veto)] == [Journal, Publish]
        check_invariants(state, event, new, salts)
        state = new


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63))
def test_a_rollback_always_works(seed: int) -> None:
    """From wherever random events lead, while a candidate is on trial, one RollBack takes it off."""
    chance = random.Random(seed)
    state = IDLE
    for number in range(40):
        try:
            state, _ = advance(state, random_event(chance, number), float(number))
        except TransitionRefused:
            continue
        if state.running:
            off, commands = advance(state, ROLL_BACK, float(number))
            assert off.weight == 0
            assert isinstance(commands[0], Veto)
