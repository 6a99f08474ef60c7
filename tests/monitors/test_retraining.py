"""Retraining: broken data is mended, a bad promotion taken back, a changed world learnt; nothing starts twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from serinus.monitors.alerts import Alert, AlertState
from serinus.monitors.retraining import (
    Circumstances,
    Past,
    Recommendation,
    RetrainingPolicy,
    decide,
    last_planned,
    recommend,
)

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
RETRAIN = Recommendation("retrain", ("The world has changed: age moved.",), ("a",), NOW - 100)
POLICY = RetrainingPolicy(cooldown_seconds=DAY, window_seconds=7 * DAY)
PLANNED = RetrainingPolicy(cooldown_seconds=DAY / 2, every_days=1, at="03:30")


def firing(kind: str, severity: str = "alarm", since: float = NOW, **facts: Any) -> Alert:
    return Alert(f"{kind}-{severity}", "credit", "2", kind, severity, AlertState.FIRING,  # type: ignore[arg-type]
                 f"{kind} is off.", facts, (), since, since)


PROMOTED = Circumstances(NOW - 3600, "1")


@pytest.mark.parametrize(("alerts", "about", "action"), [
    ([], PROMOTED, "none"),
    ([firing("drift")], PROMOTED, "none"),
    ([firing("drift", "act")], PROMOTED, "retrain"),
    ([firing("drift", outputs=True)], PROMOTED, "retrain"),
    ([firing("sudden_change", "act")], PROMOTED, "retrain"),
    ([firing("drift", "act", pattern="missing")], PROMOTED, "fix pipeline"),
    ([firing("drift", "act", pattern="unit_slip")], PROMOTED, "fix pipeline"),
    ([firing("unseen"), firing("drift", "act")], PROMOTED, "fix pipeline"),
    ([firing("unit_slip"), firing("loss", "act")], PROMOTED, "fix pipeline"),
    ([firing("loss", "act")], PROMOTED, "roll back"),
    ([firing("error_rate"), firing("drift", "act")], PROMOTED, "roll back"),
    ([firing("loss", "act")], Circumstances(NOW - 3600, None), "retrain"),
    ([firing("loss", "act")], Circumstances(NOW - 8 * DAY, "1"), "retrain"),
    ([firing("loss", "act", since=NOW - 7200)], PROMOTED, "retrain"),
    ([firing("error_rate")], Circumstances(), "none"),
    ([firing("calibration")], PROMOTED, "recalibrate"),
    ([firing("calibration"), firing("drift")], PROMOTED, "recalibrate"),
    ([firing("calibration"), firing("estimated_performance")], Circumstances(), "retrain"),
])
def test_the_first_line_of_the_table_decides(alerts: list[Alert], about: Circumstances, action: str) -> None:
    """Broken data before all, then what was changed last, then training; drift alone is no harm."""
    assert recommend(alerts, about).action == action


def test_every_line_that_applies_is_a_reason() -> None:
    """In the table's order, with the alerts' own words, and the earliest beginning."""
    found = recommend([firing("calibration", since=NOW - 50), firing("missing"), firing("loss")], Circumstances())
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "The data is broken", "The world has changed", "The scores are off, the order may still be right"]
    assert "missing is off" in found.reasons[0] and found.since == NOW - 50
    assert set(found.alerts) == {"calibration-alarm", "missing-alarm", "loss-alarm"}


def test_only_what_fires_counts() -> None:
    """Pending and resolved alerts say nothing; braces in a sentence are text."""
    pending = Alert("p", "credit", "2", "loss", "act", AlertState.PENDING, "x", {}, (), NOW, NOW)
    assert recommend([pending]).action == "none"
    odd = Alert("o", "credit", "2", "loss", "act", AlertState.FIRING, "{0} {x} moved.", {}, (), NOW, NOW)
    assert recommend([odd]).reasons == ("The world has changed: (0) (x) moved.",)


def test_a_recommendation_starts_it_once() -> None:
    """With the data of the last days; not while one runs, in maintenance, or too soon after another."""
    found = decide(RETRAIN, Past(NOW - DAY), POLICY, NOW)
    assert (found.start, found.trigger, found.window) == (True, "event", (NOW - 7 * DAY, NOW))
    assert found.why == "The world has changed: age moved."
    assert decide(RETRAIN, Past(0, runs=True), POLICY, NOW).why == "One is under way."
    assert decide(RETRAIN, Past(0), POLICY, NOW, maintenance=True).why == "The model is in maintenance."
    cooling = decide(RETRAIN, Past(0, NOW - DAY + 1), POLICY, NOW)
    assert not cooling.start and cooling.why.endswith("the next may be after 2026-01-10 12:00 UTC.")
    assert decide(RETRAIN, Past(0, NOW - DAY), POLICY, NOW).start


def test_what_a_person_does_is_not_started() -> None:
    """Going back and mending are recommended only."""
    for action, words in (("roll back", "roll back"), ("fix pipeline", "fix the pipeline")):
        found = decide(Recommendation(action, ("x",)), Past(0), POLICY, NOW)  # type: ignore[arg-type]
        assert not found.start and found.why == f"The recommended action is to {words}, which a person does."
    assert decide(Recommendation("none"), Past(0), POLICY, NOW).why == "Nothing asks for it."


def test_the_calendar_starts_it_once_a_day() -> None:
    """At its hour, not for the days before it was known, and not with broken data."""
    today = datetime(2026, 1, 10, 3, 30, tzinfo=UTC).timestamp()
    nothing = Recommendation("none")
    assert not decide(nothing, Past(today + 1), PLANNED, NOW).start
    found = decide(nothing, Past(today - 1), PLANNED, NOW)
    assert (found.start, found.trigger) == (True, "calendar")
    assert not decide(nothing, Past(0, today), PLANNED, NOW).start
    assert not decide(nothing, Past(0, today + 5), PLANNED, today + DAY - 1).start
    assert decide(nothing, Past(0, today + 5), PLANNED, today + DAY).start
    assert "2026-01-11 03:30 UTC" in decide(nothing, Past(NOW), PLANNED, NOW).why
    broken = decide(Recommendation("fix pipeline", ("The data is broken.",)), Past(0), PLANNED, NOW)
    assert not broken.start and broken.why == "It is planned, but not with broken data. The data is broken."


def test_planned_days_are_the_same_for_everybody() -> None:
    """Counted from 1970-01-01, whenever one looks."""
    policy = RetrainingPolicy(every_days=3, at="23:59")
    times = {last_planned(policy, NOW + hours * 3600) for hours in range(24 * 9)}
    assert len(times) in (3, 4)
    for time in times:
        assert time is not None and datetime.fromtimestamp(time, UTC).strftime("%H:%M") == "23:59"
        assert (time - 86_340) % (3 * DAY) == 0
    assert last_planned(POLICY, NOW) is None
