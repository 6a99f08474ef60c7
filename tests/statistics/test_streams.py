"""Real streams keep what RESULTS.md says of them; their packages are fetched by pip into the user's cache."""

from __future__ import annotations

import pytest

from tests.statistics import trial
from tests.statistics.streams import STREAMS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_population_is_quiet(name: str) -> None:
    """At most 2 % of windows of 500 rows alarm, over five random halves of the reference; 5 % in its own order."""
    windows = trial.try_windows(STREAMS[name]())
    assert windows.shuffled <= 0.02
    assert windows.own_order <= 0.05


def test_car_loans_change_at_row_25_000() -> None:
    """The first window sees it and names exactly the changed columns in 95 %, a fifth of it shows in 90 %, and the
    detector sees it within 128 rows."""
    stream = STREAMS["car_loan"]()
    windows, sequence = trial.try_windows(stream), trial.try_sequence(stream)
    assert windows.first == 0 and windows.live == 1
    assert windows.named is not None and windows.named >= 0.95
    assert min(windows.mixed, windows.mixed_1000) >= 0.9
    assert (sequence.alarms, sequence.before) == (0, 0)
    assert sequence.first is not None and sequence.first <= 128


def test_half_a_census_is_quiet_against_the_other() -> None:
    """34,368 held-out rows in their own order: no alarm, as the self-check promised."""
    sequence = trial.try_sequence(STREAMS["census"]())
    assert sequence.alarms == sequence.alarms_unchecked == 0
    assert "0 alarms" in sequence.promise


@pytest.mark.parametrize("name", ["elec", "weather", "flights", "covtype"])
def test_a_self_check_says_that_a_restless_stream_cannot_be_promised(name: str) -> None:
    """Where held-out rows alarm, the check found alarms before, and names columns that it cannot support."""
    sequence = trial.try_sequence(STREAMS[name]())
    assert sequence.alarms > 0
    assert "only gross changes show" in sequence.promise and ": 0 alarms" not in sequence.promise


@pytest.mark.parametrize("name", STREAMS)
def test_no_column_is_lost_in_silence(name: str) -> None:
    """An input column that goes wholly missing is an alarm."""
    assert trial.lost_columns(STREAMS[name]()) == []
