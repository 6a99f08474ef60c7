"""Plans and records: what is accepted, and that what is written can be read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.serving.rollout import FormatUnknown, Judgement, Phase, Plan, PlanInvalid, RolloutError, RolloutRecord


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5,25,50", (500, 2500, 5000)), ("0.01, 100%", (1, 10000)), ("1e1", (1000,)), ("33.33", (3333,))],
)
def test_percents_become_basis_points(text: str, expected: tuple[int, ...]) -> None:
    """Percents with up to two decimals are exact."""
    assert Plan.from_percents(text).steps == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Step '' of '' is not a number"),
        ("5,,25", "Step '' of '5,,25' is not a number"),
        ("five", "Step 'five' of 'five' is not a number"),
        ("nan", "finer than 0.01"),
        ("inf", "finer than 0.01"),
        ("0.001", "finer than 0.01 percent"),
        ("0", "1 to 10000 basis points"),
        ("-5", "1 to 10000 basis points"),
        ("101", "1 to 10000 basis points"),
        ("50,25", "must rise from one to the next, got 50, 25 percent"),
        ("5,5", "must rise"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(text: str, sentence: str) -> None:
    """The sentence names the step and says what is wanted."""
    with pytest.raises(PlanInvalid) as raised:
        Plan.from_percents(text)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("window", [-1.0, float("inf"), float("nan")])
def test_a_rollback_window_is_a_span_of_time(window: float) -> None:
    """It may be zero, and neither negative nor endless."""
    with pytest.raises(PlanInvalid, match="rollback window"):
        Plan((500,), rollback_window_s=window)


def test_a_plan_needs_a_step() -> None:
    """A plan without steps is refused."""
    with pytest.raises(PlanInvalid, match="at least one step"):
        Plan(())


def test_equal_plans_have_equal_digests() -> None:
    """The digest is public and never changes for the same plan, written with whole or broken seconds."""
    expected = "73fb5908db3352e3753d001012549dd5bcd81338f2c23b8f6385cabcd5977694"
    assert Plan((500, 2500)).digest == Plan((500, 2500), True, 604800).digest == expected
    assert Plan((500, 2501)).digest != expected


plans = st.builds(
    Plan,
    st.sets(st.integers(1, 10000), min_size=1, max_size=6).map(lambda steps: tuple(sorted(steps))),
    st.just(True),
    st.floats(0, 1e9),
) | st.builds(Plan, st.just((100, 5000)), st.just(False), judgement=st.builds(
    Judgement, shadow=st.integers(0, 10_000), step_s=st.floats(0, 1e6), approve=st.booleans()))
versions = st.none() | st.text(max_size=5)
records = st.builds(
    RolloutRecord,
    model=st.text(max_size=5), generation=st.integers(0, 2**62), rollout_id=st.text(max_size=5),
    phase=st.just(Phase.CANARY), plan=st.none() | plans, plan_hash=st.text(max_size=5), step=st.integers(0, 9),
    step_id=st.text(max_size=5), weight=st.integers(0, 10000), shadow_weight=st.integers(0, 10000),
    stable=st.none() | st.text(max_size=5).map("s{}".format), stable_digest=versions,
    candidate=st.text(max_size=5).map("c{}".format), candidate_digest=versions,
    previous_stable=versions, previous_digest=versions, previous_until=st.none() | st.floats(0, 1e12), salt=st.text(),
    quarantined=st.lists(st.text(max_size=5)).map(tuple), elapsed_in_step_s=st.floats(0, 1e9), reason=st.text(),
    actor=st.text(), updated=st.floats(0, 1e12), approvals=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)  # fmt: skip


@given(plans)
def test_a_plan_is_read_as_written(plan: Plan) -> None:
    """A plan survives its JSON, and so does its digest."""
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(plan.to_json()).digest == plan.digest


@given(records)
def test_a_record_is_read_as_written(record: RolloutRecord) -> None:
    """A record survives its JSON."""
    assert RolloutRecord.from_json(record.to_json()) == record
    judged = record.plan is not None and record.plan.judgement is not None
    assert json.loads(record.to_json())["format"] == (2 if judged else 1)


@pytest.mark.parametrize("cls", [Plan, RolloutRecord])
@pytest.mark.parametrize(
    "text",
    ["", "\xff", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "mood": 1}', '{"format": 1, "steps": 5}'],
)
def test_damaged_or_newer_text_is_refused(cls: type[Plan | RolloutRecord], text: str) -> None:
    """Nothing is guessed: a sentence says what was found."""
    with pytest.raises(FormatUnknown):
        cls.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [("phase", "dancing"), ("weight", "500"), ("weight", True), ("stable", 1), ("quarantined", "x"), ("plan", [])],
)
def test_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    """The sentence names the field's value."""
    data = RolloutRecord.initial("m", "1", 0.0).to_dict()
    with pytest.raises(FormatUnknown, match=str(value).replace("[]", r"\[\]")):
        RolloutRecord.from_dict({**data, field: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": 10001, "phase": Phase.CANARY},
        {"weight": -1},
        {"weight": 1, "phase": Phase.ROLLING_BACK},
        {"weight": 1, "phase": Phase.CANARY, "candidate": None},
        {"candidate": "1"},
        {"shadow_weight": 10001},
        {"generation": -1},
    ],
)
def test_a_record_cannot_contradict_itself(changes: dict[str, object]) -> None:
    """Impossible values are refused where they are made, not where they do harm."""
    sound = RolloutRecord("m", stable="1", candidate="2")
    with pytest.raises(RolloutError, match="contradicts itself"):
        replace(sound, **changes)  # type: ignore[arg-type]


def test_a_steps_time_runs_while_a_step_is_taken() -> None:
    """Not while it is held, and a clock that was set back takes nothing away."""
    record = RolloutRecord("wine", phase=Phase.CANARY, elapsed_in_step_s=10.0, updated=100.0)
    assert [record.elapsed_at(now) for now in (100.0, 105.0, 50.0)] == [10.0, 15.0, 10.0]
    assert replace(record, phase=Phase.HOLD, held=Phase.CANARY).elapsed_at(999.0) == 10.0


def test_without_a_plan_there_is_no_last_step() -> None:
    """Nothing is on trial, so nothing ends."""
    assert not RolloutRecord("iris").is_last_step
