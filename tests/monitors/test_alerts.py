"""Alerts: what lasts is told once, what is over is said to be over, and a book that was stored goes on the same."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.monitors.alerts import (
    Alert,
    AlertBook,
    AlertPolicy,
    AlertState,
    Change,
    Condition,
    Silence,
    UnknownAlert,
)

POLICY = AlertPolicy(for_seconds=60, keep_firing_seconds=300, repeat_seconds=3600, forget_seconds=7200)


def drift(*features: str, severity: str = "alarm", active: bool = True, version: str = "1") -> Condition:
    return Condition("credit", version, "drift", severity, active, f"{', '.join(features)} moved.",  # type: ignore[arg-type]
                     {"rows": 4096}, features)


CALM = drift(active=False)


def run(*steps: tuple[float, list[Condition]], policy: AlertPolicy = POLICY,
        book: AlertBook | None = None) -> AlertBook:
    book = book or AlertBook()
    for now, conditions in steps:
        book = book.evaluate(conditions, now, policy)
    return book


def events(book: AlertBook) -> list[str]:
    return [f"{change.event}{'!' if change.tell else ''}" for change in book.outbox]


def test_what_lasts_is_told_once_and_its_end_too() -> None:
    """Pending, firing after a minute, resolved after five quiet ones; people hear of the last two."""
    book = run((0, [drift("age")]), (30, [drift("age")]), (60, [drift("age")]), (90, [drift("age")]), (100, [CALM]),
               (399, [CALM]))
    assert [alert.state for alert in book.alerts] == [AlertState.FIRING]
    book = run((400, [CALM]), book=book)
    assert events(book) == ["pending", "firing!", "resolved!"]
    assert (book.alerts[0].state, book.alerts[0].resolved_since) == (AlertState.RESOLVED, 400)
    assert run((400 + 7200, [CALM]), book=book).alerts == ()


def test_what_passes_is_not_told() -> None:
    """A quiet moment while it is pending ends it."""
    book = run((0, [drift("age")]), (59, [CALM]), (60, [drift("age")]), (119, [drift("age")]))
    assert events(book) == ["pending", "withdrawn", "pending"]


def test_what_comes_back_soon_is_the_same_alert() -> None:
    """The five quiet minutes begin anew."""
    book = run((0, [drift("age")]), (60, [drift("age")]), (100, [CALM]), (399, [drift("age")]), (400, [CALM]),
               (699, [CALM]))
    assert events(book) == ["pending", "firing!"]


def test_what_has_happened_need_not_last() -> None:
    """Kinds that fire at once do, and are over as all others are."""
    policy = replace(POLICY, at_once=frozenset({"drift"}))
    assert events(run((0, [drift("age")]), policy=policy)) == ["pending", "firing!"]
    assert events(run((0, [drift("age")]), (1, [CALM]), (300, [CALM]), policy=policy)) == ["pending", "firing!"]


def test_a_remark_is_no_alert() -> None:
    """Severities below the policy's count as quiet."""
    assert run((0, [drift("age", severity="warn")])).alerts == ()
    assert len(run((0, [drift("age", severity="warn")]), policy=replace(POLICY, severity="warn")).alerts) == 1


def test_no_word_is_no_good_news() -> None:
    """A watcher that died resolves nothing, until its alert is forgotten."""
    book = run((0, [drift("age")]), (60, [drift("age")]), (1000, []), (7259, []))
    assert book.alerts[0].state is AlertState.FIRING
    book = run((7260, []), book=book)
    assert book.alerts[0].state is AlertState.RESOLVED
    assert book.outbox[-1].reason == "Nothing was heard of it any more."


def test_an_alert_grows_with_its_features() -> None:
    """One that shares a feature is the same; one that shares none is another; one that joins two ends the younger."""
    book = run((0, [drift("age")]), (60, [drift("age")]), (70, [drift("age", "income")]))
    assert [alert.features for alert in book.alerts] == [("age", "income")]
    book = run((80, [drift("age"), drift("region")]), book=book)
    assert [alert.features for alert in book.alerts] == [("age", "income"), ("region",)]
    book = run((90, [drift("income", "region")]), book=book)
    assert [alert.features for alert in book.alerts if alert.is_open] == [("age", "income", "region")]
    assert events(book) == ["pending", "firing!", "pending", "withdrawn"]
    assert book.outbox[-1].reason == f"It is part of alert {book.alerts[0].id} now."


def test_kinds_and_versions_are_apart() -> None:
    """The same feature may be wrong in several ways, and in several versions."""
    missing = replace(drift("age"), kind="missing")
    assert len(run((0, [drift("age"), missing, drift("age", version="2")])).alerts) == 3


def test_it_is_repeated_by_time_unless_somebody_looks_after_it() -> None:
    """Getting worse is told all the same, and takes the acknowledgement back."""
    book = run((0, [drift("age")]), (60, [drift("age")]), (3659, [drift("age")]), (3660, [drift("age")]))
    assert events(book) == ["pending", "firing!", "repeated!"]
    book = book.acknowledge(book.alerts[0].id[:5], "ana", 3700)
    book = run((9000, [drift("age")]), (9001, [drift("age", severity="act")]), book=book)
    assert events(book)[3:] == ["acknowledged", "escalated!"]
    assert book.alerts[0].acknowledged_by == ""


def test_a_silence_keeps_it_quiet_until_it_ends() -> None:
    """The journal is told at once; people when the silence is over, and of the end only if they knew."""
    silence = Silence("s1", 0, 600, "ana", model="credit")
    book = run((0, [drift("age")]), (60, [drift("age")]), (599, [drift("age")]), book=AlertBook().silenced(silence))
    assert events(book) == ["pending", "firing"] and book.is_silenced(book.alerts[0], 599)
    assert events(run((600, [drift("age")]), book=book)) == ["pending", "firing", "firing!"]
    quiet = run((100, [CALM]), (400, [CALM]), book=book)
    assert events(quiet) == ["pending", "firing", "resolved"]


def test_a_silence_covers_what_it_names() -> None:
    """Nothing named is everything."""
    alert = run((0, [drift("age")])).alerts[0]
    assert Silence("s", 0, 10, "ana").covers(alert, 5)
    assert not Silence("s", 0, 10, "ana").covers(alert, 10)
    assert Silence("s", 0, 10, "ana", kind="drift", version="1").covers(alert, 5)
    for other in ({"model": "iris"}, {"version": "2"}, {"kind": "missing"}):
        assert not Silence("s", 0, 10, "ana", **other).covers(alert, 5)


def test_a_silence_can_be_ended_and_a_maintenance_found() -> None:
    """By its id; one that does not exist is named."""
    book = AlertBook().silenced(Silence("s1", 0, 100, "ana", model="credit", maintenance=True))
    found = book.maintenance("credit", 50)
    assert found is not None and found.id == "s1"
    assert book.maintenance("iris", 50) is None and book.maintenance("credit", 100) is None
    assert book.unsilenced("s1").silences == ()
    with pytest.raises(UnknownAlert, match="'s2': expected the id of a silence; there are: s1"):
        book.unsilenced("s2")


def test_an_alert_is_found_by_the_beginning_of_its_id() -> None:
    """An empty, unknown or shared beginning finds nothing."""
    book = run((0, [drift("age")]))
    assert book.find(book.alerts[0].id[:4]) == book.alerts[0]
    for wrong in ("", "zz"):
        with pytest.raises(UnknownAlert, match="expected the id of one open alert, got 0 matches"):
            book.find(wrong)


def test_long_texts_are_cut() -> None:
    """Nothing that a watcher says makes a message without end."""
    alert = run((0, [replace(drift("age"), summary="x" * 5000, facts={"text": "y" * 5000, "rows": 3})])).alerts[0]
    assert len(alert.summary) == len(str(alert.facts["text"])) == 300 and alert.facts["rows"] == 3


def test_a_book_of_another_format_is_refused() -> None:
    """With what to do."""
    with pytest.raises(ValueError, match="expected format 1, got 2; run the release that wrote it"):
        AlertBook.from_json({**AlertBook().to_json(), "format": 2})


FEATURES = st.lists(st.sampled_from("abcd"), unique=True, max_size=3).map(lambda found: tuple(sorted(found)))
CONDITIONS = st.lists(st.builds(
    lambda model, kind, severity, active, features: Condition(model, "1", kind, severity, active, "s", {}, features),
    st.sampled_from(("m", "n")), st.sampled_from(("drift", "missing")), st.sampled_from(("warn", "alarm", "act")),
    st.booleans(), FEATURES), max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from((1.0, 29.0, 60.0, 300.0, 4000.0, 8000.0)), CONDITIONS), max_size=14)


def timed(steps: list[tuple[float, list[Condition]]]) -> list[tuple[float, list[Condition]]]:
    now, found = 1000.0, []
    for gap, conditions in steps:
        now += gap
        found.append((now, conditions))
    return found


def through_json(book: AlertBook) -> AlertBook:
    return AlertBook.from_json(json.loads(json.dumps(book.to_json())))


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_a_restart_at_any_moment_changes_nothing(steps: list[tuple[float, list[Condition]]]) -> None:
    """A book that is written and read again before every step ends as one that never was."""
    straight = again = AlertBook()
    for now, conditions in timed(steps):
        straight = straight.evaluate(conditions, now, POLICY)
        again = through_json(again).evaluate(reversed(conditions), now, POLICY)
    assert through_json(again) == again == straight


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_there_are_no_two_alerts_of_one_thing(steps: list[tuple[float, list[Condition]]]) -> None:
    """Open alerts of one model version and kind share no feature, and each id stands once."""
    book = AlertBook()
    for now, conditions in timed(steps):
        book = book.evaluate(conditions, now, POLICY)
        subjects = Counter((alert.subject, feature) for alert in book.alerts if alert.is_open
                           for feature in alert.features or ("",))
        assert all(count == 1 for count in subjects.values())
        assert len({alert.id for alert in book.alerts}) == len(book.alerts)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_every_life_has_its_order(steps: list[tuple[float, list[Condition]]]) -> None:
    """Nothing fires before it was pending for a minute, nobody hears of an end without a beginning, nor twice of one,
    and no repetition comes early."""
    lives: dict[str, list[Change]] = {}
    for change in run(*timed(steps)).outbox:
        lives.setdefault(change.alert.id, []).append(change)
    for life in lives.values():
        found = [change.event for change in life]
        assert found[0] == "pending" and found.count("pending") == 1
        assert [change.alert.changes for change in life] == list(range(1, len(life) + 1))
        assert sum(event in ("resolved", "withdrawn") for event in found) <= 1
        told = [change for change in life if change.tell]
        assert all(change.at - life[0].at >= POLICY.for_seconds for change in told)
        assert not told or told[0].event == "firing"
        assert [change.event for change in told].count("firing") <= 1
        assert "resolved" not in found[:-1] and "withdrawn" not in found[:-1]
        repeats = [(one, other) for one, other in pairwise(told) if other.event == "repeated"]
        assert all(other.at - one.at >= POLICY.repeat_seconds for one, other in repeats)


def test_a_change_is_named_for_good() -> None:
    """Who is told twice can tell; what was passed on leaves the outbox."""
    book = run((0, [drift("age")]), (60, [drift("age")]))
    first, second = book.outbox
    assert (first.id, second.id) == (f"{book.alerts[0].id}-1", f"{book.alerts[0].id}-2")
    assert book.without([first]).outbox == (second,)
    assert isinstance(book.alerts[0], Alert) and book.count() == {"pending": 0, "firing": 1, "resolved": 0}
