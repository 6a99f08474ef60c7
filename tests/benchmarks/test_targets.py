"""The verdicts of a benchmark are worked out within a round, and against whoever was best in it."""

from typing import Any

import pytest

from tests.benchmarks import memory, targets
from tests.benchmarks.load import Load
from tests.benchmarks.servers import SERVERS


def _rounds(*speeds: float) -> list[dict[str, Any]]:
    return [{"requests_per_second": speed, "cpu_us": {"total": 1e6 / speed / 2}} for speed in speeds]


def test_the_best_model_server_is_chosen_anew_in_each_round() -> None:
    """A web framework is none, however fast; by hand: 40/10, 60/20 and 45/15 have the median 3."""
    figures = {
        "kserve": _rounds(10, 5, 15),
        "mlserver": _rounds(1, 20, 1),
        "fastapi": _rounds(99, 99, 99),
        "serinus-unmonitored": _rounds(40, 60, 45),
    }
    target = targets.Target("serinus-unmonitored", targets.BEST, 4.0)
    assert target.reached(figures, targets.per_second) == pytest.approx(3.0)
    assert target.reached(figures, targets.per_cpu_second) == pytest.approx(3.0)


def test_a_target_that_was_not_measured_has_no_verdict() -> None:
    """Neither a missing server nor a missing peer counts as a miss."""
    target = targets.Target("serinus-unmonitored", targets.BEST, 4.0)
    assert target.reached({"kserve": _rounds(1)}, targets.per_second) is None
    assert target.reached({"serinus-unmonitored": _rounds(1)}, targets.per_second) is None


def test_a_missed_target_says_so() -> None:
    """Both figures stand in the line, and only the targets of this load."""
    figures = {"floor": _rounds(100), "serinus-traced": _rounds(50)}
    (line,) = targets.lines(Load(rows=64, connections=16), figures)
    assert "wanted ≥  0.60, got  0.50" in line
    assert line.endswith("MISSED")


def test_every_target_speaks_of_known_servers() -> None:
    """A renamed server would silently lose its targets."""
    named = {name for target in targets.TARGETS for name in (target.server, target.other)}
    assert named - {targets.BEST} <= set(SERVERS)


def test_growth_is_counted_per_million_requests() -> None:
    """By hand: 3 MB more over half a million requests."""
    first = {"requests": 100_000, "memory_mb": {"worker": {"Rss": 120.0}}}
    last = {"requests": 600_000, "memory_mb": {"worker": {"Rss": 123.0}}}
    assert memory._growth(first, last) == {"worker": pytest.approx(6.0)}
