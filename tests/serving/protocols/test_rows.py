"""Rows: what it accepts, what it refuses and how it says so, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.models import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, Overloaded, RequestError, Violation
from serinus.serving.inputs import validate
from serinus.serving.protocols.rows import Rows
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings
from tests.serving.protocols.hostile import MIXED, NUMBERS, TENSOR, accept, mutated, values

PROTOCOL = Rows()
ANA = {"city": "Bern", "age": 40.5, "visits": 1, "member": True}
BOB = {"city": "Lyon", "age": None, "visits": 2, "member": False}
VALID: dict[str, Any] = {"id": "q1", "routing_key": "ana", "rows": [ANA, BOB]}
LISTS = {"rows": [[[1, 2, 3], [4, 5, 6.5]], [[0, 0, 0], [0, 0, 1]]]}
DEEP = b"[" * 1000 + b"]" * 1000


def parse(document: Any, signature: Signature = MIXED, max_rows: int = 50) -> InferenceRequest:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return validate(PROTOCOL.parse(body, {}, signature), signature, max_rows)


def column(datatype: str, *, optional: bool = False) -> Signature:
    return Signature((Field("x", datatype, (-1,), optional=optional),), ())


def rows(*cells: Any) -> dict[str, Any]:
    return {"rows": [{"x": cell} for cell in cells]}


# What is accepted


def test_a_request_in_full() -> None:
    """Columns in the signature's order and types, null as missing, id and routing key."""
    request = parse(VALID)
    assert list(request.inputs) == ["city", "age", "visits", "member"]
    assert request.inputs["city"].tolist() == ["Bern", "Lyon"]
    assert request.inputs["age"][0] == 40.5 and np.isnan(request.inputs["age"][1])
    assert (request.inputs["visits"].dtype, request.inputs["visits"].tolist()) == (np.int64, [1, 2])
    assert (request.inputs["member"].dtype, request.inputs["member"].tolist()) == (bool, [True, False])
    assert (request.rows, request.request_id, request.routing_key, request.violations) == (2, "q1", "ana", ())


def test_an_optional_field_may_be_absent() -> None:
    """In one row, or in all of them."""
    without = {name: value for name, value in ANA.items() if name != "age"}
    assert np.isnan(parse({"rows": [ANA, without]}).inputs["age"]).tolist() == [False, True]
    assert np.isnan(parse({"rows": [without]}).inputs["age"]).tolist() == [True]


def test_an_optional_integer_may_be_absent_from_all_rows() -> None:
    """It cannot be NaN, so the model is given no such column."""
    signature = Signature((Field("n", "INT64", (-1,), optional=True), Field("x", "FP64", (-1,))), ())
    assert list(parse({"rows": [{"x": 1}, {"x": 2, "n": None}]}, signature).inputs) == ["x"]


def test_rows_may_be_lists_for_a_tensor() -> None:
    """Where the model takes one input that is no column."""
    request = parse(LISTS, TENSOR)
    assert (request.rows, request.inputs["image"].shape) == (2, (2, 2, 3))


def test_an_unknown_field_is_remarked_and_ignored() -> None:
    """A caller may send its whole row; the answer says what was not used."""
    request = parse({"rows": [ANA | {"shoe": 42}]})
    assert "shoe" not in request.inputs
    assert request.violations == (Violation("$.rows[*].shoe", "unexpected_field", "absent", "ignored"),)


def test_an_extra_field_is_noticed_in_whatever_row_it_stands() -> None:
    """Also where a row that lacks an optional field has as many as it should."""
    without = {name: value for name, value in ANA.items() if name != "age"}
    request = parse({"rows": [ANA, without | {"shoe": 42}]})
    assert [violation.path for violation in request.violations] == ["$.rows[*].shoe"]


def test_extra_fields_are_refused_on_demand() -> None:
    """In rows, columns and files alike, with each name."""
    strict = Rows(LimitSettings(extra_columns="refuse"))
    bodies: list[tuple[bytes, str]] = [
        (orjson.dumps({"rows": [{"x": 1, "shoe": 42}]}), "application/json"),
        (orjson.dumps({"columns": {"shoe": [42], "x": [1]}}), "application/json"),
        (b"shoe,x\n42,1\n", "text/csv"),
    ]
    for body, kind in bodies:
        with pytest.raises(InvalidInput, match="Column 'shoe' unknown: the model wants 'x'") as caught:
            strict.parse(body, {b"content-type": kind.encode()}, column("FP64"))
        assert [violation.kind for violation in caught.value.violations] == ["unexpected_field"]


def test_many_extra_fields_are_not_all_told() -> None:
    """A caller cannot make an answer long."""
    names = {f"{number}{'x' * 1000}": 1 for number in range(1000)}
    assert len(parse({"rows": [{"x": 1} | names]}, column("FP64")).violations) == 50
    assert len(str(parse({"rows": [{"x": 1} | names]}, column("FP64")).violations)) < 10_000


def test_columns_say_the_same_as_rows() -> None:
    """With one list per column."""
    columns = {name: [ANA[name], BOB[name]] for name in ("member", "visits", "age", "city", "shoe") if name in ANA}
    request = parse({"id": "q1", "routing_key": "ana", "columns": columns | {"shoe": [1, 2]}})
    same = parse(VALID)
    assert [(name, array.tolist()) for name, array in request.inputs.items() if name != "age"] == [
        (name, array.tolist()) for name, array in same.inputs.items() if name != "age"
    ]
    assert np.array_equal(request.inputs["age"], same.inputs["age"], equal_nan=True)
    assert (request.rows, request.request_id, request.routing_key) == (2, "q1", "ana")
    assert [violation.path for violation in request.violations] == ["$.columns.shoe"]


def test_doubles_are_read_at_once_and_the_same() -> None:
    """The short way for plain doubles gives what the long way gives, gaps and huge numbers included."""
    signature = Signature((Field("a", "FP64", (-1,), optional=True), Field("b", "FP64", (-1,))), ())
    plain = parse({"rows": [{"a": 1, "b": 2.5}, {"b": -0.0, "a": 1e308}]}, signature)
    long = parse({"rows": [{"a": 1, "b": 2.5}, {"b": -0.0, "a": 1e308}], "id": "true"}, signature)
    for request in (plain, long):
        assert [(array.dtype.name, array.tolist()) for array in request.inputs.values()] == [
            ("float64", [1.0, 1e308]),
            ("float64", [2.5, -0.0]),
        ]
    gap = parse({"rows": [{"b": 2.5}, {"b": 1, "a": "NaN"}]}, signature)
    assert np.isnan(gap.inputs["a"]).all() and gap.inputs["b"].tolist() == [2.5, 1]


WHOLE = Signature(
    (Field("image", "FP32", (2, 2)), Field("scale", "FP64", ()), Field("steps", "INT64", (-1,), sequence=True)),
    (Field("y", "FP32", (3,)),),
)


@pytest.mark.parametrize(
    "document",
    [
        {"rows": [{"scale": 2.5, "image": [[1, 2], [3, 4]], "steps[1]": [3], "steps[0]": [1, 2]}]},
        {"rows": [{"scale": 2.5, "image": [[1, 2], [3, 4]], "steps": [[1, 2], [3]]}]},
        {"columns": {"scale": 2.5, "image": [[1, 2], [3, 4]], "steps[0]": [1, 2], "steps[1]": [3]}},
        {"columns": {"scale": 2.5, "image": [[1, 2], [3, 4]], "steps": [[1, 2], [3]]}},
    ],
)
def test_whole_tensors_come_in_one_row(document: Any) -> None:
    """Inputs that are not made of rows, scalars and sequences among them."""
    request = parse(document, WHOLE)
    assert {name: array.tolist() for name, array in request.inputs.items()} == {
        "image": [[1, 2], [3, 4]],
        "scale": 2.5,
        "steps[0]": [1, 2],
        "steps[1]": [3],
    }
    assert (request.rows, request.violations) == (1, ())


def test_a_model_of_whole_tensors_takes_no_second_row() -> None:
    """It would not be answered."""
    row = {"scale": 2.5, "image": [[1, 2], [3, 4]]}
    with pytest.raises(InvalidInput, match="expected one row, since the model takes whole tensors, got 2 rows"):
        parse({"rows": [row, row]}, WHOLE)


def test_a_whole_tensor_beside_rows_is_the_same_in_every_row() -> None:
    """Or stands in the first one alone."""
    signature = Signature((Field("x", "FP64", (-1,)), Field("scale", "FP64", ())), (Field("y", "FP64", (-1,)),))
    for second in ({"x": 2}, {"x": 2, "scale": 3}):
        request = parse({"rows": [{"x": 1, "scale": 3}, second]}, signature)
        assert (request.inputs["x"].tolist(), request.inputs["scale"].tolist(), request.rows) == ([1, 2], 3, 2)
    with pytest.raises(InvalidInput, match=r"'scale' at \$\.rows\[1\]: expected the same tensor as in \$\.rows\[0\]"):
        parse({"rows": [{"x": 1, "scale": 3}, {"x": 2, "scale": 4}]}, signature)


def test_a_model_without_inputs_takes_an_empty_row() -> None:
    """A row is what asks for an answer."""
    assert parse({"rows": [{}]}, Signature((), (Field("y", "FP64", (1,)),))).rows == 1


@pytest.mark.parametrize(("key", "text"), [("ana", "ana"), (17, "17"), (1.5, "1.5"), (True, "True"), (None, None)])
def test_a_routing_key_is_text(key: Any, text: str | None) -> None:
    """A number serves too."""
    assert parse(VALID | {"routing_key": key}).routing_key == text


# What is refused

REFUSED: dict[str, tuple[Any, Signature, str]] = {
    "bad JSON": (b'{"rows": [', MIXED, r"The body is not JSON: .* Send \{.rows"),
    "a NaN literal": (b'{"rows": [{"x": NaN}]}', column("FP64"), "The body is not JSON"),
    "not UTF-8": (b'{"rows": "\xff"}', MIXED, "The body is not JSON"),
    "no object": ([ANA], MIXED, "expected a JSON object, got a list"),
    "no rows member": ({"row": [ANA]}, MIXED, 'The body has no list "rows"'),
    "rows not a list": ({"rows": ANA}, MIXED, 'The body has no list "rows"'),
    "rows and columns": ({"rows": [ANA], "columns": {}}, MIXED, "not both"),
    "columns not an object": ({"columns": [1]}, MIXED, 'The body has no list "rows"'),
    "columns of unequal length": (
        {"columns": {"a": [1, 2], "n": [1], "b": [1, 2]}},
        NUMBERS,
        "Input 'n' has 1 rows, the inputs before it 2",
    ),
    "a column that is missing": ({"columns": {"a": [1]}}, NUMBERS, "Input 'n' missing"),
    "a column that is no list": ({"columns": {"a": 1, "n": [1]}}, NUMBERS, r"\$\.columns\.a: expected shape \[-1\]"),
    "a bad value in a column": ({"columns": {"x": [1, "n/a"]}}, column("FP64"), r"\$\.columns\.x\[1\]: .* 'n/a'"),
    "no values in a column": ({"columns": {"x": []}}, column("FP64"), "has no rows"),
    "empty rows": ({"rows": []}, MIXED, r"\$\.rows is empty. Send at least one row"),
    "a row that is a number": ({"rows": [1]}, MIXED, r"\$\.rows\[0\]: expected an object .* got int 1"),
    "a row that is null": ({"rows": [ANA, None]}, MIXED, r"\$\.rows\[1\]: expected the same form .* got null"),
    "a row of another form": ({"rows": [ANA, [1]]}, MIXED, r"\$\.rows\[1\]: expected the same form .* got a list"),
    "lists for a table": ({"rows": [["Bern", 1]]}, MIXED, r"\$\.rows\[0\]: expected an object .* got a list"),
    "a missing field": (
        {"rows": [ANA, {"city": "Bern"}]},
        MIXED,
        r"Field 'visits' at \$\.rows\[1\]: expected INT64, got no",
    ),
    "a string for a number": (rows(1, "n/a"), column("FP64"), r"\$\.rows\[1\]\.x: expected FP64, got string 'n/a'"),
    "a number in a string": (rows("1"), column("INT64"), "expected INT64, got string '1'"),
    "a fraction for an integer": (rows(1, 2.5), column("INT64"), "expected INT64, got float 2.5"),
    "a boolean for a number": (rows(1.5, True), column("FP64"), "expected FP64, got bool True"),
    "a boolean for an integer": (rows(1, True), column("INT64"), "expected INT64, got bool True"),
    "a number for a boolean": (rows(True, 0), column("BOOL"), "expected BOOL, got int 0"),
    "a number for a text": (rows("a", 1), column("BYTES"), r"\$\.rows\[1\]\.x: expected a string, got int 1"),
    "an object for a text": (rows({}), column("BYTES"), "expected a string, got an object"),
    "an object for a number": (rows({"a": 1}), column("FP64"), "expected FP64, got an object"),
    "a list for a number": (rows([1, 2]), column("FP64"), r"expected shape \[-1\], got shape \[1, 2\]"),
    "an empty list": (rows([], []), column("FP64"), r"expected shape \[-1\], got shape \[2, 0\]"),
    "lists of unequal length": (rows([1], [1, 2]), column("FP64"), "expected values of one shape"),
    "an integer too large": (rows(2**40), column("INT32"), "INT32 from -2147483648 to 2147483647, got 1099511627776"),
    "a negative for unsigned": (rows(-1, 5), column("UINT64"), "UINT64 from 0 to 18446744073709551615, got -1"),
    "a huge integer": (b'{"rows": [{"x": 1' + b"0" * 400 + b"}]}", column("FP64"), "The body is not JSON"),
    "a float too large": (rows(1e300), column("FP32"), "expected FP32 up to"),
    "null in a required field": (
        rows(1, None),
        column("FP64"),
        r"rows\[1\]\.x: expected FP64, got null\. Declare it opt",
    ),
    "null in a required text": (rows(None), column("BYTES"), "expected a string, got null"),
    "null in an optional integer": (rows(1, None), column("INT64", optional=True), "expected INT64, got null"),
    "too many rows": (rows(*range(51)), column("FP64"), "The request has 51 rows, the limit is 50"),
    "ragged lists for a tensor": ({"rows": [[1, 2], [3]]}, TENSOR, "expected values of one shape"),
    "another tensor": ({"rows": [[1, 2, 3]]}, TENSOR, r"expected shape \[-1, 2, 3\], got shape \[1, 3\]"),
    "empty lists": ({"rows": [[]]}, TENSOR, "got shape"),
    "a key that is an object": (VALID | {"routing_key": {}}, MIXED, r"\$\.routing_key: expected .* got an object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_refused_in_one_sentence(case: str) -> None:
    """As problem details: 400 for a body, 422 for its values, 413 for too many."""
    document, signature, sentence = REFUSED[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(document, signature)
    error = caught.value
    answer = PROTOCOL.error(error, "r1")
    assert answer.status == {"invalid_request": 400, "invalid_input": 422, "too_large": 413}[error.kind]
    assert answer.content_type == b"application/problem+json"
    problem = orjson.loads(answer.body)
    assert (problem["status"], problem["detail"], problem["request_id"]) == (answer.status, str(error), "r1")
    assert problem["title"] and problem["type"] == "about:blank"


@pytest.mark.parametrize(
    "where",
    [
        '{"rows":%s}',
        '{"rows":[%s]}',
        '{"rows":[{"x":1},%s]}',
        '{"rows":[{"x":%s}]}',
        '{"rows":[{"x":1}],"routing_key":%s}',
    ],
)
@pytest.mark.parametrize("datatype", ["FP64", "BYTES"])
@pytest.mark.parametrize("inner", [DEEP, b'{"x":' * 900 + b"1" + b"}" * 900, b"[" * 1_000_000])
def test_deep_nesting_is_refused(where: str, datatype: str, inner: bytes) -> None:
    """Nobody gets a recursion error for it, nor a long echo."""
    with pytest.raises(RequestError) as caught:
        parse(where.encode().replace(b"%s", inner), column(datatype))
    assert len(str(caught.value)) < 400


def test_a_long_string_among_many_numbers_costs_nothing() -> None:
    """numpy would make every element as long as the longest: here 40 GB."""
    with pytest.raises(InvalidInput, match=r"\$\.rows\[10000\]\.x: expected FP64, got string 'xxx") as caught:
        parse(rows(*[1] * 10_000, "x" * 1_000_000), column("FP64"), max_rows=10**6)
    assert len(str(caught.value)) < 300


@given(values)
def test_whatever_is_sent_is_refused_or_understood(document: Any) -> None:
    """Any JSON value, against three signatures."""
    for signature in (MIXED, NUMBERS, TENSOR):
        accept(PROTOCOL, json.dumps(document).encode(), signature)


@given(mutated([VALID]))
def test_a_table_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """One to three things changed in a valid request of mixed columns."""
    accept(PROTOCOL, body, MIXED)


@given(mutated([{"columns": {name: [ANA[name], BOB[name]] for name in ANA}}]))
def test_columns_with_a_fault_are_refused_or_understood(body: bytes) -> None:
    """The same of columns."""
    accept(PROTOCOL, body, MIXED)


@given(mutated([{"rows": [{"scale": 2.5, "image": [[1, 2], [3, 4]], "steps": [[1, 2], [3]]}]}, LISTS]))
def test_whole_tensors_with_a_fault_are_refused_or_understood(body: bytes) -> None:
    """The same of a model that takes no rows."""
    try:
        parse(body, WHOLE)
    except RequestError as error:
        assert len(str(error)) < 600


@given(mutated([LISTS]))
def test_a_tensor_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """The same of rows that are lists."""
    accept(PROTOCOL, body, TENSOR)


@given(st.binary(max_size=10))
def test_any_bytes_are_refused(body: bytes) -> None:
    """No request is that short."""
    assert accept(PROTOCOL, body, MIXED) is None


def test_the_valid_documents_are_valid() -> None:
    """Else their mutations would prove little."""
    assert accept(PROTOCOL, orjson.dumps(VALID), MIXED) is not None
    assert accept(PROTOCOL, orjson.dumps(LISTS), TENSOR) is not None


# What is answered


def test_an_answer_in_full() -> None:
    """One object per row with every output, the ids, who answered, and what was remarked."""
    remark = Violation("$.rows[*].shoe", "unexpected_field", "absent", "ignored")
    request = InferenceRequest({}, 2, violations=(remark,))
    outputs = {
        "predict": np.array(["yes", None], dtype=object),
        "predict_proba": np.array([[0.25, 0.75], [1, np.nan]]),
        "count": np.array([1, 2]),
        "flag": np.array([True, False]),
    }
    body = PROTOCOL.render(Answer(request, outputs, "wine", "3", "candidate", "r1", "0190-uuid")).body
    assert orjson.loads(body) == {
        "predictions": [
            {"predict": "yes", "predict_proba": [0.25, 0.75], "count": 1, "flag": True},
            {"predict": None, "predict_proba": [1, "NaN"], "count": 2, "flag": False},
        ],
        "model": "wine",
        "version": "3",
        "role": "candidate",
        "request_id": "r1",
        "prediction_ids": ["0190-uuid-0", "0190-uuid-1"],
        "violations": [remark.as_json()],
    }


def answered(request: InferenceRequest, outputs: dict[str, Any]) -> Any:
    rendered = PROTOCOL.render(Answer(request, outputs, "m", "1", "stable", "r", "u"))
    return orjson.loads(rendered.body)["predictions"] if b"json" in rendered.content_type else rendered.body


def test_outputs_that_are_not_one_per_row_are_given_whole() -> None:
    """As one object, always for such a model, and for another one where its answer turns out so."""
    whole = parse({"rows": [{"scale": 1, "image": [[1, 2], [3, 4]]}]}, WHOLE)
    one = np.array([[0.5, 1]], np.float32)
    assert answered(whole, {"y": one, "loss": np.array(2.5)}) == [{"y": [[0.5, 1]], "loss": 2.5}]
    assert answered(parse({"rows": [ANA]}), {"y": one}) == [{"y": [0.5, 1]}]
    assert answered(parse({"rows": [ANA, BOB]}), {"y": one, "t": np.array(["a"], object)}) == [
        {"y": [[0.5, 1]], "t": ["a"]}
    ]


def test_memory_of_any_order_is_rendered() -> None:
    """Columns of a matrix, say."""
    array = np.arange(12.0).reshape(4, 3).T
    assert answered(parse(LISTS, TENSOR)._replace(rows=3), {"y": array}) == [{"y": row.tolist()} for row in array]
    assert answered(parse(LISTS, TENSOR)._replace(rows=4), {"y": np.arange(8.0)[::2]})[3] == {"y": 6.0}


def test_csv_is_answered_in_kind() -> None:
    """To CSV that asks for it: a line per row, with its prediction id; JSON else."""
    outputs = {
        "predict": np.array(["a, b", 'c"'], object),
        "proba": np.array([[0.1, 0.9], [np.nan, 1]], np.float32),
        "n": np.array([1, 2]),
    }
    headers = {b"content-type": b"text/csv; charset=utf-8", b"accept": b"application/json;q=0.1, Text/CSV;q=0.5"}
    request = PROTOCOL.parse(b"x\n1\n2\n", headers, column("FP64"))
    assert answered(request, outputs) == (
        b'prediction_id,predict,proba[0],proba[1],n\nu-0,"a, b",0.1,0.9,1\nu-1,"c""",nan,1.0,2\n'
    )
    for body, sent, wanted in ((b"x\n1\n", b"text/csv", b"*/*"), (b'{"rows": [{"x": 1}]}', b"text/json", b"text/csv")):
        request = PROTOCOL.parse(body, {b"content-type": sent, b"accept": wanted}, column("FP64"))
        assert answered(request, {"y": np.array([1.5])}) == [{"y": 1.5}]
    whole = Signature((Field("x", "FP64", (-1,)),), (Field("y", "FP64", ()),))
    assert answered(PROTOCOL.parse(b"x\n1\n", headers, whole), {"y": np.array(1.5)}) == [{"y": 1.5}]


@pytest.mark.parametrize("code", "?BHILbhilefd")
def test_every_type_of_output_is_rendered(code: str) -> None:
    """Numbers as numbers."""
    outputs = {"y": np.array([0, 1]).astype(code), "z": np.array([[0, 1], [1, 0]]).astype(code)}
    found = orjson.loads(PROTOCOL.render(Answer(InferenceRequest({}, 2), outputs, "m", "1", "stable", "r", "u")).body)
    assert found["predictions"] == [{"y": 0, "z": [0, 1]}, {"y": 1, "z": [1, 0]}]


def test_errors_that_are_not_the_callers_have_their_status() -> None:
    """And the same form."""
    assert PROTOCOL.error(Overloaded("Too many."), "r").status == 429
    assert PROTOCOL.error(InvalidRequest("No."), "r").status == 400
