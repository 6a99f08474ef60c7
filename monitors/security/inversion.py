"""Inversion and membership: questions about one row, asked again with one thing changed, or with almost nothing.

Attributes of a person are inferred by trying their values while all else stays (Fredrikson, Jha & Ristenpart 2015);
gradients are taken, and digits of a probability are read, by tiny steps (Chen et al. 2017, ZOO, arXiv 1708.03999).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.security.signals import Signal

__all__ = ["FEW_CHANGES", "RECENT", "TINY_STEPS", "changes"]

Floats32 = NDArray[np.float32]

FEW_CHANGES = Signal(
    "few_changes", "rows differ from one of the client's last eight in one feature, or in two of six and more",
    "Fredrikson, Jha & Ristenpart 2015, Model inversion attacks that exploit confidence information", 0.2, 0.6)
TINY_STEPS = Signal(
    "tiny_steps", "rows differ from one of the client's last eight by less than a thousandth of a standard deviation",
    "Chen et al. 2017, ZOO (arXiv 1708.03999): gradients by finite differences", 0.05, 0.5)

RECENT = 8
_TINY = 1e-3


def changes(row: Floats32, recent: Floats32) -> tuple[bool, bool]:
    """Whether a standardised row repeats a recent one but for one or two features, and but for tiny steps.

    An exact repetition is neither: clients retry, and health checks ask the same for ever. Rows of one feature have
    no "all else", so that only tiny steps are looked for.
    """
    differences = np.abs(recent - row)
    differing = (differences > 0).sum(axis=1)
    differs = differing > 0
    few = len(row) > 2 and bool((differs & (differing <= (2 if len(row) >= 6 else 1))).any())
    tiny = bool((differs & (differences.max(axis=1, initial=0) < _TINY)).any())
    return few, tiny
