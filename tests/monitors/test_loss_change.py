"""Why the loss changed: harder rows and a changed world are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from serinus.monitors.loss_change import explain_change, raked


def drawn(seed: int, rows: int, shift: float = 0.0, changed: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Three features of six bins; the loss rises with the first, and everywhere by `changed`."""
    rng = np.random.default_rng(seed)
    weights = np.exp(shift * np.arange(6))
    first = rng.choice(6, rows, p=weights / weights.sum())
    codes = np.column_stack([first, (first + rng.integers(0, 3, rows)) % 6, rng.integers(0, 6, rows)])
    return codes, (rng.random(rows) < 0.05 + 0.05 * first + changed).astype(float)


@pytest.mark.parametrize(
    ("shift", "changed", "verdict"),
    [(0.0, 0.0, "no change"), (0.4, 0.0, "inputs"), (0.0, 0.1, "relation"), (0.4, 0.1, "both")],
)
def test_the_two_causes_are_told_apart(shift: float, changed: float, verdict: str) -> None:
    """Both parts within their intervals, and they add up to the whole."""
    found = explain_change(*drawn(1, 8_000), *drawn(2, 8_000, shift, changed))
    assert found.verdict == verdict
    assert found.values is not None and found.relation is not None and found.inputs is not None
    assert found.values[0] == pytest.approx(found.values[1] + found.values[2])
    assert found.relation.holds(changed)
    endless = drawn(3, 400_000, shift)[1].mean() - 0.05 - 0.05 * 2.5
    assert found.inputs.holds(endless)


def test_the_intervals_hold_as_often_as_they_say() -> None:
    """200 pairs of samples, of which the inputs differ: 95 of 100 intervals of the relation hold 0."""
    held, inputs_held = 0, 0
    effect = drawn(9, 1_000_000, 0.3)[1].mean() - drawn(10, 1_000_000)[1].mean()
    for seed in range(200):
        found = explain_change(*drawn(100 + seed, 1_500), *drawn(500 + seed, 1_000, 0.3))
        held += found.relation is not None and found.relation.holds(0.0)
        inputs_held += found.inputs is not None and found.inputs.holds(effect)
    assert held / 200 == pytest.approx(0.95, abs=0.04)
    assert inputs_held / 200 == pytest.approx(0.95, abs=0.04)


def test_raking_meets_every_margin() -> None:
    """The weighted reference has the window's shares in every bin of every feature."""
    codes, _ = drawn(4, 3_000)
    window, _ = drawn(5, 3_000, 0.5)
    weights = raked(codes, window)
    for ours, theirs in zip(codes.T, window.T, strict=True):
        assert np.bincount(ours, weights) / 3_000 == pytest.approx(np.bincount(theirs) / 3_000, abs=2e-3)


def test_rows_unlike_the_reference_are_unknown() -> None:
    """Another value in most rows, or hardly any reference row like them: then nobody can tell."""
    codes, losses = drawn(6, 2_000)
    found = explain_change(codes, losses, codes + 3, losses)
    assert found.verdict == "unknown" and "no reference row has" in found.reason
    rare = np.zeros((2_000, 1), int)
    rare[:3] = 1
    assert explain_change(rare, losses, np.ones((500, 1), int), losses[:500]).reason.startswith("Only about")


def test_few_rows_are_unknown() -> None:
    """And so are rows without losses; constant losses are no change."""
    codes, losses = drawn(7, 400)
    assert explain_change(codes[:40], losses[:40], codes, losses).verdict == "unknown"
    assert explain_change(codes, np.full(400, np.nan), codes, losses).verdict == "unknown"
    assert explain_change(codes, np.zeros(400), codes, np.zeros(400)).verdict == "no change"
