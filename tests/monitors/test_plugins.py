"""Custom monitors at work: what a worker counts adds up to the same verdict, and a broken plug-in harms nobody."""

import json
import logging
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from serinus.models.signature import Field, Signature
from serinus.monitors import plugins
from serinus.monitors.errors import UnknownMonitor
from serinus.monitors.plugins import Judge, Watch, digest_of, installed_monitors, monitors_for
from tests.monitors.approved_amount import ApprovedAmount
from tests.monitors.records import record, records

LOANS = Signature((Field("amount", "FP64", (-1,)),), (Field("approve", "INT64", (-1,)),))
FLOWERS = Signature((Field("petal", "FP64", (-1,)),), (Field("predict", "INT64", (-1,)),))


class Other(ApprovedAmount):
    name = "other_amount"


class Faulty(ApprovedAmount):
    name = "faulty"

    def values(self, record):
        raise KeyError("no such field")


@pytest.fixture
def offer(monkeypatch):
    """Let packages offer these classes of this module."""

    def offered(*names):
        points = [EntryPoint(name, f"{__name__}:{name}", "serinus.monitors") for name in names]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "serinus.monitors" else [])
        installed_monitors.cache_clear()

    yield offered
    installed_monitors.cache_clear()


def judged(sums, start=None):
    judge = Judge([ApprovedAmount()])
    judge.restore(start or {})
    return judge, judge.add(sums)


def day(factor=1.0, start=0, rounds=8):
    """The sums of one full window."""
    watch = Watch([ApprovedAmount()])
    for seed in range(rounds):
        for each in records(20, factor=factor, start=start + 100 * seed):
            watch.observe(each)
    return watch.sums


def test_monitors_are_found_by_name_and_asked_what_they_watch(offer):
    """Those of installed packages, sorted; a model of another signature is none of their business."""
    offer("Other", "ApprovedAmount")
    assert [monitor.name for monitor in monitors_for(LOANS)] == ["approved_amount", "other_amount"]
    assert monitors_for(FLOWERS) == ()


def test_a_package_that_cannot_be_loaded_is_logged(offer, caplog):
    """Serving goes on without it, and the log says which it is."""
    offer("ApprovedAmount", "NoSuchClass")
    with caplog.at_level(logging.ERROR, "serinus.monitors"):
        assert [monitor.name for monitor in installed_monitors()] == ["approved_amount"]
    assert "The monitor NoSuchClass" in caplog.text and "cannot be loaded" in caplog.text


def test_two_monitors_of_one_name_are_refused(offer):
    """Their sums could not be told apart."""
    offer("ApprovedAmount", "ApprovedAmount")
    with pytest.raises(UnknownMonitor, match="Two installed packages offer a monitor 'approved_amount'"):
        installed_monitors()


def test_sums_lie_in_any_buffer():
    """What was counted is in the memory that was given, so it outlives the process that counted."""
    memory = bytearray(8 * Watch.size([ApprovedAmount(), Other()]))
    watch = Watch([ApprovedAmount(), Other()], memory)
    watch.observe(record(rows=5))
    assert np.frombuffer(memory).tolist() == watch.sums.tolist() and watch.sums[0] == watch.sums[4] == 5.0


def test_workers_add_up():
    """Two workers' sums together are those of one who saw everything, and so is the verdict."""
    everything, workers = Watch([ApprovedAmount()]), [Watch([ApprovedAmount()]) for _ in range(2)]
    for number, each in enumerate(records(160)):
        everything.observe(each)
        workers[number % 2].observe(each)
    assert workers[0].sums + workers[1].sums == pytest.approx(everything.sums, rel=1e-12)


def test_a_failing_monitor_harms_nobody(caplog):
    """The others count on; it is logged at the first failure and when it is left alone, and its rows stand still."""
    watch = Watch([ApprovedAmount(), Faulty()])
    with caplog.at_level(logging.ERROR, "serinus.monitors"):
        for each in records(50):
            watch.observe(each)
    assert watch.sums[0] == sum(each.rows for each in records(50)) and watch.sums[4:].tolist() == [0.0] * 4
    assert [line.getMessage() for line in caplog.records] == [
        "The monitor faulty failed: KeyError: 'no such field'",
        "The monitor faulty failed and is left alone now: KeyError: 'no such field'"]


def test_numbers_that_are_none_are_not_added(caplog):
    """A NaN would stay in a sum for ever: such a record is left out as a failure."""

    class Nan(ApprovedAmount):
        def observe(self, record):
            return {"count": 1.0, "total": float("nan")}

    watch = Watch([Nan()])
    watch.observe(record())
    assert watch.sums.tolist() == [0.0] * 4 and "sums must be finite" in caplog.text


def test_the_first_windows_are_learnt_and_the_next_are_judged():
    """Learning is said with its progress; a usual window is fine; twice the amount is an alarm, and then fine again."""
    judge = Judge([ApprovedAmount()])
    assert judge.status()[0]["state"] == "learning, 0 of 12 windows of 400 rows"
    assert [judge.add(day(start=1_000 * number)) for number in range(12)] == [[]] * 12
    assert judge.status()[0]["state"] == "collecting a window of 400 rows"
    states = []
    for factor, start in ((1.0, 50_000), (2.0, 60_000), (1.0, 70_000)):
        (finding,) = judge.add(day(factor, start))
        states.append((finding.active, judge.status()[0]["state"]))
    assert states == [(False, "ok"), (True, "alarm"), (False, "ok")]


def test_a_restart_changes_nothing():
    """The state as JSON, read again between any two ticks, gives the same findings."""
    through, document = Judge([ApprovedAmount()]), {}
    for number in range(15):
        sums = day(start=1_000 * number, rounds=3)
        stopped, found = judged(sums, document)
        assert found == through.add(sums)
        document = json.loads(json.dumps(stopped.to_json()))
    assert document == through.to_json()


def test_other_sums_begin_anew():
    """A new release of a plug-in that counts something else does not read the old sums; its layout has another name."""

    class Renamed(ApprovedAmount):
        sums = ("number", "total", "squares")

    judge, _ = judged(day())
    newer = Judge([Renamed()])
    newer.restore(judge.to_json())
    assert newer.standings["approved_amount"].windows == 0
    assert digest_of([Renamed()]) != digest_of([ApprovedAmount()])


def test_a_judgement_that_fails_is_told():
    """Unknown is never fine: the finding says what went wrong."""

    class Clumsy(ApprovedAmount):
        learns = 0

        def finding(self, window, reference):
            return reference[0]

    (finding,) = Judge([Clumsy()]).add(day())
    assert finding.active and finding.severity == "warn"
    assert "approved_amount could not judge a window of" in finding.text and "IndexError" in finding.text
