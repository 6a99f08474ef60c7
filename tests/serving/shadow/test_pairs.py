"""Pairs are counted by what both versions said, and come back from JSON as they were."""

from __future__ import annotations

from collections import Counter

import numpy as np
import orjson
import pytest

from serinus.models import Field, Signature
from serinus.serving.rollout.evidence import Pairs
from serinus.serving.rollout.gathering import pairs_of
from serinus.serving.shadow.pairs import Answers, PairCounts, chosen_row
from serinus.serving.store import Document
from tests.serving.shadow.copies import SIGNATURE, copy_of, given

ANSWERS = Answers(SIGNATURE)


def counts(labels: tuple[str, ...] = ANSWERS.labels) -> PairCounts:
    return PairCounts("r1", "wine", "1", "2", labels)


def test_both_versions_are_compared() -> None:
    """Classes, slices, scores, speed and who failed; all classes are told from the start."""
    found = counts()
    red, white = ANSWERS.of(given("red", 0.9), 0), ANSWERS.of(given("white", 0.4), 0)
    found.add(red, red, stable_ns=100, candidate_ns=200, slices=["region=north"])
    found.add(red, white, slices=["region=north"])
    found.add(red, None)
    found.add(None, red)
    found.add(None, None)
    assert (found.pairs, found.compared, found.disagreements) == (5, 2, 1)
    assert (found.candidate_failed, found.stable_failed, found.both_failed) == (1, 1, 1)
    assert found.flips == {"red": [0, 1], "white": [1, 0]}
    assert found.slices == {"region=north": [2, 1]}
    assert found.scores.mean == pytest.approx((0.4 - 0.9) / 2)
    assert found.latency.mean == 2.0


def test_what_is_told_is_what_rollouts_are_judged_by() -> None:
    """The document's counts are the evidence's, and a new process goes on from them."""
    found = counts()
    for label in ("red", "white", "white"):
        found.add(ANSWERS.of(given("red"), 0), ANSWERS.of(given(label), 0), slices=["region=north"])
    found.add(ANSWERS.of(given("red"), 0), None)
    body = orjson.dumps(found.to_json() | {"died": 2})
    assert pairs_of("r1", [Document("rollout.pairs", "wine/here", 1, body, 0.0)]) == (
        Pairs(4, candidate_failed=1, flips={"red": (0, 2), "white": (2, 0)}), 2)
    assert PairCounts.from_json(orjson.loads(body)).to_json() == found.to_json()


def test_many_classes_share_a_name() -> None:
    """The first twenty each by itself; a change among the others is none that is told."""
    signature = Signature(SIGNATURE.inputs, (Field("kind", "INT64", (-1,), labels=tuple(range(30))),))
    answers = Answers(signature)
    found = counts(answers.labels)
    for kept, given_now in ((3, 25), (25, 26)):
        found.add(answers.of({"kind": np.array([kept])}, 0), answers.of({"kind": np.array([given_now])}, 0))
    assert len(found.flips) == 21
    assert (found.flips["3"], found.flips["other"], found.disagreements) == ([0, 1], [1, 0], 2)


def test_numbers_are_compared_as_numbers() -> None:
    """A regressor has no classes: its differences are told; one that is missing is in no difference."""
    answers = Answers(Signature(SIGNATURE.inputs, (Field("price", "FP64", (-1,)),)))
    found = counts(answers.labels)
    for mine in (12.0, np.nan, 1e300):
        found.add(answers.of({"price": np.array([10.0])}, 0), answers.of({"price": np.array([mine])}, 0))
    found.add(answers.of({"price": np.array([10.0])}, 0), answers.of({}, 0))
    assert (found.pairs, found.compared, found.scores.number) == (4, 0, 2)


def test_scores_that_are_not_numbers_are_left_out() -> None:
    """Neither all-missing nor infinite probabilities stop the count."""
    found = counts()
    for chance in (np.nan, np.inf):
        found.add(ANSWERS.of(given("red", chance), 0), ANSWERS.of(given("red", 0.5), 0))
    assert (found.pairs, found.scores.number) == (2, 0)


def test_the_compared_row_is_any_with_the_same_chance() -> None:
    """Of 4 rows, over 8,000 requests: within five sigma of a quarter each."""
    rows = Counter(chosen_row(copy_of({})._replace(rows=4)) for _ in range(8_000))
    assert all(abs(rows[row] - 2_000) < 5 * (8_000 * 0.25 * 0.75) ** 0.5 for row in range(4))
