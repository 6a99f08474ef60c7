"""A request's values are checked all at once, and the answer is that of looking at each of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.models.signature import Field, Signature
from serinus.monitors.validation import Expectation, Expectations
from serinus.monitors.validator import LISTED, Breach, Validator, Verdict

AGES = Expectation("age", minimum=0, maximum=120, usual=(18.0, 90.0), central=(20.0, 80.0), typical=41.0)
CITIES = ("Bern", "Chur", "Genève")


def validator(*features: Expectation, enforce: bool = True, shape: tuple[int, ...] = (-1,), **types: str) -> Validator:
    """Of one field for each name among the features; FP64 where no other type is named."""
    names = dict.fromkeys(feature.field for feature in features)
    fields = tuple(Field(name, types.get(name, "FP64"), shape) for name in names)
    return Validator(Expectations(features, salt="s"), Signature(fields, ()), enforce=enforce)


def verdict(checked: Validator, **arrays: Any) -> Verdict:
    found = checked.check({name: np.asarray(array) for name, array in arrays.items()})
    assert found is not None
    return found


def kinds(checked: Validator, **arrays: Any) -> dict[str, int]:
    """How many violations there are of each kind."""
    found = checked.check({name: np.asarray(array) for name, array in arrays.items()})
    return {} if found is None else dict(found.counts)


def city(**changes: Any) -> Expectation:
    """Of a text with three known categories."""
    frame = pd.DataFrame({"city": list(CITIES) * 30})
    found = Expectations.infer(Signature((Field("city", "BYTES", (-1,)),), ()), frame, salt="s").features[0]
    return Expectation(**{**{name: getattr(found, name) for name in Expectation.__dataclass_fields__}, **changes})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (18.0, None), (90.0, None), (17.9, "unusual_value"), (95.0, "unusual_value"), (0.0, "unusual_value"),
        (-0.1, "out_of_range"), (120.5, "out_of_range"), (1e300, "out_of_range"), (math.nan, "missing_value"),
        (math.inf, "infinite_value"), (-math.inf, "infinite_value"),
    ],
)  # fmt: skip
def test_a_number_is_what_it_is(value: float, kind: str | None) -> None:
    """Limits belong to the range; each value has one kind."""
    assert kinds(validator(AGES), age=[40.0, value]) == ({} if kind is None else {kind: 1})


def test_a_change_of_unit_is_named() -> None:
    """Months for years, cents for francs: a value that comes back into the reference's range, and lay far outside."""
    feature = Expectation("price", usual=(5.0, 60.0), central=(12.0, 40.0))
    found = verdict(validator(feature), price=[20.0, 2_050.0, 0.205, 68.0, 1e9])
    assert {breach.row: breach.wanted for breach in found.breaches if breach.kind == "unit_slip"} == {
        1: "5 to 60, as ÷100 would give",
        2: "5 to 60, as ×100 would give",
        3: "5 to 60, as °F→°C would give",
    }
    assert found.counts == {"unit_slip": 3, "unusual_value": 1} and not found.rejects


def test_temperatures_in_fahrenheit_are_told() -> None:
    """Of a reference in Celsius, whoever sends Fahrenheit is told so for each row."""
    rng = np.random.default_rng(4)
    celsius = rng.normal(20, 2, 1_000)
    signature = Signature((Field("t", "FP64", (-1,)),), ())
    checked = Validator(Expectations.infer(signature, pd.DataFrame({"t": celsius})), signature)
    assert checked.check({"t": celsius}) is None
    found = verdict(checked, t=celsius[:200] * 1.8 + 32)
    assert found.counts["unit_slip"] >= 170 and set(found.counts) <= {"unit_slip", "unusual_value"}
    assert "°F→°C" in found.breaches[0].wanted


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([-1.0, 0.0, 5.0, 10.0, 10.5, 1e308, math.inf])
)
ranges = st.tuples(st.floats(-20, 20), st.floats(-20, 20)).map(lambda pair: (min(pair), max(pair)))
features = st.builds(
    Expectation,
    field=st.just("x"),
    missing=st.booleans(),
    infinite=st.booleans(),
    minimum=st.none() | st.floats(-20, 0),
    maximum=st.none() | st.floats(0, 20),
    usual=st.none() | ranges,
)


def kind_of(value: float, feature: Expectation) -> str | None:
    """What is said of one number, by the definition of the kinds."""
    if math.isnan(value):
        return None if feature.missing else "missing_value"
    if math.isinf(value) and not feature.infinite:
        return "infinite_value"
    if feature.minimum is not None and value < feature.minimum:
        return "out_of_range"
    if feature.maximum is not None and value > feature.maximum:
        return "out_of_range"
    if feature.usual is not None and not feature.usual[0] <= value <= feature.usual[1]:
        return "unusual_value"
    return None


@given(st.lists(st.tuples(features, st.lists(numbers, min_size=3, max_size=3)), min_size=1, max_size=4))
@settings(max_examples=120)
def test_all_at_once_is_the_same_as_one_by_one(cases: list[tuple[Expectation, list[float]]]) -> None:
    """As columns, as one block, and as a matrix: exactly the values that break an expectation are told."""
    named = [Expectation(**{**_parts(feature), "field": f"c{place}"}) for place, (feature, _) in enumerate(cases)]
    as_matrix = [Expectation(**{**_parts(feature), "element": place}) for place, (feature, _) in enumerate(cases)]
    block = np.array([values for _, values in cases])
    wanted = {(place, row, kind) for place, (feature, values) in enumerate(cases)
              for row, value in enumerate(values) if (kind := kind_of(value, feature))}  # fmt: skip
    columns = {f"c{place}": block[place] for place in range(len(cases))}
    for found in (validator(*named).check(columns), validator(*named).check(columns, block)):
        breaches = () if found is None else found.breaches
        assert {(int(one.field[1:]), one.row, one.kind) for one in breaches} == wanted
    for row in range(3):
        found = validator(*named).check({name: array[row : row + 1] for name, array in columns.items()})
        breaches = () if found is None else found.breaches
        assert {(int(one.field[1:]), row, one.kind) for one in breaches} == {each for each in wanted if each[1] == row}
    matrix = validator(*as_matrix, shape=(-1, len(cases))).check({"x": block.T})
    assert {(one.element, one.row, one.kind) for one in (matrix.breaches if matrix else ())} == wanted


def _parts(feature: Expectation) -> dict[str, Any]:
    return {name: getattr(feature, name) for name in Expectation.__dataclass_fields__}


def test_a_matrix_may_have_expectations_of_some_columns_only() -> None:
    """In any order: the others may be anything."""
    checked = validator(Expectation("x", 2, maximum=1.0), Expectation("x", 0, minimum=0.0), shape=(-1, 4))
    assert checked.check({"x": np.array([[0.0, math.nan, 1.0, math.inf]])}) is None
    found = verdict(checked, x=[[-1.0, 9.0, 2.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    assert {(one.element, one.row) for one in found.breaches} == {(0, 0), (2, 0)}


def test_a_tensor_has_one_range_for_all_its_values() -> None:
    """Its rows and values are counted through; NaN, infinity and range as everywhere."""
    checked = validator(Expectation("image", usual=(0.0, 1.0)), shape=(-1, 3, 2, 2))
    image = np.random.default_rng(0).random((2, 3, 2, 2))
    assert checked.check({"image": image}) is None
    image[0, 0, 0, 1], image[1, 2, 1, 1] = 255.0, math.nan
    found = verdict(checked, image=image)
    assert [(one.kind, one.row) for one in found.breaches] == [("missing_value", 23), ("unusual_value", 1)]


def test_categories_and_lengths() -> None:
    """Known ones pass, the first time and every time; gaps are violations where none may come."""
    checked = validator(city(length=(2, 5)), city="BYTES")
    for _ in range(2):
        assert checked.check({"city": np.array(["Bern", "Chur"], dtype=object)}) is None
    found = verdict(checked, city=np.array(["Bern", "Bex", None, "Genève"], dtype=object))
    assert found.counts == {"unseen_category": 1, "missing_value": 1, "text_length": 1}
    assert Breach("city", 1, None, "unseen_category", "one of 3 known values", "Bex", "warn", "kept") in found.breaches


def test_a_gap_may_come_where_training_had_one() -> None:
    """As None or NaN among objects, or as a column that is left out."""
    checked = validator(city(missing=True), city="BYTES")
    assert checked.check({"city": np.array([None, math.nan, "Bern"], dtype=object)}) is None
    assert checked.check({}) is None
    assert kinds(validator(city(), AGES, city="BYTES"), age=[40.0]) == {"missing_value": 1}


def test_numbers_can_be_categories() -> None:
    """A field with labels has a domain whatever its type."""
    signature = Signature((Field("k", "INT64", (-1,), labels=(1, 2)),), ())
    checked = Validator(Expectations.infer(signature, salt="s"), signature)
    assert checked.check({"k": np.array([1, 2, 2])}) is None
    assert verdict(checked, k=np.array([1, 3])).counts == {"unseen_category": 1}


POLICIES = [
    ("out_of_range", "clip", -5.0, 0.0, "clipped to 0 … 120"),
    ("out_of_range", "impute", 500.0, 41.0, "imputed 41"),
    ("unusual_value", "clip", 95.0, 95.0, "clipped to 0 … 120"),
    ("missing_value", "impute", math.nan, 41.0, "imputed 41"),
    ("infinite_value", "clip", math.inf, 120.0, "clipped to 0 … 120"),
    ("unit_slip", "impute", 4.1, 41.0, "imputed 41"),
    ("unusual_value", "warn", 95.0, 95.0, "kept"),
]


@pytest.mark.parametrize(("kind", "policy", "value", "seen", "done"), POLICIES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_policy_is_done_and_told(kind: str, policy: str, value: float, seen: float, done: str, dtype: Any) -> None:
    """The model sees a copy with the new value; the caller's array stays, and so do the other columns' objects."""
    feature = Expectation(**{**_parts(AGES), "on": {kind: policy}})
    arrays = {"age": np.array([40.0, value], dtype), "other": np.array([1.0, 2.0])}
    found = validator(feature, Expectation("other")).check(arrays)
    assert found is not None and not found.rejects and found.counts == {kind: 1}
    assert found.inputs["age"].tolist() == [40.0, seen] and found.inputs["age"].dtype == dtype
    assert found.breaches[0].done == done
    np.testing.assert_array_equal(arrays["age"], np.array([40.0, value], dtype))
    assert found.inputs["other"] is arrays["other"] and list(found.inputs) == ["age", "other"]


def test_policies_on_whole_numbers_texts_and_matrices() -> None:
    """Integers stay integers, texts are cut, a matrix is changed in the one cell."""
    whole = Expectation("n", minimum=0.5, maximum=9.5, typical=4.0, on={"out_of_range": "clip"})
    assert verdict(validator(whole, n="INT64"), n=np.array([-3, 5, 99])).inputs["n"].tolist() == [1, 5, 9]
    small = verdict(validator(whole, n="UINT8"), n=np.array([0, 255], np.uint8)).inputs["n"]
    assert small.tolist() == [1, 9] and small.dtype == np.uint8
    cut = Expectation("t", infinite=True, length=(0, 3), on={"text_length": "clip"})
    texts = verdict(validator(cut, t="BYTES"), t=np.array(["abcdef", "ab"], object)).inputs["t"]
    assert texts.tolist() == ["abc", "ab"]
    mode = city(on={"unseen_category": "impute"}, typical="Chur")
    assert verdict(validator(mode, city="BYTES"), city=np.array(["Bex"], object)).inputs["city"].tolist() == ["Chur"]
    cells = [Expectation("x", place, maximum=1.0, on={"out_of_range": "clip"}) for place in range(2)]
    matrix = np.array([[0.5, 7.0], [9.0, 0.1]])
    found = verdict(validator(*cells, shape=(-1, 2)), x=matrix)
    assert found.inputs["x"].tolist() == [[0.5, 1.0], [1.0, 0.1]] and matrix[0, 1] == 7.0


def test_a_column_that_was_left_out_is_imputed() -> None:
    """In its type and its place."""
    feature = Expectation("a", typical=3.0, on={"missing_value": "impute"})
    found = verdict(validator(feature, Expectation("b"), a="INT64"), b=[1.0, 2.0])
    assert list(found.inputs) == ["a", "b"] and found.inputs["a"].tolist() == [3, 3]
    assert found.inputs["a"].dtype == np.int64 and found.counts == {"missing_value": 2}


def test_ignored_kinds_are_not_told() -> None:
    """Nor counted."""
    assert kinds(validator(Expectation("x", usual=(0.0, 1.0), on={"unusual_value": "ignore"})), x=[5.0]) == {}


def test_without_enforcement_everything_is_a_remark() -> None:
    """Nothing is changed or rejected, and everything is told."""
    feature = Expectation(**{**_parts(AGES), "on": {"out_of_range": "clip"}})
    arrays = {"age": np.array([-5.0, math.nan])}
    found = validator(feature, enforce=False).check(arrays)
    assert found is not None and not found.rejects and found.inputs["age"] is arrays["age"]
    assert [(one.policy, one.done) for one in found.breaches] == [("warn", "kept")] * 2


def test_what_rejects_is_told_first() -> None:
    """However many remarks there are; at most 100 are listed, and all are counted."""
    values = np.full(5_000, 95.0)
    values[4_999] = -1.0
    found = verdict(validator(AGES), age=values)
    assert found.rejects and len(found.breaches) == LISTED
    assert (found.breaches[0].kind, found.breaches[0].row) == ("out_of_range", 4_999)
    assert found.counts == {"unusual_value": 4_999, "out_of_range": 1}


def test_no_personal_value_is_told() -> None:
    """Neither the value nor what it was clipped to or should have been."""
    feature = Expectation(**{**_parts(AGES), "personal": "hash", "on": {"out_of_range": "clip"}})
    name = city(personal="drop")
    found = verdict(validator(feature, name, city="BYTES"), age=[777.25], city=np.array(["Ana"], object))
    text = str(found.breaches)
    assert "777" not in text and "Ana" not in text and "120" not in text
    assert [one.got for one in found.breaches] == ["a value that is personal"] * 2


def test_hostile_requests_have_a_clear_verdict() -> None:
    """Thousands of unseen categories, 2,000 columns, huge numbers, all missing: what is kept does not grow."""
    checked = validator(city(), city="BYTES")
    unseen = np.array([f"city {i}" for i in range(10_000)], dtype=object)
    for _ in range(3):
        assert verdict(checked, city=unseen).counts == {"unseen_category": 10_000}
    assert len(checked._others[0]._known) <= len(CITIES)  # type: ignore[union-attr]
    names = [f"c{i}" for i in range(2_000)]
    wide = validator(*(Expectation(name, usual=(-9.0, 9.0)) for name in names))
    assert wide.check({name: np.zeros(2) for name in names}) is None
    for value in (1e300, math.nan, -math.inf):
        found = wide.check({name: np.full(2, value) for name in names})
        assert found is not None and sum(found.counts.values()) == 4_000 and len(found.breaches) == LISTED
    assert wide.check({name: np.empty(0) for name in names}) is None


def test_values_of_another_type_do_no_harm() -> None:
    """A signature with any shape, objects where numbers should be, a matrix of another width."""
    assert kinds(validator(Expectation("x")), x=np.array([None, 1.0], dtype=object)) == {"missing_value": 1}
    assert kinds(validator(Expectation("x", 0, usual=(0.0, 1.0)), shape=(-1, 1, 1)), x=np.zeros((2, 2))) == {}
    assert kinds(validator(Expectation("x", usual=(0.0, 1.0)), shape=()), x=np.array(7.0)) == {"unusual_value": 1}
    assert Validator(Expectations((Expectation("gone", minimum=0),)), Signature((), ())).check({}) is None
