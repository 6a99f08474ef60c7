"""Telling events: each entry of the journal once, by one steward, with what it says as attributes."""

from __future__ import annotations

import logging
import time

import pytest

from serinus.serving.rollout import controller
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.tell_events import TellEvents
from serinus.serving.store import JournalEntry
from tests.serving.steward.hosts import host, start

__all__ = ["host"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    names = [record.__dict__["event_name"] for record in caplog.records if record.name == "serinus.events"]
    caplog.clear()
    return names


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="serinus.events")


def test_what_happens_is_told_once(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """What was there before this steward was told by another."""
    job = TellEvents()
    HoldLease().run(host)
    job.run(host)
    assert told(caplog) == []
    start(host)
    job.run(host)
    record = next(record for record in caplog.records if record.name == "serinus.events")
    assert record.__dict__["attributes"]["serinus.model.name"] == "wine"
    assert record.__dict__["attributes"]["serinus.actor"] == "ana"
    assert record.getMessage().startswith("wine: ")
    assert told(caplog) == ["serinus.rollout.start"]
    job.run(host)
    assert told(caplog) == []
    controller.abort(host.store, "wine", "ana", now=time.time())
    job.run(host)
    assert told(caplog) == ["serinus.rollout.abort"]


def test_only_the_holder_of_the_lease_tells(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """Stewards of other hosts share the store, and an event happened once."""
    job = TellEvents()
    job.run(host)
    start(host)
    job.run(host)
    assert told(caplog) == []


def test_other_subjects_have_names_of_their_own(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """A kind with a dot is no rollout's; alerts are told by their notifiers, and not twice."""
    job = TellEvents()
    HoldLease().run(host)
    job.run(host)
    for kind in ("alert.firing", "retraining.started"):
        host.store.append(JournalEntry("wine", kind, time.time(), 1, "ana", "it drifts", {"text": f"{kind}."}))
    job.run(host)
    assert told(caplog) == ["serinus.retraining.started"]
