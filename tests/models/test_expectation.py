"""What a signature declares of a field's values is checked word by word, and travels with the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serinus.models.errors import InvalidSignature
from serinus.models.expectation import KINDS, POLICIES, check_expect
from serinus.models.signature import Field, Signature

EVERYTHING: dict[str, Any] = {
    "min": 0, "max": 120.5, "categories": ["a", 1, True], "missing": True, "length": [0, 20], "personal": "hash",
    "on": {kind: next(word for word in POLICIES if word in KINDS[kind]) for kind in KINDS},
}  # fmt: skip


def test_everything_travels_with_the_field() -> None:
    """Through JSON and back; a field that says nothing is written as it always was."""
    field = Field("age", "FP64", (-1,), expect=EVERYTHING)
    signature = Signature((field, Field("b", "FP64", (-1,))), ())
    back = Signature.from_json(json.loads(json.dumps(signature.to_json())))
    assert back == signature and dict(back.inputs[0].expect or {}) == EVERYTHING
    assert "expect" not in back.inputs[1].to_json()
    assert hash(field) == hash(Field("age", "FP64", (-1,)))


def test_another_expectation_is_another_signature() -> None:
    """So that it becomes another version."""
    one, other = (Field("age", "FP64", (-1,), expect={"max": limit}) for limit in (100, 120))
    assert one != other


def test_nothing_declared_is_nothing() -> None:
    """An empty object is the same as none, and null the same as a key left out."""
    assert Field("a", "FP64", (-1,), expect={}).expect is None
    assert Field("a", "FP64", (-1,), expect={"min": None}).expect is None
    assert check_expect("a", {"max": 3, "min": None}) == {"max": 3}


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ({"minimum": 3}, "no key 'minimum'; there are min, max"),
        ({"min": 3, "max": 2}, "min no larger than max, got [3, 2]"),
        ({"min": "3"}, "finite numbers"),
        ({"max": float("inf")}, "finite numbers"),
        ({"max": True}, "finite numbers"),
        ({"length": [5, 2]}, "[shortest, longest], got [5, 2]"),
        ({"length": 5}, "[shortest, longest]"),
        ({"categories": []}, "1 to 10000"),
        ({"categories": [1.5]}, "1 to 10000"),
        ({"missing": 1}, "expect.missing must be one of True, False, got 1"),
        ({"personal": "hide"}, "one of False, hash, drop, coarsen, got 'hide'"),
        ({"on": {"out_of_reach": "warn"}}, "expect.on must be one of missing_value"),
        ({"on": {"missing_value": "clip"}}, "expect.on.missing_value must be one of reject, impute, warn, ignore"),
        ({"on": ["warn"]}, "object of kinds and policies"),
        ([], "must be an object with min, max"),
    ],
)
def test_a_mistake_is_named(expect: Any, said: str) -> None:
    """With the field, what there is, and what was found."""
    with pytest.raises(InvalidSignature) as caught:
        Field("age", "FP64", (-1,), expect=expect)
    assert "'age'" in str(caught.value) and said in str(caught.value)
