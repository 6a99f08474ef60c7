"""What is held true depends on what was sent, never on the order in which it came."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.serving.ground_truth.resolution import PROBABILITY, State, alike, resolve
from serinus.serving.store import GroundTruth


def said(value: Any, at: float, kind: str = "final", source: str = "crm", **more: Any) -> GroundTruth:
    return GroundTruth("p-0", source, kind, value, at, 100.0 + at, **more)


@pytest.mark.parametrize(
    ("rows", "state", "value"),
    [
        ([said("a", 1)], State.LABELLED, "a"),
        ([said("a", 1), said("b", 2, "revision")], State.LABELLED, "b"),
        ([said("a", 3), said("b", 2, "revision")], State.LABELLED, "a"),
        ([said("a", 1), said("b", 2, "revision"), said("c", 3, "revision")], State.LABELLED, "c"),
        ([said("a", 1), said(None, 2, "retract")], State.RETRACTED, None),
        ([said("a", 3), said(None, 2, "retract")], State.LABELLED, "a"),
        ([said("a", 1), said(None, 2, "retract", "bank")], State.LABELLED, "a"),
        ([said(None, 2, "retract")], State.UNLABELLED, None),
        ([said("a", 9, "provisional"), said("b", 1)], State.LABELLED, "b"),
        ([said("a", 9, "provisional"), said("b", 1, "provisional")], State.LABELLED, "a"),
        ([said(1.0, 1, "event", name="click")], State.UNLABELLED, None),
    ])
def test_the_table_holds_in_any_order(rows: list[GroundTruth], state: State, value: Any) -> None:
    """Every line of the page's table, whatever came first."""
    for order in permutations(rows):
        found = resolve(order)
        assert (found.state, found.value) == (state, value)


@pytest.mark.parametrize(
    ("policy", "state", "value"),
    [("latest", State.LABELLED, "b"), ("majority", State.LABELLED, "a"), ("source", State.LABELLED, "c"),
     ("quarantine", State.QUARANTINED, None)])
def test_contradictions_are_settled_by_policy(policy: Any, state: State, value: Any) -> None:
    """The latest, that of most, that of the most believed, or none; a conflict is counted in each case."""
    rows = [said("a", 1), said("a", 2, source="bank"), said("c", 3, source="court"), said("b", 4, source="web")]
    for order in permutations(rows):
        found = resolve(order, policy, ("court", "bank"))
        assert (found.state, found.value, found.conflict) == (state, value, True)


def test_what_is_alike_is_no_contradiction() -> None:
    """One and the same truth may be a number, text or a boolean, and a final value that repeats it is a duplicate."""
    found = resolve([said(1, 1), said(1.0, 2, copies=3), said("1", 3), said(True, 4, source="bank")], "quarantine")
    assert (found.state, found.conflict, found.duplicates) == (State.LABELLED, False, 4)
    assert [alike(value) for value in (1, 1.0, "1", "1.0", True, "true")] == ["1"] * 6
    assert len({alike(value) for value in ("a", "A", 0, 2, 2.5, "nan", "inf")}) == 7


def test_a_revision_settles_a_conflict() -> None:
    """What is older than a revision contradicts nothing any more."""
    found = resolve([said("a", 1), said("b", 2), said("c", 3, "revision")], "quarantine")
    assert (found.state, found.value, found.conflict, found.revised) == (State.LABELLED, "c", False, True)


def test_events_are_counted_and_weigh() -> None:
    """Events add up by name; the logged probability of the action makes a truth count by its inverse, within limits."""
    clicks = [said(1.0, at, "event", name="click") for at in (1, 2)]
    found = resolve([said("a", 1, weight=2.0), *clicks, said(0.25, 1, "event", name=PROBABILITY)])
    assert (found.weight, found.events["click"]) == (8.0, (2, 2.0))
    assert resolve([said("a", 1), said(1e-9, 1, "event", name=PROBABILITY)]).weight == 100.0
    assert resolve([said("a", 1), said(7.0, 1, "event", name=PROBABILITY)]).weight == 1.0


def test_the_delay_is_that_of_the_first_news() -> None:
    """What was learnt first tells the delay; what was learnt last tells whether it is late."""
    found = resolve([said("a", 9, "revision"), said("a", 1)])
    assert (found.received, found.updated) == (101.0, 109.0)


OUTCOMES = st.builds(
    said, st.sampled_from(["a", "b", 1, 1.5, True]), st.integers(1, 4).map(float),
    st.sampled_from(["final", "provisional", "revision", "retract"]), st.sampled_from(["crm", "bank", "web"]))


@given(st.lists(OUTCOMES, min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False),
       st.sampled_from(["latest", "majority", "source", "quarantine"]))
def test_order_never_matters(rows: list[GroundTruth], shuffler: Any, policy: Any) -> None:
    """Any outcomes in any order under any policy come to the same."""
    other = list(rows)
    shuffler.shuffle(other)
    assert repr(resolve(rows, policy, ("bank",))) == repr(resolve(other, policy, ("bank",)))
