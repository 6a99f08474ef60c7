"""A feature says where its bins lie, and travels as JSON; categories are known by salted hashes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from serinus.monitors.errors import InvalidData
from serinus.monitors.features import WIDTH, Feature, category_hash, is_missing
from tests.monitors.references import categorical, numeric

FEATURES = [numeric(), categorical("c", ("a", "b"), ("z",)), Feature("n", "n", "output", "numeric", monitorable=False)]


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_comes_back_from_json(feature: Feature) -> None:
    """Nothing is lost, and JSON can carry it."""
    assert Feature.from_json(json.loads(json.dumps(feature.to_json(), allow_nan=False))) == feature


@pytest.mark.parametrize("document", [{"name": "x"}, {"nom": 1}, [], {"name": "x", "domain": 3}])
def test_what_is_no_feature_is_refused(document: object) -> None:
    """The message says what was found."""
    with pytest.raises(InvalidData, match=r"cannot be read .*got"):
        Feature.from_json(document)  # type: ignore[arg-type]


def test_every_code_has_a_label() -> None:
    """Readers see intervals and categories, never codes."""
    assert numeric().labels[:3] == ("below 0", "0 to 1", "from 1") and numeric().labels[-2:] == ("missing", "unseen")
    found = categorical("c", ("a", "b")).labels
    assert found[:2] == ("a", "b") and found[14:] == ("rare (1)", "rare (2)", "missing", "unseen")
    assert len(found) == len(numeric().labels) == WIDTH


def test_equal_values_are_one_category() -> None:
    """Text and its bytes are one; so are numbers that are equal in Python; "1" is another than 1."""
    assert category_hash("é", b"s") == category_hash("é".encode(), b"s") == category_hash(np.str_("é"), b"s")
    assert len({category_hash(one, b"s") for one in (1, 1.0, True, np.int8(1), np.float32(1))}) == 1
    assert len({category_hash(one, b"s") for one in ("1", 1, 1.5, "1.5", 2)}) == 5


def test_a_salt_changes_every_hash() -> None:
    """Who does not know it cannot try guesses."""
    assert category_hash("alice", b"one") != category_hash("alice", b"two")


@pytest.mark.parametrize("value", [[1], {"a": 1}, object(), float("inf"), float("nan"), 1j])
def test_what_is_no_category_has_no_hash(value: object) -> None:
    """Lists, objects and infinity are unseen, not categories."""
    assert category_hash(value, b"") is None


@pytest.mark.parametrize(
    ("value", "missing"),
    [(None, True), (float("nan"), True), (pd.NA, True), (pd.NaT, True), (np.float32("nan"), True), (0, False),
     ("", False), ("nan", False), ([], False), (np.array([1, 2]), False)],
)  # fmt: skip
def test_missing_has_many_spellings(value: object, missing: bool) -> None:
    """None, NaN, NaT and NA; an empty text is a text."""
    assert is_missing(value) is missing
