"""Invocations: what MLflow's and SageMaker's callers may send, what is refused and how, and what is answered."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.models import Field, Signature
from serinus.serving.errors import (
    InvalidInput,
    InvalidRequest,
    NotServed,
    Overloaded,
    PredictionFailed,
    RequestError,
    TimedOut,
    UnsupportedEncoding,
)
from serinus.serving.inputs import validate
from serinus.serving.protocols.invocations import Invocations
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings
from tests.serving.protocols.hostile import MIXED, NUMBERS, TENSOR, accept, mutated, values

PROTOCOL = Invocations()
MATRIX = Signature((Field("input", "FP32", (-1, 3)),), (Field("predict", "INT64", (-1,)),))
ANA = {"city": "Bern", "age": 40.5, "visits": 1, "member": True}
BOB = {"city": "Lyon", "age": None, "visits": 2, "member": False}
FRAME = pd.DataFrame([BOB | ANA, BOB])[["visits", "member", "city", "age"]]
SPLIT = {
    "columns": ["visits", "member", "city", "age"],
    "index": [5, 6],
    "data": [[1, True, "Bern", 40.5], [2, False, "Lyon", None]],
}
COLUMNS = {name: [ANA[name], BOB[name]] for name in ANA}
FORMS: dict[str, Any] = {
    "dataframe_split": SPLIT,
    "dataframe_records": [ANA, BOB],
    "instances": [ANA, BOB],
    "inputs": COLUMNS,
}


def parse(document: Any, signature: Signature = MIXED, **headers: str) -> InferenceRequest:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return validate(PROTOCOL.parse(body, named, signature), signature, 50)


# What is accepted


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_each_form(form: str) -> None:
    """Names decide; null is missing."""
    check_people(parse({form: FORMS[form]}))


@pytest.mark.parametrize("orient", ["split", "records"])
def test_what_pandas_writes_as_json(orient: Any) -> None:
    """As MLflow's documentation makes its requests."""
    check_people(
        parse({f"dataframe_{orient}": json.loads(FRAME.to_json(orient=orient))}, content_type="application/json")
    )


@pytest.mark.parametrize(
    "kind", ["text/csv", "text/csv; charset=UTF-8", "application/vnd.apache.parquet", "application/x-parquet"]
)
def test_files(kind: str) -> None:
    """CSV and Parquet, under each of their names."""
    buffer = io.BytesIO()
    FRAME.to_parquet(buffer)
    check_people(parse(FRAME.to_csv(index=False).encode() if "csv" in kind else buffer.getvalue(), content_type=kind))


def check_people(request: InferenceRequest) -> None:
    inputs = dict(request.inputs)
    assert np.array_equal(inputs.pop("age"), [40.5, np.nan], equal_nan=True)
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "city": ["Bern", "Lyon"],
        "visits": [1, 2],
        "member": [True, False],
    }
    assert (request.rows, request.outputs, request.violations) == (2, None, ())


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [[1, 2, 3], [4, 5, 6]]},
        {"inputs": [[1, 2, 3], [4, 5, 6]]},
        {"inputs": {"input": [[1, 2, 3], [4, 5, 6]]}},
        {"instances": [{"input": [1, 2, 3]}, {"input": [4, 5, 6]}]},
        {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2, 3], [4, 5, 6]]}},
        {"dataframe_split": {"columns": [0, 1, 2], "data": [[1, 2, 3], [4, 5, 6]]}},
    ],
)
def test_a_matrix_in_each_form(document: Any) -> None:
    """For a model that knows no names of columns; a frame's columns come in their order."""
    request = parse(document, MATRIX)
    assert (request.inputs["input"].tolist(), request.rows) == ([[1, 2, 3], [4, 5, 6]], 2)


def test_lists_stand_in_the_order_of_the_signature() -> None:
    """Where the model has several columns."""
    request = parse({"instances": [[1.5, None, 3], [4, 5, 6]]}, NUMBERS)
    assert [array.dtype.name for array in request.inputs.values()] == ["float64", "float32", "int32"]
    assert request.inputs["n"].tolist() == [3, 6]


def test_values_stand_for_the_only_column() -> None:
    """As they are, or each in a list of its own."""
    signature = Signature((Field("x", "INT64", (-1,)),), ())
    for instances in ([1, 2], [[1], [2]], [{"x": 1}, {"x": 2}]):
        assert parse({"instances": instances}, signature).inputs["x"].tolist() == [1, 2]


def test_a_whole_tensor_is_the_only_instance_or_the_inputs_themselves() -> None:
    """For a model of a fixed shape."""
    signature = Signature((Field("x", "FP32", (1, 2)),), (Field("y", "FP32", (1,)),))
    for given_ in ([[[1, 2]]], [[1, 2]], {"x": [[1, 2]]}):
        request = parse({"inputs": given_}, signature)
        assert (request.inputs["x"].tolist(), request.rows) == ([[1, 2]], 1)


def test_params() -> None:
    """Outputs and routing key; what is not known is left alone, as MLflow does."""
    request = parse({"instances": [ANA], "params": {"outputs": ["b", "a", "b"], "routing_key": 7, "temperature": 1}})
    assert (request.outputs, request.routing_key) == (("b", "a"), "7")


def test_an_extra_column_is_remarked_or_refused() -> None:
    """By the setting."""
    body = orjson.dumps({"dataframe_records": [ANA | {"shoe": 42}]})
    assert [violation.path for violation in parse(body).violations] == ["$.dataframe_records[*].shoe"]
    with pytest.raises(InvalidInput, match="Column 'shoe' unknown"):
        Invocations(LimitSettings(extra_columns="refuse")).parse(body, {}, MIXED)


# What is refused

REFUSED: dict[str, tuple[Any, Signature, str]] = {
    "bad JSON": (b"{", MIXED, "The body is not JSON: .* Send {.dataframe_records"),
    "a list": ([ANA], MIXED, "expected a JSON object, got a list"),
    "no form": ({"rows": [ANA]}, MIXED, "expected exactly one of dataframe_split, .* got none of them"),
    "two forms": ({"instances": [ANA], "inputs": COLUMNS}, MIXED, "got instances and inputs"),
    "params that are a list": ({"instances": [ANA], "params": [1]}, MIXED, r"\$\.params: expected an object, got a li"),
    "outputs that are a word": (
        {"instances": [ANA], "params": {"outputs": "predict"}},
        MIXED,
        r"\$\.params\.outputs: expected a list of names",
    ),
    "no outputs": ({"instances": [ANA], "params": {"outputs": []}}, MIXED, r"\$\.params\.outputs: expected a list"),
    "a split without columns": (
        {"dataframe_split": {"data": [[1]]}},
        MIXED,
        r"dataframe_split\.columns: expected a li",
    ),
    "a split without data": ({"dataframe_split": {"columns": ["x"]}}, MIXED, r"dataframe_split\.data: expected a list"),
    "a split without rows": ({"dataframe_split": {"columns": ["x"], "data": []}}, MIXED, r"split\.data is empty"),
    "a split that is a list": (
        {"dataframe_split": [1]},
        MIXED,
        r"\$\.dataframe_split: expected an object with columns",
    ),
    "a row too short": (
        {"dataframe_split": {"columns": ["x", "y"], "data": [[1, 2], [1]]}},
        MIXED,
        r"\$\.dataframe_split\.data\[1\]: expected 2 values as in columns, got 1",
    ),
    "a bad cell": (
        {"dataframe_split": SPLIT | {"data": [[1, True, "Bern", "n/a"]]}},
        MIXED,
        r"'age' at \$\.dataframe_split\.data\[0\]\.age: expected FP64, got string 'n/a'",
    ),
    "a column twice": (
        {"dataframe_split": {"columns": ["a", "n", "a"], "data": [[1, 2, 3]]}},
        NUMBERS,
        "Column 'a' stands twice in",
    ),
    "records of lists": ({"dataframe_records": [[1, 2, 3]]}, NUMBERS, r"expected an object .* got a list"),
    "records that are an object": ({"dataframe_records": COLUMNS}, MIXED, "expected a list with one object per row"),
    "instances that are a number": ({"instances": 1}, MIXED, r"\$\.instances: expected a list .* got int 1"),
    "no instances": ({"instances": []}, MIXED, r"\$\.instances is empty"),
    "instances of two forms": (
        {"instances": [ANA, [1]]},
        MIXED,
        r"\[1\]: expected the same form as \$\.instances\[0\]",
    ),
    "an object among lists": (
        {"instances": [[1, 2, 3], ANA]},
        NUMBERS,
        r"\$\.instances\[1\]: expected .* got an object",
    ),
    "a list too short": (
        {"instances": [[1, 2]]},
        NUMBERS,
        r"a list of 3 values in the order 'a', 'b', 'n', got a list ",
    ),
    "a number for a row": (
        {"instances": [1, 2]},
        NUMBERS,
        r"\$\.instances\[0\]: expected an object by name.* got int 1",
    ),
    "another matrix": ({"instances": [[1, 2]]}, MATRIX, r"expected shape \[-1, 3\], got shape \[1, 2\]"),
    "a missing field": ({"instances": [{"city": "Bern"}]}, MIXED, r"'visits' at \$\.instances\[0\]: expected INT64"),
    "columns of unequal length": (
        {"inputs": COLUMNS | {"city": ["a"]}},
        MIXED,
        "Input 'age' has 2 rows, the inputs bef",
    ),
    "too many rows": ({"instances": [ANA] * 51}, MIXED, "The request has 51 rows, the limit is 50"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_refused_in_one_sentence(case: str) -> None:
    """In MLflow's three fields, the stack trace empty."""
    document, signature, sentence = REFUSED[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(document, signature)
    answer = PROTOCOL.error(caught.value, "r1")
    assert (answer.status, answer.content_type) == (413 if case == "too many rows" else 400, b"application/json")
    assert orjson.loads(answer.body) == {"error_code": "BAD_REQUEST", "message": str(caught.value), "stack_trace": ""}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("application/xml", "Content-Type 'application/xml' is not understood; send application/json, text/csv or"),
        ("application/x-www-form-urlencoded", "is not understood"),
        ("application/json; charset=latin-1", "charset 'latin-1' is not understood; send UTF-8"),
        ("application/json; format=pandas-split", "parameter 'format' is not understood"),
        ("text/csv; header=present", "parameter 'header' is not understood"),
    ],
)
def test_another_kind_of_body_is_refused(kind: str, sentence: str) -> None:
    """As 415."""
    with pytest.raises(UnsupportedEncoding, match=sentence) as caught:
        parse({"instances": [ANA]}, content_type=kind)
    assert PROTOCOL.error(caught.value, "r").status == 415


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotServed("No."), 404, "RESOURCE_DOES_NOT_EXIST"),
        (Overloaded("No."), 429, "REQUEST_LIMIT_EXCEEDED"),
        (TimedOut("No."), 504, "DEADLINE_EXCEEDED"),
        (PredictionFailed("No."), 500, "INTERNAL_ERROR"),
    ],
)
def test_other_errors_have_their_status(error: RequestError, status: int, code: str) -> None:
    """And a code that MLflow's clients know."""
    answer = PROTOCOL.error(error, "r")
    assert (answer.status, orjson.loads(answer.body)["error_code"]) == (status, code)


@pytest.mark.parametrize("attributes", ["a" * 1025, "käse", "a\tb", "\x7f"])
def test_odd_custom_attributes_are_refused(attributes: str) -> None:
    """They would go into a header of the answer."""
    with pytest.raises(
        InvalidRequest, match="X-Amzn-SageMaker-Custom-Attributes: expected at most 1024 printable ASCII"
    ):
        parse({"instances": [ANA]}, x_amzn_sagemaker_custom_attributes=attributes)


keys = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "columns", "data", "params"])


@settings(deadline=None)
@given(st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=3), max_size=3))
def test_whatever_is_sent_is_refused_or_understood(document: Any) -> None:
    """Any JSON value in the right places, against four signatures."""
    for signature in (MIXED, NUMBERS, TENSOR, MATRIX):
        accept(PROTOCOL, json.dumps(document).encode(), signature)


@settings(deadline=None)
@given(mutated([{form: document, "params": {"outputs": ["predict"]}} for form, document in FORMS.items()]))
def test_a_table_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """One to three things changed in a valid request of each form."""
    for signature in (MIXED, MATRIX):
        accept(PROTOCOL, body, signature)


@pytest.mark.parametrize("form", FORMS)
def test_the_valid_documents_are_valid(form: str) -> None:
    """Else their mutations would prove little."""
    assert accept(PROTOCOL, orjson.dumps({form: FORMS[form]}), MIXED) is not None


# What is answered

OUTPUTS = {"predict": np.array(["yes", "no"], object), "predict_proba": np.array([[0.25, 0.75], [1, np.nan]])}


def answer(request: InferenceRequest, outputs: dict[str, Any]) -> Any:
    return PROTOCOL.render(Answer(request, outputs, "wine", "3", "candidate", "r1", "0190-uuid"))


def predictions(request: InferenceRequest, outputs: dict[str, Any]) -> Any:
    (found,) = orjson.loads(answer(request, outputs).body).items()
    assert found[0] == "predictions"
    return found[1]


def test_predictions_are_the_values_of_the_first_output() -> None:
    """As a model's `predict` gives them."""
    assert predictions(parse({"instances": [ANA, BOB]}), OUTPUTS) == ["yes", "no"]
    assert answer(parse({"instances": [ANA, BOB]}), OUTPUTS).head == b"x-prediction-id: 0190-uuid\r\n"


def test_other_outputs_are_given_on_request() -> None:
    """One as its values, several as an object per row."""
    request = parse({"instances": [ANA, BOB], "params": {"outputs": ["predict_proba"]}})
    assert predictions(request, {"predict_proba": OUTPUTS["predict_proba"]}) == [[0.25, 0.75], [1, "NaN"]]
    request = parse({"instances": [ANA, BOB], "params": {"outputs": ["predict", "predict_proba"]}})
    assert predictions(request, OUTPUTS) == [
        {"predict": "yes", "predict_proba": [0.25, 0.75]},
        {"predict": "no", "predict_proba": [1, "NaN"]},
    ]


def test_whole_tensors_are_given_whole() -> None:
    """One by itself, several as one object."""
    signature = Signature((Field("x", "FP64", (2,)),), (Field("y", "FP64", (1, 2)), Field("k", "INT64", ())))
    request = parse({"inputs": {"x": [1, 2]}}, signature)
    outputs = {"y": np.array([[1.0, 2.0]]), "k": np.array(3)}
    assert predictions(request, outputs) == [[1, 2]]
    assert predictions(request._replace(outputs=("y", "k")), outputs) == {"y": [[1, 2]], "k": 3}


def test_a_sequence_is_given_with_all_its_tensors() -> None:
    """It is one output."""
    signature = Signature((Field("x", "FP64", (2,)),), (Field("s", "FP64", (-1,), sequence=True),))
    request = parse({"inputs": {"x": [1, 2]}}, signature)
    outputs = {"s[0]": np.array([1.0]), "s[1]": np.array([2.0, 3]), "other": np.array(1)}
    assert predictions(request, outputs) == {"s[0]": [1], "s[1]": [2, 3]}


def test_csv_is_answered_in_kind() -> None:
    """Without a header, as SageMaker's own containers do; the outputs that JSON would have."""
    request = parse(
        b"x\n1\n2\n",
        Signature((Field("x", "FP64", (-1,)),), (Field("predict", "BYTES", (-1,)),)),
        content_type="text/csv",
        accept="text/csv",
    )
    rendered = answer(request, OUTPUTS)
    assert (rendered.body, rendered.content_type) == (b"yes\nno\n", b"text/csv; charset=utf-8")
    proba = answer(request._replace(outputs=("predict_proba",)), {"predict_proba": OUTPUTS["predict_proba"]})
    assert proba.body == b"0.25,0.75\n1.0,nan\n"


def test_custom_attributes_are_echoed() -> None:
    """SageMaker hands them back to the caller."""
    request = parse({"instances": [ANA]}, x_amzn_sagemaker_custom_attributes="trace=1; a=b")
    assert b"x-amzn-sagemaker-custom-attributes: trace=1; a=b\r\n" in answer(request, OUTPUTS).head
