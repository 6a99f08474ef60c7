"""Custom monitors in a server: what workers saw is judged once, whatever dies, and no answer waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from serinus.models import Field, Signature, wrap
from serinus.monitors.plugins import Watch, digest_of
from serinus.serving.alerting import conditions
from serinus.serving.custom_monitors import CustomMonitors, CustomWatch, places_of, sums_of
from serinus.serving.rollout import controller
from serinus.serving.router import Loaded, Router, Target
from serinus.serving.sheet import Sheet, read, sheets_in
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_custom_monitors import STATE, VIEW, JudgeCustomMonitors
from serinus.serving.steward.ship_ticks import ShipTicks
from tests.monitors.approved_amount import ApprovedAmount
from tests.monitors.records import record, records
from tests.serving.steward.hosts import shared, trained

MONITORS = (ApprovedAmount(),)
LOANS = Signature((Field("amount", "FP64", (-1,)),), (Field("approve", "INT64", (-1,)),))
NOW = 1_700_000_000


def found(_: Signature) -> tuple[ApprovedAmount, ...]:
    return MONITORS


class Clock:
    """A time that a test turns on."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Shared]:
    """A host that serves version 1 of `loans`, and this steward in the lead."""
    trained(tmp_path, "loans", 1.0)
    made = shared(tmp_path)
    controller.set_stable(made.store, "loans", "1", "d", "ana", now=float(NOW))
    HoldLease().run(made)
    made.run.sheets.mkdir(parents=True, exist_ok=True)
    yield made


def worker(host: Shared, incarnation: str) -> CustomWatch:
    sheet = Sheet(host.run.sheets, incarnation, "loans", "1", digest_of(MONITORS), places_of(MONITORS))
    return CustomWatch(MONITORS, sheet)


def pass_time(host: Shared, clock: Clock, judge: JudgeCustomMonitors, ship: ShipTicks) -> None:
    """A second in which counts travel, and those that are needed until they are judged."""
    ship.run(host)
    clock.now += 5
    judge.run(host)


def test_workers_count_and_the_steward_judges(host: Shared) -> None:
    """Two workers, twelve usual windows, one of twice the amounts: the alert's condition and the page say so."""
    clock = Clock()
    judge, ship = JudgeCustomMonitors(clock, found), ShipTicks(clock)
    workers = [worker(host, name) for name in "ab"]
    for window in range(14):
        for number, each in enumerate(records(100, start=1_000 * window, factor=2.0 if window == 13 else 1.0)):
            workers[number % 2].keep(each)
        for one in workers:
            one.flush()
        pass_time(host, clock, judge, ship)
    (condition,) = conditions(host.store, clock.now)
    assert (condition.model, condition.version, condition.kind) == ("loans", "1", "approved_amount")
    assert condition.active and "euros, expected" in condition.summary
    view = orjson.loads(host.store.document(VIEW, "loans:1").body)
    assert [one["state"] for one in view] == ["alarm"] and view[0]["windows"] == 14


def test_another_steward_goes_on(host: Shared) -> None:
    """One that judges anew from the store after every window has the same state as one that never stopped."""
    clock = Clock()
    one, ship = worker(host, "a"), ShipTicks(clock)
    lasting = Watch(MONITORS)
    for window in range(4):
        for each in records(100, start=1_000 * window):
            one.keep(each)
            lasting.observe(each)
        one.flush()
        pass_time(host, clock, JudgeCustomMonitors(clock, found), ship)
    state = orjson.loads(host.store.document(STATE, "loans:1").body)["judge"]["approved_amount"]
    assert len(state["reference"]) == 4
    total = sum(window["total"] for window in [*state["reference"], state["open"]])
    assert total == pytest.approx(lasting.sums[2], rel=1e-12)


def test_what_a_killed_worker_counted_is_judged(host: Shared) -> None:
    """Its sheet is whole at any moment: it is adopted, counted once, and removed."""
    clock = Clock()
    judge, ship = JudgeCustomMonitors(clock, found), ShipTicks(clock)
    killed = worker(host, "a")
    for each in records(30):
        killed.keep(each)
    killed.flush()
    killed.sheet.close()  # the lock is free, as after a kill; nothing was given up in order
    for _ in range(3):
        pass_time(host, clock, judge, ship)
    state = orjson.loads(host.store.document(STATE, "loans:1").body)["judge"]["approved_amount"]
    assert state["open"]["rows"] == sum(each.rows for each in records(30))
    assert sheets_in(host.run.sheets) == []


def test_no_version_is_judged_that_nobody_watches(host: Shared) -> None:
    """Without an installed monitor there is neither document nor work."""
    clock = Clock()
    JudgeCustomMonitors(clock, lambda signature: ()).run(host)
    assert host.store.document(STATE, "loans:1") is None


def test_records_wait_for_company(host: Shared) -> None:
    """64 rows or 100 ms: nothing is observed while a lone request is answered."""
    watch = worker(host, "a")
    watch.keep(record(rows=3))
    assert read(watch.sheet.path).counts.rows == 0
    watch.flush_due(0)
    assert read(watch.sheet.path).counts.rows == 0
    watch.keep(record(rows=61))
    reading = read(watch.sheet.path)
    assert reading.counts.rows == reading.seen == 64
    assert sums_of(reading.counts, MONITORS)[0] == 64.0


def loaded(signature: Signature) -> Loaded:
    return Loaded(wrap(lambda inputs: {"approve": inputs["amount"] > 0}, signature), "p", {})


def test_arms_know_their_watch_until_their_version_goes(tmp_path: Path) -> None:
    """One watch per version that a monitor wants; it ends with its version, and its sums stay for the steward."""
    other = Signature((Field("petal", "FP64", (-1,)),), (Field("predict", "INT64", (-1,)),))
    router = Router(lambda name, version: loaded(LOANS if name == "loans" else other))
    for name in ("loans", "iris"):
        router.load(name, "1")
    router.flip("loans", Target("1", None, 0, "", ()))
    router.flip("iris", Target("1", None, 0, "", ()))
    custom = CustomMonitors(tmp_path, "life", lambda signature: [one for one in MONITORS if one.watches(signature)])
    custom.attach(router)
    arms = {arm.name: arm for route in router.routes.values() for arm in route.arms}
    assert arms["iris"].custom is None and arms["loans"].custom is not None
    arms["loans"].custom.keep(record(rows=5))
    custom.close()
    (path,) = sheets_in(tmp_path)
    assert read(path).counts.rows == 5
