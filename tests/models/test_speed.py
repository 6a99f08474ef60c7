"""Speed: two models in turns, by a clock that the test moves itself."""

import numpy as np
import pytest

from serinus.models.speed import measure_speed


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Slow:
    """Takes so long for a call, and some more for a row, of the test's own time."""

    def __init__(self, clock, call, row=0.0):
        self.clock, self.call, self.row, self.seen = clock, call, row, set()

    def predict(self, inputs, outputs=None):
        self.seen.add(len(inputs["a"]))
        self.clock.now += self.call + self.row * len(inputs["a"])


def test_the_ratio_is_that_of_the_times():
    """A model of 1 ms and 10 µs a row against one of 0.1 ms: 10.1 times as fast for one row, 16.4 times for 64."""
    clock = Clock()
    before, after = Slow(clock, 1e-3, 1e-5), Slow(clock, 1e-4)
    for rows, ratio in ((1, 10.1), (64, 16.4)):
        speed = measure_speed(before, after, {"a": np.arange(3.0)}, rows, clock=clock)
        assert (speed.rows, speed.ratio) == (rows, pytest.approx(ratio))
        assert speed.low == pytest.approx(ratio) and speed.high == pytest.approx(ratio)
        assert speed.before / speed.after == pytest.approx(ratio)
    assert before.seen == after.seen == {1, 64}


def test_what_slows_both_does_not_change_the_ratio():
    """A machine that is three times as slow for half of the time leaves the median where it was."""
    clock = Clock()

    class Busy(Slow):
        def predict(self, inputs, outputs=None):
            self.clock.now += self.call * (3 if int(self.clock.now * 20) % 2 else 1)

    speed = measure_speed(Busy(clock, 4e-3), Busy(clock, 1e-3), {"a": np.arange(3.0)}, 1, clock=clock)
    assert 3 < speed.ratio < 5 and speed.low <= speed.ratio <= speed.high


def test_said_in_a_line():
    """Ratio, spread and times, in microseconds."""
    clock = Clock()
    speed = measure_speed(Slow(clock, 4e-4), Slow(clock, 1e-4), {"a": np.zeros(1)}, 1, clock=clock)
    assert str(speed) == "1 row: 4 times as fast (4 to 4; 400 µs before, 100 µs after)"
    assert speed.to_json() == {
        "rows": 1, "before_us": 400, "after_us": 100, "ratio": 4, "low": 4, "high": 4}  # fmt: skip
