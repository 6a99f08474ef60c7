"""How inversion is seen in rows."""

import numpy as np
import pytest

from serinus.monitors.security.inversion import changes

ROW = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize(("changed", "expected"), [
    ({}, (False, False)),
    ({2: 5.0}, (True, False)),
    ({2: 5.0, 3: 0.0}, (True, False)),
    ({1: 5.0, 2: 5.0, 3: 0.0}, (False, False)),
    ({4: 4.0001}, (True, True)),
    ({0: 0.0002, 1: 1.0002, 2: 2.0002}, (False, True)),
])
def test_a_row_that_repeats_an_earlier_one_but_for_little(changed: dict[int, float],
                                                          expected: tuple[bool, bool]) -> None:
    """One or two features of six, or tiny steps, are remarked; the same row again and another row are not."""
    row = ROW.copy()
    for at, value in changed.items():
        row[at] = value
    assert changes(row, np.stack([ROW + 40, ROW])) == expected


def test_two_changes_are_few_only_among_many() -> None:
    """Of five features one may change; of two, there is no "all else"."""
    five, two = ROW[:5], ROW[:2]
    assert changes(five + np.array([1, 0, 0, 0, 0], np.float32), five[None]) == (True, False)
    assert changes(five + np.array([1, 1, 0, 0, 0], np.float32), five[None]) == (False, False)
    assert changes(two + np.array([1, 0], np.float32), two[None]) == (False, False)
