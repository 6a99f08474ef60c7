"""Contrasts are centred under the reference, bounded, and look at what their names say."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serinus.monitors.contrasts import CONTRASTS, LOCATION, SCALE, contrasts, shares
from serinus.monitors.features import MISSING, UNSEEN, VALUES, WIDTH

EVEN = np.array([[100] * VALUES + [0, 0]])
ORDERED = np.array([True])


@given(arrays(np.int64, (2, WIDTH), elements=st.integers(0, 10**6)))
def test_every_contrast_has_mean_0_under_its_reference(counts: np.ndarray) -> None:
    """Whatever the reference, its own rows are no evidence; and no contrast exceeds 1."""
    g = contrasts(counts, np.array([True, False]))
    means = np.einsum("rb,rcb->rc", shares(counts), g)
    assert means == pytest.approx(np.zeros((2, CONTRASTS)), abs=1e-9)
    assert np.abs(g).max() <= 1 + 1e-9


def test_location_of_even_bins_is_the_normal_score_of_their_midranks() -> None:
    """16 bins of 1/16 each: Φ⁻¹(1/32), Φ⁻¹(3/32), …, over the largest of them."""
    wanted = np.array([NormalDist().inv_cdf((2 * b + 1) / 32) for b in range(VALUES)])
    assert contrasts(EVEN, ORDERED)[0, LOCATION, :VALUES] == pytest.approx(wanted / wanted.max(), abs=0.01)


def test_missing_values_have_no_location_and_no_scale() -> None:
    """A feature that loses values has not moved; missing has a contrast of its own."""
    g = contrasts(EVEN, ORDERED)
    assert g[0, [LOCATION, SCALE], MISSING].tolist() == [0, 0]
    assert g[0, 2 + MISSING, MISSING] == 1


def test_what_lies_outside_the_range_is_as_far_out_as_can_be() -> None:
    """An unseen number counts for the scale like the outermost bin, and not for the location: it may be either side."""
    g = contrasts(EVEN, ORDERED)
    assert g[0, SCALE, UNSEEN] == g[0, SCALE, :VALUES].max() == 1
    assert g[0, LOCATION, UNSEEN] == 0


def test_categories_have_neither_location_nor_scale() -> None:
    """The order of their bins means nothing."""
    assert not contrasts(EVEN, np.array([False]))[0, :2].any()


@pytest.mark.parametrize("counts", [np.zeros(WIDTH, int), *np.eye(WIDTH, dtype=int)[[MISSING, 3]]])
def test_degenerate_references_have_finite_contrasts(counts: np.ndarray) -> None:
    """No row, all missing, one constant."""
    assert np.isfinite(contrasts(counts[None], ORDERED)).all()
