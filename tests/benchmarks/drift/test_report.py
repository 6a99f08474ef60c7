"""The drift benchmark: how it counts, and that our own detector and the classic test answer its questions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.drift import report
from tests.benchmarks.drift.peers import Program, closure, program
from tests.benchmarks.drift.scenarios import CHANGES, FEATURES, SHAPES, clean, masked
from tests.benchmarks.peers import default_venvs


def test_shares_count_features_and_windows() -> None:
    """A feature that alarms in one of two windows is a quarter of two features' verdicts and half of the windows."""
    assert report.shares([[True, False], [False, False]], 2) == (0.25, 0.5)


def test_an_alarm_of_something_else_counts_for_the_window_only() -> None:
    """What follows the features' own columns belongs to no feature."""
    assert report.shares([[False, False, True]], 2) == (0.0, 1.0)


def test_the_threshold_lets_the_stated_share_of_windows_through() -> None:
    """Of 100 clean windows with different highest scores, exactly one exceeds the threshold for 1 %."""
    scores = np.random.default_rng(1).normal(size=(100, 5))
    limit = report.threshold(scores.tolist(), 0.01)
    assert int((scores.max(1) > limit).sum()) == 1


def test_a_delay_ends_with_the_first_window_that_alarms() -> None:
    """The third window of 500 rows ends after 1,500; a column without alarms is never seen."""
    exceeds = np.array([[False, False], [False, False], [True, False], [True, False]])
    assert report.delays(exceeds, 500).tolist() == [1500.0, math.inf]


def test_a_median_of_mostly_missed_changes_is_never() -> None:
    """None counts as longer than anything."""
    assert report.median([100, None, None]) == report.NEVER
    assert report.median([100, 300, None]) == 300


def test_tuning_takes_the_fastest_of_the_quiet_settings() -> None:
    """A setting that alarms too often is out, however fast; without a quiet one there is none."""
    settings = {"loud": {"false": 3, "rows": 100_000, "medians": [10.0]},
                "quiet": {"false": 2, "rows": 100_000, "medians": [20.0]},
                "deaf": {"false": 0, "rows": 100_000, "medians": [math.inf]}}
    assert report.tuned(settings, 50_000) == "quiet"
    assert report.tuned({"loud": settings["loud"]}, 50_000) is None


def test_what_could_not_be_asked_is_told_in_the_page() -> None:
    """A detector that did not install has a reason and no number."""
    text = report.page({"river": {"failed": "no such version"}})
    assert "| river |  |  | no such version |" in text
    assert all(change.name in text for change in CHANGES)


def test_a_closure_holds_what_a_package_needs() -> None:
    """pandas brings numpy; a name that is not installed brings nothing."""
    assert {"pandas", "numpy"} <= closure(["pandas", "no-such-package"])
    assert closure(["no-such-package"]) == set()


@pytest.fixture(scope="module", params=["serinus", "scipy"])
def ours(request: pytest.FixtureRequest) -> Program:
    """Return a program that needs no other environment."""
    return program(request.param, default_venvs())


def test_a_clear_shift_is_seen_also_beside_a_huge_value(ours: Program) -> None:
    """In 1,000 rows moved by 0.5 sd every feature alarms, with and without one value of a million."""
    alarms = _only(ours.ask("windows", **masked(7)))["alarms"]
    assert np.array(alarms)[:, :FEATURES].all()


def test_clean_categories_mostly_give_no_alarm(ours: Program) -> None:
    """At its default level neither test names more than one in ten features of clean windows."""
    alarms = _only(ours.ask("windows", **clean(SHAPES[-1], 4, 200, 3)))["alarms"]
    assert report.shares(alarms, FEATURES)[0] < 0.1


def _only(answer: dict[str, Any]) -> dict[str, Any]:
    (found,) = answer["tools"].values()
    return dict(found)
