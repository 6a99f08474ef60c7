"""Evaluating alerts: what watchers see becomes alerts, entries of the journal and messages, once, whatever dies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serinus.monitors.alerts import AlertState, Condition, Silence
from serinus.serving import alerting
from serinus.serving.alerting import change_book, read_book, report, waiting
from serinus.serving.published_alerts import published
from serinus.serving.steward.evaluate_alerts import EvaluateAlerts
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.store import JournalEntry
from tests.serving.steward.hosts import host, serve, shared

__all__ = ["host"]

DRIFT = Condition("wine", "1", "drift", "alarm", True, "age moved.", {"rows": 4096}, ("age",))
OPS = {"alerts": {"notifiers": {"ops": {"kind": "slack", "url": "http://127.0.0.1:9/"}}}}


class Clock:
    """Time that goes as it is told."""

    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leader(tmp_path: Any) -> Shared:
    """A host with one record and one notifier besides the log, whose steward leads."""
    made = shared(tmp_path, **OPS)
    serve(made)
    HoldLease().run(made)
    return made


def see(host: Shared, clock: Clock, seconds: float, condition: Condition = DRIFT) -> None:
    """A second evaluation after so long, of what is reported just before."""
    clock.now += seconds
    report(host.store, condition, clock.now)
    EvaluateAlerts(clock).run(host)


def told(host: Shared) -> list[JournalEntry]:
    return [entry for entry in host.store.journal("wine") if entry.kind.startswith("alert.")]


def test_what_lasts_is_journaled_and_put_on_its_way(leader: Shared, clock: Clock) -> None:
    """To every notifier; a file of the host says how it stands."""
    for seconds in (0, 59, 1, 1):
        see(leader, clock, seconds)
    assert [entry.kind for entry in told(leader)] == ["alert.pending", "alert.firing"]
    assert [(message.notifier, message.notification.event) for message, _ in waiting(leader.store)] == [
        ("log", "firing"), ("ops", "firing")]
    found = published(leader.home.run)
    assert (found["counts"], found["alerts"][0]["summary"], found["alerts"][0]["silenced"]) == (
        {"pending": 0, "firing": 1, "resolved": 0}, "age moved.", False)
    assert found["notifications"]["ops"] == {"delivered": 0, "failures": 0, "given_up": 0, "waiting": 1}
    see(leader, clock, 10, replace(DRIFT, active=False))
    see(leader, clock, 900, replace(DRIFT, active=False))
    assert told(leader)[-1].kind == "alert.resolved" and len(waiting(leader.store)) == 4


def test_several_watchers_of_a_kind_are_heard(leader: Shared, clock: Clock) -> None:
    """Each with its own part; one that is well does not speak for the other."""
    report(leader.store, replace(DRIFT, active=False), clock.now, watcher="outputs")
    see(leader, clock, 0)
    assert len(read_book(leader.store)[0].alerts) == 1


def test_what_was_said_an_hour_ago_is_no_word(leader: Shared, clock: Clock) -> None:
    """It neither fires nor resolves."""
    see(leader, clock, 0)
    clock.now += 3601
    EvaluateAlerts(clock).run(leader)
    assert read_book(leader.store)[0].alerts[0].state is AlertState.PENDING


@pytest.mark.parametrize("step", ["journal", "enqueue", "change_book"])
def test_a_death_between_any_two_steps_loses_nothing(leader: Shared, clock: Clock, step: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """The next steward does again what may not have been done, and the messages keep their names."""
    see(leader, clock, 0)
    clock.now += 60
    report(leader.store, DRIFT, clock.now)

    class Death(BaseException):
        pass

    calls: list[object] = []
    real = getattr(alerting, step)

    def dies(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if step != "change_book" or len(calls) == 2:
            raise Death
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(f"serinus.serving.steward.evaluate_alerts.{step}", dies)
        with pytest.raises(Death):
            EvaluateAlerts(clock).run(leader)
    assert calls
    clock.now += 5
    EvaluateAlerts(clock).run(leader)
    alert = read_book(leader.store)[0].alerts[0]
    assert {entry.kind for entry in told(leader)} == {"alert.pending", "alert.firing"}
    assert [message.key for message, _ in waiting(leader.store)] == [f"log/{alert.id}-2", f"ops/{alert.id}-2"]
    assert read_book(leader.store)[0].outbox == ()


def test_only_the_holder_of_the_lease_decides(host: Shared, clock: Clock) -> None:
    """Others let their own hosts know."""
    see(host, clock, 0)
    assert read_book(host.store)[0].alerts == () and published(host.home.run)["counts"]["pending"] == 0


def test_a_silence_of_a_person_meets_an_evaluation(leader: Shared, clock: Clock) -> None:
    """Both are kept: whoever comes second decides anew."""
    for seconds in (0, 60):
        see(leader, clock, seconds)
    silence = Silence("s1", clock.now, clock.now + 100, "ana")
    raced: list[bool] = []

    def add(book: Any) -> Any:
        if not raced:
            raced.append(True)
            see(leader, clock, 1, replace(DRIFT, severity="act"))
        return book.silenced(silence)

    book = change_book(leader.store, add)
    assert book.silences == (silence,) and book.alerts[0].severity == "act"


def test_an_acknowledgement_is_journaled_with_its_name(leader: Shared, clock: Clock) -> None:
    """By the next evaluation."""
    see(leader, clock, 0)
    change_book(leader.store, lambda book: book.acknowledge(book.alerts[0].id, "ana", clock.now))
    see(leader, clock, 1)
    assert (told(leader)[-1].kind, told(leader)[-1].actor) == ("alert.acknowledged", "ana")
