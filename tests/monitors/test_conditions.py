"""Conditions: what a drift monitor says of a real stream, as alerts take it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from serinus.monitors.alerts import Condition
from serinus.monitors.conditions import of_drift
from serinus.monitors.drift import DriftMonitor
from serinus.monitors.reference import Reference


def frame(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"age": random.normal(40, 10, rows), "income": random.gamma(4, 10, rows),
                         "region": random.choice(["north", "south", "west"], rows)})


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.from_frame(frame(4000, 1))


def seen(reference: Reference, change: Callable[[pd.DataFrame], pd.DataFrame], kind: str = "drift") -> Condition:
    monitor = DriftMonitor(reference)
    state = monitor.observe(change(frame(6000, 2)))
    (found,) = [one for one in of_drift(state, "credit", "1") if one.kind == kind]
    return found


def test_all_is_well(reference: Reference) -> None:
    """Both kinds are said to be inactive, so that alerts can end."""
    state = DriftMonitor(reference).observe(frame(6000, 3))
    assert {(one.kind, one.active) for one in of_drift(state, "credit", "1")} == {
        ("drift", False), ("sudden_change", False)}


def test_a_change_of_the_world(reference: Reference) -> None:
    """The features that moved, where to, and the evidence; no pattern of a fault."""
    found = seen(reference, lambda rows: rows.assign(age=rows["age"] + 8))
    assert found.active and found.features == ("age",)
    assert found.severity in ("alarm", "act") and found.facts["evidence"] == 1.0
    assert "pattern" not in found.facts and str(found.facts["moved"]).startswith("age up 0.")


@pytest.mark.parametrize(("pattern", "change"), [
    ("missing", lambda rows: rows.assign(age=rows["age"].where(rows.index % 3 > 0))),
    ("unseen", lambda rows: rows.assign(region=rows["region"].where(rows.index % 3 > 0, "nowhere"))),
    ("unit_slip", lambda rows: rows.assign(age=rows["age"] * 12.0)),
])
def test_a_fault_of_the_pipeline(reference: Reference, pattern: str,
                                 change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Is told by its pattern."""
    found = seen(reference, change)
    assert found.active and found.facts["pattern"] == pattern, found


def test_joint_features_are_named_only_by_themselves(reference: Reference) -> None:
    """A change that no feature shows alone: the joint ones speak for it."""
    random = np.random.default_rng(5)

    def tied(rows: pd.DataFrame) -> pd.DataFrame:
        order = np.argsort(np.argsort(rows["age"].to_numpy() + random.normal(0, 0.5, len(rows))))
        return rows.assign(income=np.sort(rows["income"].to_numpy())[order])

    found = seen(reference, tied)
    assert found.active and found.features and all(
        name.startswith("joint[") or name == "novelty" for name in found.features)
