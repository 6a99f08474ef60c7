"""The harm alarm counts every truth once, goes on where it was, and closes when all is well again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serinus.monitors.harm import HarmAlarm, loss_counts
from serinus.serving.performance.harm import HarmWatch
from serinus.serving.performance.realised import Window

ALARM = HarmAlarm(0.1, 0.02, 1000.0)


def _window(wrong: int, right: int) -> Window:
    return Window(1, wrong + right, wrong + right, {}, loss_counts(np.repeat([1.0, 0.0], [wrong, right])))


def test_only_what_is_new_counts() -> None:
    """The same windows again add nothing; more truths, or another hour, add just themselves."""
    first = HarmWatch.begin(ALARM).step({1: _window(5, 45)})
    assert first.step({1: _window(5, 45)}) is first
    more = first.step({1: _window(6, 54), 2: _window(1, 9)})
    assert (first.evidence.rows, more.evidence.rows) == (50, 70)
    at_once = HarmWatch.begin(ALARM).step({1: _window(5, 45)}).step({7: _window(2, 18)})
    assert more.evidence.logs == pytest.approx(at_once.evidence.logs)


def test_what_is_taken_back_stays_counted() -> None:
    """A revision moves a row to another loss: the new one counts, the old one is not taken out."""
    watch = HarmWatch.begin(ALARM).step({1: _window(10, 40)}).step({1: _window(0, 50)})
    assert watch.evidence.rows == 60


def test_it_goes_on_after_a_restart_unless_the_promise_is_another() -> None:
    """Everything is in the JSON; another promise, tolerance or run length begins anew."""
    watch = HarmWatch.begin(ALARM).step({1: _window(30, 20)})
    again = HarmWatch.from_json(ALARM, watch.to_json())
    assert again.told() == watch.told()
    assert again.step({1: _window(30, 20)}) is again
    assert HarmWatch.from_json(replace(ALARM, promised=0.2), watch.to_json()).evidence.rows == 0


def test_it_opens_and_closes() -> None:
    """Wrong answers open it before long; after long harm a few hundred right ones close it."""
    watch = HarmWatch.begin(ALARM).step({1: _window(4000, 1000)})
    assert watch.active
    assert "more than the 12.0%" in watch.told()["text"]
    assert not watch.step({1: _window(4000, 1000), 2: _window(0, 400)}).active


def test_it_is_silent_while_the_promise_holds() -> None:
    """Of a hundred streams of 500 honest rows each fewer alarm than the run length says."""
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        watch = HarmWatch.begin(ALARM)
        windows: dict[int, Window] = {}
        for hour in range(20):
            wrong = int((draw.random(25) < 0.12).sum())
            windows[hour] = _window(wrong, 25 - wrong)
            watch = watch.step(windows)
            if watch.active:
                alarms += 1
                break
    assert alarms <= 50
