"""The trailing reference moves along: a change is sudden once, and what creeps is never."""

from __future__ import annotations

import json

import numpy as np

from serinus.monitors.trailing import Trailing
from serinus.monitors.windows import WindowTest
from tests.statistics.simulation import Normals

RNG = np.random.default_rng(0)
DRAWN = Normals.draw(RNG, 10_000, features=5)
TEST = WindowTest.of(DRAWN.blocks, DRAWN.ordered)


def _fed(trailing: Trailing, means: list[float]) -> list[bool]:
    """Return after each window of 1,024 rows, with the first feature at these means, whether it differs."""
    said = []
    for mean in means:
        for _ in range(16):
            trailing.observe(RNG.multinomial(64, DRAWN.changed(mean)))
        said.append(trailing.result is not None and trailing.result.alarm)
    return said


def test_a_jump_is_sudden_once_and_creeping_is_not() -> None:
    """Eight windows as ever; a jump, seen in its first window; a quarter of an sd over 30 windows, never."""
    trailing = Trailing(TEST, 1_000_000)
    assert not any(_fed(trailing, [0.0] * 8))
    assert _fed(trailing, [1.0])[0]
    assert not _fed(trailing, [1.0] * 9)[-1]
    assert not any(_fed(Trailing(TEST, 1_000_000), [i / 120 for i in range(30)]))


def test_it_says_nothing_before_half_of_its_windows_are_there() -> None:
    """Four windows, and the fifth is compared with them."""
    trailing = Trailing(TEST, 1_000_000)
    _fed(trailing, [0.0, 0.0, 3.0, 0.0])
    assert trailing.result is None
    assert _fed(trailing, [-3.0])[0]


def test_it_goes_on_after_a_restart() -> None:
    """Its windows and its verdict come back from JSON."""
    trailing, again = Trailing(TEST, 1_000_000), Trailing(TEST, 1_000_000)
    _fed(trailing, [0.0] * 8 + [1.0])
    trailing.observe(RNG.multinomial(64, DRAWN.shares()))
    again.restore(json.loads(json.dumps(trailing.to_json())))
    assert trailing.result is not None and again.result is not None
    assert again.result.p.tolist() == trailing.result.p.tolist()
    assert again.to_json() == trailing.to_json()
    assert again.start_of(10_000) == trailing.start_of(10_000) == 10_000 - 1_024 - 64
