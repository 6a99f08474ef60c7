"""KServe V1: what it accepts, what it refuses and how it says so, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.models import Field, Signature
from serinus.serving.errors import InvalidInput, PredictionFailed, RequestError, Violation
from serinus.serving.inputs import validate
from serinus.serving.protocols.kserve_v1 import KServeV1
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings
from tests.serving.protocols.hostile import MIXED, NUMBERS, TENSOR, accept, mutated, values

PROTOCOL = KServeV1()
MATRIX = Signature((Field("input", "FP64", (-1, 3)),), (Field("predict", "INT64", (-1,)),))
ANA = {"city": "Bern", "age": 40.5, "visits": 1, "member": True}
BOB = {"city": "Lyon", "age": None, "visits": 2, "member": False}
VALID: list[Any] = [
    {"id": "q1", "instances": [ANA, BOB], "parameters": {"outputs": ["predict"]}},
    {"instances": [["Bern", 40.5, 1, True], ["Lyon", None, 2, False]]},
    {"inputs": {name: [ANA[name], BOB[name]] for name in ANA}},
]


def parse(document: Any, signature: Signature = MIXED) -> InferenceRequest:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return validate(PROTOCOL.parse(body, {}, signature), signature, 50)


@pytest.mark.parametrize("document", VALID)
def test_a_table_in_each_form(document: Any) -> None:
    """Objects by name, lists in the signature's order, columns; null is missing."""
    request = parse(document)
    inputs = dict(request.inputs)
    assert np.array_equal(inputs.pop("age"), [40.5, np.nan], equal_nan=True)
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "city": ["Bern", "Lyon"],
        "visits": [1, 2],
        "member": [True, False],
    }
    assert request.rows == 2


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_matrix(key: str) -> None:
    """A list of numbers for each row, as KServe's scikit-learn server takes them."""
    assert parse({key: [[1, 2, 3], [4, 5, 6]]}, MATRIX).inputs["input"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_parameters() -> None:
    """As Vertex AI sends them: outputs and routing key are ours, others are left alone."""
    request = parse({"id": "q1", "instances": [ANA], "parameters": {"outputs": ["a"], "routing_key": "ana", "top": 1}})
    assert (request.outputs, request.routing_key, request.request_id) == (("a",), "ana", "q1")
    assert parse({"instances": [ANA], "parameters": None}).outputs is None


def test_extra_fields_are_refused_on_demand() -> None:
    """Else remarked."""
    body = orjson.dumps({"instances": [ANA | {"shoe": 42}]})
    assert [violation.path for violation in parse(body).violations] == ["$.instances[*].shoe"]
    with pytest.raises(InvalidInput, match="Column 'shoe' unknown"):
        KServeV1(LimitSettings(extra_columns="refuse")).parse(body, {}, MIXED)


REFUSED: dict[str, tuple[Any, Signature, str]] = {
    "bad JSON": (b"{", MIXED, "The body is not JSON: .* Send {.instances"),
    "a list": ([[1, 2, 3]], MATRIX, "expected a JSON object, got a list"),
    "neither": ({"rows": [ANA]}, MIXED, 'expected "instances" or "inputs", got neither. Send {"instances": '),
    "both": ({"instances": [ANA], "inputs": [ANA]}, MIXED, "got both"),
    "no instances": ({"instances": []}, MIXED, r"\$\.instances is empty"),
    "instances that are null": ({"instances": None}, MIXED, "expected a list .* got null"),
    "parameters that are a word": (
        {"instances": [ANA], "parameters": "a"},
        MIXED,
        r"\$\.parameters: expected an object",
    ),
    "outputs that are numbers": (
        {"instances": [ANA], "parameters": {"outputs": [1]}},
        MIXED,
        r"\$\.parameters\.outputs: expected a list of nam",
    ),
    "a word for a number": ({"instances": [[1, 2, "x"]]}, MATRIX, "expected FP64, got string 'x'"),
    "a ragged matrix": ({"instances": [[1, 2, 3], [1]]}, MATRIX, "values of one shape"),
    "a missing field": ({"instances": [{"a": 1}]}, NUMBERS, r"Field 'n' at \$\.instances\[0\]: expected INT32, got no"),
    "too many rows": ({"instances": [[1, 2, 3]] * 51}, MATRIX, "The request has 51 rows, the limit is 50"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_refused_in_one_sentence(case: str) -> None:
    """Where KServe itself answers 500."""
    document, signature, sentence = REFUSED[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(document, signature)
    answer = PROTOCOL.error(caught.value, "r1")
    assert (answer.status, answer.content_type) == (413 if case == "too many rows" else 400, b"application/json")
    assert orjson.loads(answer.body)["error"] == str(caught.value)


def test_an_error_says_what_was_violated() -> None:
    """Beside the sentence, where there is something to say."""
    refused = PROTOCOL.error(InvalidInput("No.", (Violation("$.a", "k", "w", "g"),)), "r")
    assert orjson.loads(refused.body) == {
        "error": "No.",
        "violations": [{"path": "$.a", "kind": "k", "wanted": "w", "got": "g"}],
    }
    failed = PROTOCOL.error(PredictionFailed("It broke."), "r")
    assert (failed.status, orjson.loads(failed.body)) == (500, {"error": "It broke."})


keys = st.sampled_from(["instances", "inputs", "parameters", "id"])


@settings(deadline=None)
@given(st.dictionaries(keys, values, max_size=3))
def test_whatever_is_sent_is_refused_or_understood(document: Any) -> None:
    """Any JSON value in the right places, against four signatures."""
    for signature in (MIXED, NUMBERS, TENSOR, MATRIX):
        accept(PROTOCOL, json.dumps(document).encode(), signature)


@settings(deadline=None)
@given(mutated(VALID))
def test_a_table_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """One to three things changed in a valid request."""
    accept(PROTOCOL, body, MIXED)


def test_predictions_are_the_values_of_the_first_output() -> None:
    """Others on request, with the prediction's id in a header."""
    outputs = {"predict": np.array([1, 0]), "predict_proba": np.array([[0.25, 0.75], [1, 0]], np.float32)}
    request = parse({"instances": [ANA, BOB]})
    rendered = PROTOCOL.render(Answer(request, outputs, "wine", "3", "stable", "r1", "0190-uuid"))
    assert rendered == (b'{"predictions":[1,0]}', b"application/json", b"x-prediction-id: 0190-uuid\r\n")
    both = PROTOCOL.render(Answer(request._replace(outputs=tuple(outputs)), outputs, "wine", "3", "stable", "r1", "u"))
    assert orjson.loads(both.body)["predictions"][0] == {"predict": 1, "predict_proba": [0.25, 0.75]}
