"""Slices are learned from inputs alone, and then fixed."""

from __future__ import annotations

import numpy as np

from serinus.serving.shadow.slices import LEARNT_FROM, Slices, values_at
from tests.serving.shadow.copies import texts


def test_values_that_are_not_rare_make_slices() -> None:
    """Constant and rare values do not, nor do inputs with many values; later values make no slice any more."""
    slices = Slices()
    for number in range(LEARNT_FROM):
        assert slices.names is None
        slices.learn({"region": "north" if number % 2 else "south", "land": "same", "name": f"n{number}",
                      "kind": "rare" if number == 0 else "a" if number % 2 else "b"})
    assert slices.names is not None
    assert set(slices.names) == {"region=north", "region=south", "kind=a", "kind=b"}
    bits = slices.of({"region": "north", "kind": "new"})
    assert list(slices.told(bits)) == ["region=north"]
    assert Slices(slices.names).of({"region": "north"}) == bits


def test_texts_and_booleans_make_slices_and_numbers_do_not() -> None:
    """One row's values; tensors, long texts and gaps are passed over."""
    inputs = {"region": texts("north", "south"), "member": np.array([True, False]), "age": np.array([1.0, 2.0]),
              "picture": np.zeros((2, 3)), "note": texts("x" * 100, "y" * 100), "gap": texts("a", None)}  # type: ignore[arg-type]
    assert values_at(inputs, 1) == {"region": "south", "member": "False"}
