"""Parity: how far two models' answers are apart, in numbers that can be checked by hand."""

import math

import numpy as np
import pytest

from serinus.models import Field, Signature
from serinus.models.parity import compare

LABEL = Field("predict", "BYTES", (-1,), labels=("no", "yes"))
SHARES = Field("predict_proba", "FP64", (-1, 2), labels=("no", "yes"))
VALUE = Field("predict", "FP64", (-1,))


def labels(*values):
    return np.array(values, dtype=object)


def test_labels_are_counted_and_numbers_measured():
    """One of four labels changed, and the largest difference of a probability is a quarter."""
    before = {"predict": labels("no", "no", "yes", "yes"), "predict_proba": np.full((4, 2), 0.5)}
    after = {"predict": labels("no", "yes", "yes", "yes"), "predict_proba": np.array([[0.5, 0.5]] * 3 + [[0.25, 0.75]])}
    parity = compare(Signature((), (LABEL, SHARES)), before, after)
    assert (parity.rows, parity.changed_labels, parity.changed_share) == (4, 1, 0.25)
    assert (dict(parity.differences), parity.excess) == ({"predict_proba": 0.25}, 0.25)
    assert str(parity) == "1 of 4 labels changed (25.00%), predict_proba differs by at most 0.25"
    assert not parity.within(0.3)


def test_large_numbers_may_differ_by_their_size():
    """The tolerance is absolute below 1 and relative above: 5 of 1000 is 0.005, and so is 0.005 of 0.5."""
    signature = Signature((), (VALUE,))
    parity = compare(signature, {"predict": np.array([1000.0, 0.5])}, {"predict": np.array([1005.0, 0.505])})
    assert (parity.changed_labels, parity.differences["predict"], parity.excess) == (None, 5, pytest.approx(0.005))
    assert parity.within(0.0051) and not parity.within(0.0049)
    assert str(parity) == "over 2 rows predict differs by at most 5"


@pytest.mark.parametrize(("one", "other", "excess"), [
    (math.nan, math.nan, 0), (math.inf, math.inf, 0), (math.nan, 1.0, math.inf), (math.inf, -math.inf, math.inf),
])  # fmt: skip
def test_missing_and_infinite_numbers_are_equal_to_themselves_alone(one, other, excess):
    """NaN agrees with NaN and an infinity with itself; with anything else they are infinitely far apart."""
    parity = compare(Signature((), (VALUE,)), {"predict": np.array([one])}, {"predict": np.array([other])})
    assert parity.excess == excess
    assert parity.to_json()["excess"] == (None if excess else 0)


def test_a_missing_output_or_another_shape_never_agrees():
    """What cannot be compared is infinitely far apart."""
    signature = Signature((), (VALUE,))
    for after in ({}, {"predict": np.zeros((2, 1))}):
        assert not compare(signature, {"predict": np.zeros(2)}, after).within(1e9)


def test_labels_that_are_numbers_are_labels():
    """A class 1.0 that became 2.0 is another class, however large the tolerance."""
    field = Field("predict", "FP64", (-1,), labels=(1.0, 2.0))
    parity = compare(Signature((), (field,)), {"predict": np.array([1.0])}, {"predict": np.array([2.0])})
    assert parity.changed_labels == 1 and not parity.within(10)
