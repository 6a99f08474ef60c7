"""The inputs of both arms: told apart when they differ for sure, and by no accident."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serinus.monitors.profile import Profile
from serinus.serving.rollout.input_mix import ALPHA, ArmInputs, differences
from tests.serving.profiles import live, number, small_profile

PROFILE = small_profile()
SHIFTED_EDGES = tuple(np.linspace(-2.3, 2.4, 12).tolist())


def arm(rows: int, seed: int, shift: float = 0.0, *, profile: Profile = PROFILE, units: int | None = None,
        repeats: int = 1) -> ArmInputs:
    """So many rows, each sent `repeats` times by its caller."""
    inputs, outputs = live(rows, seed, shift)
    inputs, outputs = ({name: np.repeat(array, repeats) for name, array in side.items()} for side in (inputs, outputs))
    counts = profile.empty()
    seen = profile.encoder.observe(inputs, outputs)
    counts.add(seen.codes, seen.deviations)
    return ArmInputs(profile, counts.table, rows if units is None else units)


def other_bins() -> Profile:
    """A reference of the candidate's own, whose bins lie elsewhere."""
    return replace(PROFILE, features=(number("age", "age", edges=SHIFTED_EDGES), *PROFILE.features[1:]))


def test_different_inputs_are_named() -> None:
    """The largest difference, with both shares."""
    told = differences(arm(500, 1, shift=1.0), arm(4_500, 2))
    assert told.startswith("age is below 0.")
    assert "% of the candidate's rows and " in told
    assert told.endswith("% of stable's")


def test_the_same_inputs_never_differ() -> None:
    """Looked at again and again while rows come in, in 200 rollouts: no more often than promised."""
    wrong = 0
    for seed in range(200):
        looks = [differences(arm(number, 2 * seed), arm(9 * number, 2 * seed + 1)) for number in (50, 200, 800)]
        wrong += any(looks)
    assert wrong <= 200 * ALPHA


def test_callers_that_repeat_themselves_are_counted_once() -> None:
    """20 callers with 100 rows each differ by chance in every way; as rows they would look like proof."""
    few, many = arm(20, 3, repeats=100, units=20), arm(1_000, 4)
    assert differences(few, many) == ""
    assert differences(few._replace(units=2_000), many) != ""


def test_bins_that_lie_elsewhere_are_compared_as_far_as_is_certain() -> None:
    """A version with a reference of its own: the same rows are no difference, other rows still are."""
    assert differences(arm(5_000, 5, profile=other_bins()), arm(5_000, 6)) == ""
    assert "age is below" in differences(arm(5_000, 5, shift=1.0, profile=other_bins()), arm(5_000, 6))


def test_small_differences_are_no_excuse() -> None:
    """However sure they are: half a percent more red explains no doubled error rate."""
    theirs, others = arm(200_000, 7), arm(200_000, 8)
    assert differences(theirs, others) == ""
    theirs.table[1, 0] += 2_500
    theirs.table[1, 1] -= 2_500
    assert differences(theirs, others) == ""
    theirs.table[1, 0] += 20_000
    theirs.table[1, 1] -= 20_000
    assert "colour is 'red' in 61." in differences(theirs, others)


@pytest.mark.parametrize("code", ["missing", "outside of the reference"])
def test_what_is_missing_or_was_never_seen_counts(code: str) -> None:
    """A caller whose client leaves a field out, or sends another unit, met one arm only."""
    theirs, others = arm(2_000, 9), arm(2_000, 10)
    theirs.table[0, 16 if code == "missing" else 17] += 300
    theirs.table[0, 7] -= 300
    assert code in differences(theirs, others)


def test_nothing_counted_is_no_difference() -> None:
    """And outputs are not inputs."""
    empty = arm(0, 1)
    assert differences(empty, arm(500, 2)) == ""
    theirs = arm(2_000, 11)
    theirs.table[2] = np.roll(theirs.table[2], 1)
    assert differences(theirs, arm(2_000, 12)) == ""
