"""Expectations are learnt from a reference, declared in a signature, and say nothing of any single row."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.models.signature import KINDS, Field, Signature
from serinus.monitors.errors import InvalidExpectation
from serinus.monitors.validation import DEFAULTS, SLIPS, Expectation, Expectations, slips_of

NUMBER = Field("x", "FP64", (-1,))
TEXT = Field("t", "BYTES", (-1,))


def learn(field: Field, values: Any, **options: Any) -> Expectation:
    """The expectation of one field, from a reference of one column."""
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    return Expectations.infer(Signature((field,), ()), pd.DataFrame({field.name: column}), **options).features[0]


def test_every_kind_has_a_default() -> None:
    """And it is one of the policies that the kind allows."""
    assert set(DEFAULTS) == set(KINDS)
    assert all(policy in KINDS[kind] for kind, policy in DEFAULTS.items())


def test_the_readme_s_table_is_true(checkout: Path) -> None:
    """Every kind stands there with its default, and with all that may be done otherwise."""
    text = (checkout / "monitors" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\w+)(?:; reject where declared)? \| ([\w, ]+) \|$", text, re.MULTILINE)
    assert {kind: default for kind, default, _ in rows if kind in KINDS} == DEFAULTS
    for kind, default, others in rows:
        told = {*others.split(", "), default} | ({"reject"} if kind in ("unseen_category", "text_length") else set())
        assert kind not in KINDS or told == KINDS[kind]


def test_what_is_usual_holds_the_reference() -> None:
    """And has room around it: of new rows of the same kind, fewer than one number in 10,000 is called unusual."""
    rng = np.random.default_rng(1)
    for draw in (rng.normal, lambda size: rng.uniform(5, 6, size), lambda size: rng.gamma(2, 3, size)):
        reference, fresh = draw(size=5_000), draw(size=100_000)
        low, high = learn(NUMBER, reference).usual or (0, 0)
        assert ((reference >= low) & (reference <= high)).all()
        assert ((fresh < low) | (fresh > high)).mean() < 1e-4
        assert 0 < high - low < 5 * (reference.max() - reference.min())


def test_zero_is_not_crossed() -> None:
    """Where a reference has no negative number, one is unusual; the same for positive ones."""
    values = np.random.default_rng(2).exponential(size=500)
    assert (learn(NUMBER, values).usual or (9, 9))[0] == 0
    assert (learn(NUMBER, -values).usual or (9, 9))[1] == 0


def test_no_value_of_a_row_can_be_read_out() -> None:
    """Ranges are rounded outward, typical values rounded or frequent, categories hashed."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(1234.567, 98.7654, 300), "t": rng.choice(["Bern", "Chur", "Genève"], 300)})
    frame.loc[0, "x"] = 1999.87654321
    frame.loc[1, "t"] = "Einsiedeln"
    said = Expectations.infer(Signature((NUMBER, TEXT), ()), frame, salt="s").to_bytes().decode()
    assert not [value for value in frame["x"] if repr(float(value)) in said]
    assert "Einsiedeln" not in said and "Genève" not in said.replace('"typical": "Genève"', "")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([], "no column for it"),
        ([math.nan] * 100, "0 numbers"),
        ([1.0] * 5, "5 numbers of it, too few"),
        ([None] * 100, "0 numbers"),
        ([math.inf] * 100, "0 numbers"),
        (["a", "b"] * 50, "holds no numbers"),
    ],
)
def test_a_poor_reference_says_what_cannot_be_checked(values: list[Any], what: str) -> None:
    """By name, as a sentence; nothing unusual is made up."""
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object if values and values[0] in ("a", None) else float)})
    found = Expectations.infer(Signature((NUMBER,), ()), frame)
    assert what in found.unchecked["x"]
    assert found.features[0].usual is None and found.features[0].domain is None
    assert Expectations.from_bytes(found.to_bytes()) == found


@pytest.mark.parametrize("value", [0.0, -3.0, 1e300, -1e300, 1e-300, 5e-324, 1.797e308])
def test_constant_and_huge_columns_have_a_finite_range(value: float) -> None:
    """That holds the constant, and JSON can carry."""
    for values in ([value] * 100, [value, -value] * 50, [value] * 99 + [0.0]):
        found = learn(NUMBER, values)
        low, high = found.usual or (1, 0)
        assert math.isfinite(low) and math.isfinite(high)
        assert low <= min(values) and max(values) <= high
        assert Expectation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_gaps_and_infinities_of_the_reference_may_come_again() -> None:
    """What training had, a request may have; what it never had may not, unless the signature says so."""
    numbers = [1.0, 2.0, 3.0] * 30
    assert not learn(NUMBER, numbers).missing and not learn(NUMBER, numbers).infinite
    assert learn(NUMBER, [*numbers, None]).missing
    assert learn(NUMBER, [*numbers, math.inf]).infinite
    assert learn(Field("x", "FP64", (-1,), optional=True), numbers).missing


def test_texts_are_categories_where_they_repeat() -> None:
    """Else they are texts, of which only the length is checked, and the reason stands in `unchecked`."""
    assert len(learn(TEXT, ["a", "b"] * 50).domain or ()) == 2
    found = Expectations.infer(Signature((TEXT,), ()), pd.DataFrame({"t": [f"text {i}" for i in range(100)]}))
    assert found.features[0].domain is None and found.features[0].length == (0, 14)
    assert "100 different texts" in found.unchecked["t"]


def test_a_domain_has_a_limit() -> None:
    """Of 10,000 categories; beyond it validation says that it is off."""
    many = [f"c{i}" for i in range(10_001)] * 2
    assert len(learn(TEXT, many[:10_000] * 2).domain or ()) == 10_000
    assert learn(TEXT, many).domain is None


def test_the_signature_s_categories_are_a_domain_without_a_reference() -> None:
    """Whatever their type: 1, 1.0 and True are one category."""
    found = Expectations.infer(Signature((Field("k", "INT64", (-1,), labels=(1, 2)),), ())).features[0]
    again = Expectations.infer(Signature((Field("k", "FP64", (-1,), labels=(1.0, 2.0)),), ())).features[0]
    assert len(found.domain or ()) == 2 and found.domain == again.domain


def test_what_is_declared_is_a_rule() -> None:
    """It goes before what was learnt, and what breaks it is rejected, unless the signature says otherwise."""
    expect = {"min": 0, "max": 10, "missing": True, "on": {"out_of_range": "clip"}}
    found = learn(Field("x", "FP64", (-1,), expect=expect), np.arange(100.0))
    assert (found.minimum, found.maximum, found.missing) == (0, 10, True)
    assert found.policy("out_of_range") == "clip" and found.policy("unusual_value") == "warn"
    named = learn(Field("t", "BYTES", (-1,), expect={"categories": ["a"], "length": [1, 2]}), ["a", "b"] * 50)
    assert len(named.domain or ()) == 1 and named.length == (1, 2)
    assert named.policy("unseen_category") == named.policy("text_length") == "reject"


def test_a_matrix_has_a_feature_for_each_column() -> None:
    """Named like the drift monitor's: `input[3]`."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)) + [0, 100, 10_000])
    found = Expectations.infer(Signature((Field("input", "FP32", (-1, 3)),), ()), frame)
    assert [feature.name for feature in found.features] == ["input[0]", "input[1]", "input[2]"]
    assert (found.of("input[2]").usual or (0, 0))[0] > 9_000
    with pytest.raises(InvalidExpectation, match=r"'input\[7\]'; there are input\[0\]"):
        found.of("input[7]")


def test_nothing_is_kept_of_a_personal_field() -> None:
    """No range, no typical value, no category; whether gaps may come is all."""
    frame = pd.DataFrame({"x": np.arange(100.0), "t": ["a", None] * 50})
    found = Expectations.infer(Signature((NUMBER, TEXT), ()), frame, personal={"x": "drop", "t": "hash"})
    assert found.features == (Expectation("x", personal="drop"), Expectation("t", missing=True, personal="hash"))
    assert found.personal == {"x": "drop", "t": "hash"}
    kept = Field("x", "FP64", (-1,), expect={"personal": False})
    assert learn(kept, np.arange(100.0), personal={"x": "drop"}).usual is not None


def test_the_contract_lets_through_what_is_handled_later() -> None:
    """A field whose gaps are imputed may be left out of a request; a personal one is marked for the messages."""
    fields = (Field("x", "FP64", (-1,), expect={"on": {"missing_value": "impute"}}), TEXT)
    frame = pd.DataFrame({"x": np.arange(100.0), "t": ["a"] * 100})
    found = Expectations.infer(Signature(fields, ()), frame, personal={"t": "hash"})
    contract = found.contract(Signature(fields, ()))
    assert contract.input("x").optional and not contract.input("t").optional
    assert dict(contract.input("t").expect or {}) == {"personal": "hash"}


def test_an_imputed_value_must_be_known() -> None:
    """Else the sentence says what to do."""
    field = Field("x", "FP64", (-1,), expect={"on": {"missing_value": "impute"}})
    with pytest.raises(InvalidExpectation, match="no typical value is known; register with a reference"):
        Expectations.infer(Signature((field,), ()))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("÷100", (20.0, 80.0)), ("×1000", (1_000.0, 9_000.0)), ("°F→°C", (15.0, 25.0)), ("°C→°F", (60.0, 80.0)),
        ("lb→kg", (60.0, 80.0)), ("K→°C", (-10.0, 30.0)), ("cm→in", (60.0, 75.0)), ("mi→km", (100.0, 120.0)),
    ],
)  # fmt: skip
def test_a_change_of_unit_can_be_told_where_it_moves_the_range(name: str, values: tuple[float, float]) -> None:
    """The reference's own numbers in the other unit lie where none of its numbers lies."""
    assert name in [slip for slip, _, _ in slips_of(Expectation("x", central=values))]


def test_a_range_around_zero_tells_no_factor() -> None:
    """Any far number would come back into it by some factor."""
    assert all("°" in name for name, _, _ in slips_of(Expectation("x", central=(-2.0, 2.0))))
    assert list(slips_of(Expectation("x"))) == []


def test_the_changes_of_unit_are_right() -> None:
    """Each one's inverse is in the table too, and fixed points are the published ones."""
    table = {name: (factor, shift) for name, factor, shift in SLIPS}
    for name, other in (("÷100", "×100"), ("lb→kg", "kg→lb"), ("in→cm", "cm→in"), ("°F→°C", "°C→°F"), ("K→°C", "°C→K")):
        for value in (-7.0, 0.0, 300.0):
            there = value * table[name][0] + table[name][1]
            assert there * table[other][0] + table[other][1] == pytest.approx(value, abs=1e-9)
    assert 212 * table["°F→°C"][0] + table["°F→°C"][1] == pytest.approx(100)
    assert 0 * table["K→°C"][0] + table["K→°C"][1] == -273.15


expectations = st.builds(
    Expectation,
    field=st.text(min_size=1, max_size=5),
    element=st.none() | st.integers(0, 9),
    missing=st.booleans(),
    infinite=st.booleans(),
    minimum=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    maximum=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    usual=st.none() | st.tuples(st.floats(-1e9, 0), st.floats(0, 1e9)),
    central=st.none() | st.tuples(st.floats(-1e9, 0), st.floats(0, 1e9)),
    typical=st.floats(-1e9, 1e9) | st.text(max_size=5),
    domain=st.none() | st.frozensets(st.integers(0, 2**64 - 1), max_size=4),
    length=st.none() | st.tuples(st.integers(0, 5), st.integers(5, 9)),
    personal=st.sampled_from([None, "hash", "drop", "coarsen"]),
    on=st.sampled_from([{}, {"unit_slip": "reject"}, {"missing_value": "impute", "out_of_range": "clip"}]),
)


@given(st.lists(expectations, max_size=4).map(tuple), st.text(max_size=5))
def test_json_round_trip(features: tuple[Expectation, ...], salt: str) -> None:
    """What `to_bytes` writes, `from_bytes` reads back."""
    found = Expectations(features, {"a": "b"}, salt, 7, {"predict": "drop"})
    assert Expectations.from_bytes(found.to_bytes()) == found


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "must be JSON"),
        ("[]", "format None"),
        ('{"format": 2}', "format 2, and this Serinus reads format 1"),
        ('{"format": 1}', "list of features"),
        ('{"format": 1, "features": [{}]}', "An expectation is an object with"),
        ('{"format": 1, "features": [{"field": "x", "colour": 1}]}', "An expectation is an object with"),
        ('{"format": 1, "features": [{"field": "x", "usual": [1]}]}', "'x' cannot be read"),
        ('{"format": 1, "features": [{"field": "x", "domain": "%"}]}', "'x' cannot be read"),
        ('{"format": 1, "features": [{"field": "x", "on": {"a": "b"}}]}', "on.a is 'b'"),
        ('{"format": 1, "features": [{"field": "x", "personal": "b"}]}', "personal is 'b'"),
    ],
)
def test_a_damaged_document_is_refused(document: str, said: str) -> None:
    """With a sentence."""
    with pytest.raises(InvalidExpectation) as caught:
        Expectations.from_bytes(document.encode())
    assert said in str(caught.value)
