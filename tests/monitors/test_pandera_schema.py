"""Expectations become a pandera schema and come back; a schema that a person wrote is read by its checks."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from serinus.models.signature import Field, Signature
from serinus.monitors.errors import InvalidExpectation
from serinus.monitors.pandera_schema import from_pandera, from_yaml, to_pandera, to_yaml
from serinus.monitors.validation import Expectations
from serinus.monitors.validator import Validator

SIGNATURE = Signature(
    (
        Field("age", "INT64", (-1,), expect={"min": 0, "max": 120, "on": {"out_of_range": "clip"}}),
        Field("income", "FP64", (-1,), optional=True),
        Field("city", "BYTES", (-1,), expect={"categories": ["Bern", "Chur"]}),
        Field("kind", "INT64", (-1,), labels=(1, 2)),
        Field("note", "BYTES", (-1,), optional=True),
        Field("who", "BYTES", (-1,), labels=("p1@example.org", "p2@example.org")),
    ),
    (Field("predict", "FP64", (-1,), expect={"personal": "drop"}),),
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, 500),
            "income": np.where(rng.random(500) < 0.1, np.nan, rng.normal(5e4, 1e4, 500)),
            "city": rng.choice(["Bern", "Chur"], 500),
            "kind": rng.choice([1, 2], 500),
            "note": [f"text {i} of words" for i in range(500)],
            "who": [f"p{i}@example.org" for i in range(500)],
        }
    )


@pytest.fixture(scope="module")
def learnt(frame: pd.DataFrame) -> Expectations:
    return Expectations.infer(SIGNATURE, frame, salt="s", personal={"who": "hash"})


def test_nothing_is_lost_on_the_way_there_and_back(learnt: Expectations) -> None:
    """As an object and as YAML."""
    assert from_pandera(to_pandera(learnt, SIGNATURE)) == learnt
    assert from_yaml(to_yaml(learnt, SIGNATURE)) == learnt


def test_categories_of_personal_fields_are_not_written(learnt: Expectations) -> None:
    """Though the signature lists them."""
    assert "example.org" not in to_yaml(learnt, SIGNATURE)


def test_a_matrix_comes_back_too() -> None:
    """Its columns are named like the features."""
    signature = Signature((Field("input", "FP32", (-1, 3)),), ())
    learnt = Expectations.infer(signature, pd.DataFrame(np.random.default_rng(1).normal(size=(100, 3))))
    assert list(to_pandera(learnt, signature).columns) == ["input[0]", "input[1]", "input[2]"]
    assert from_yaml(to_yaml(learnt, signature)) == learnt


def broken(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    return frame.assign(**{column: [value, *frame[column].tolist()[1:]]})


def test_pandera_refuses_what_the_validator_rejects(frame: pd.DataFrame, learnt: Expectations) -> None:
    """And warns of what it only remarks upon."""
    schema, checked = to_pandera(learnt, SIGNATURE), Validator(learnt, SIGNATURE)
    assert len(schema.validate(frame)) == len(frame)
    for column, value, rejects in (("city", "Bex", True), ("income", 9e9, False), ("note", "x" * 99, False),
                                   ("kind", 7, False), ("age", 500, False)):  # fmt: skip
        bad = broken(frame, column, value)
        found = checked.check({name: bad[name].to_numpy() for name in bad})
        assert found is not None and found.rejects == rejects
        if rejects:
            with pytest.raises(pa.errors.SchemaError):
                schema.validate(bad)
        else:
            with pytest.warns(pa.errors.SchemaWarning):
                schema.validate(bad)


def test_a_schema_of_a_person_is_read_by_its_checks() -> None:
    """Checks are rules, those that only warn are remarks, and those that cannot be told are named."""
    schema = pa.DataFrameSchema(
        {
            "a": pa.Column(float, [pa.Check.ge(0), pa.Check.lt(10)]),
            "b": pa.Column(float, pa.Check.in_range(0, 1, raise_warning=True), nullable=True),
            "c": pa.Column(str, [pa.Check.isin(["x", "y"]), pa.Check.str_length(1, 3)]),
            "d": pa.Column(float, [pa.Check(lambda values: values > 0, name="positive"), pa.Check.str_length(1)]),
            "e": pa.Column(int, pa.Check.le(5, raise_warning=True)),
        }
    )
    found = from_pandera(schema)
    a, b, c, e = (found.of(name) for name in "abce")
    assert a.minimum == 0 and 9.99 < (a.maximum or 0) < 10 and not a.missing and a.policy("out_of_range") == "reject"
    assert b.missing and b.usual == (0.0, 1.0) and b.minimum is None
    assert len(c.domain or ()) == 2 and c.length == (1, 3) and c.policy("unseen_category") == "reject"
    assert e.maximum == 5 and e.policy("out_of_range") == "warn"
    assert found.unchecked == {"d": "the checks positive, str_length of its pandera schema cannot be made per request"}


def test_a_changed_check_goes_before_what_was_kept(learnt: Expectations) -> None:
    """A person who edits the exported range means it."""
    text = to_yaml(learnt, SIGNATURE).replace("max_value: 120\n", "max_value: 99\n")
    found = from_yaml(text).of("age")
    assert (found.maximum, found.policy("out_of_range")) == (99, "clip")
    assert found.usual == learnt.of("age").usual


@pytest.mark.parametrize("text", ["", "a: [", "[]", "columns: 3", "schema_type: dataframe\ncolumns:\n  a: 7\n"])
def test_what_is_no_schema_is_refused(text: str) -> None:
    """With a sentence."""
    with warnings.catch_warnings(), pytest.raises(InvalidExpectation, match="This is no pandera schema"):
        warnings.simplefilter("ignore")
        from_yaml(text)


def test_a_damaged_note_is_refused(learnt: Expectations) -> None:
    """Half a document is none."""
    schema = to_pandera(learnt, SIGNATURE)
    schema.columns["age"].description = 'serinus: {"field": '
    with pytest.raises(InvalidExpectation, match="must hold a JSON object"):
        from_pandera(schema)


def test_without_pandera_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, learnt: Expectations) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "pandera.pandas", None)
    with pytest.raises(InvalidExpectation, match=r"serinus\[pandera\]"):
        to_pandera(learnt, SIGNATURE)
