"""Open Inference Protocol: what it accepts, what it refuses and how it says so, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serinus.models import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, PredictionFailed, RequestError, Violation
from serinus.serving.inputs import validate
from serinus.serving.protocols import STATUS
from serinus.serving.protocols.open_inference import OpenInference
from serinus.serving.request import Answer, InferenceRequest
from tests.serving.protocols.hostile import MIXED, NUMBERS, TENSOR, accept, mutated, values

PROTOCOL = OpenInference()
CITY = {"name": "city", "datatype": "BYTES", "shape": [2], "data": ["Bern", "Lyon"]}
AGE = {"name": "age", "datatype": "FP64", "shape": [2], "data": [40.5, None]}
VISITS = {"name": "visits", "datatype": "INT64", "shape": [2], "data": [1, 2]}
MEMBER = {"name": "member", "datatype": "BOOL", "shape": [2], "data": [True, False]}
VALID: dict[str, Any] = {
    "id": "q1",
    "parameters": {"routing_key": "ana"},
    "inputs": [CITY, AGE, VISITS, MEMBER],
    "outputs": [{"name": "predict"}],
}
IMAGE = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 3], "data": [[[1, 2, 3], [4, 5, 6.5]]]}]}
MATRIX = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [2, 3], "data": [[1.5, None, 3], [4, 5, 6]]}]}
DEEP = b"[" * 1000 + b"]" * 1000


def parse(document: Any, signature: Signature = MIXED, max_rows: int = 50) -> InferenceRequest:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return validate(PROTOCOL.parse(body, {}, signature), signature, max_rows)


def tensor(data: Any, *, shape: Any = None, datatype: Any = "FP64", name: Any = "x") -> dict[str, Any]:
    return {
        "inputs": [{"name": name, "datatype": datatype, "shape": [len(data)] if shape is None else shape, "data": data}]
    }


def column(datatype: str, *, optional: bool = False) -> Signature:
    return Signature((Field("x", datatype, (-1,), optional=optional),), ())


# What is accepted


def test_a_request_in_full() -> None:
    """Inputs by name in the signature's order, null as missing, outputs, id and routing key."""
    request = parse(VALID | {"inputs": [MEMBER, VISITS, AGE, CITY]})
    assert list(request.inputs) == ["city", "age", "visits", "member"]
    assert request.inputs["city"].tolist() == ["Bern", "Lyon"]
    assert request.inputs["age"][0] == 40.5 and np.isnan(request.inputs["age"][1])
    assert request.inputs["visits"].tolist() == [1, 2]
    assert request.inputs["member"].tolist() == [True, False]
    assert (request.rows, request.outputs, request.request_id, request.routing_key) == (2, ("predict",), "q1", "ana")


def test_an_optional_input_may_be_absent() -> None:
    """The model fills in what is missing."""
    assert list(parse(VALID | {"inputs": [CITY, VISITS, MEMBER]}).inputs) == ["city", "visits", "member"]


@pytest.mark.parametrize(
    ("shape", "data"), [([3], [1, 2, 3]), ([3, 1], [1, 2, 3]), ([3, 1], [[1], [2], [3]]), ([3], [[1], [2], [3]])]
)
def test_a_column_may_be_flat_or_nested(shape: list[int], data: Any) -> None:
    """`[k]` and `[k, 1]` mean the same; so do flat and nested data."""
    request = parse(tensor(data, shape=shape), column("FP64"))
    assert request.inputs["x"].shape == (3,)
    assert request.inputs["x"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6.5], [[1, 2, 3], [4, 5, 6.5]], [[[1, 2, 3], [4, 5, 6.5]]]])
def test_a_tensor_may_be_flat_or_nested(data: Any) -> None:
    """Row-major, in the shape that was declared."""
    request = parse({"inputs": [IMAGE["inputs"][0] | {"data": data}]}, TENSOR)
    assert request.inputs["image"].tolist() == [[[1, 2, 3], [4, 5, 6.5]]]
    assert request.inputs["image"].dtype == np.float32
    assert request.rows == 1


def test_numeric_columns_may_come_as_one_matrix() -> None:
    """Named `input`: a column each, in the signature's order and types, gaps where they may be."""
    request = parse(MATRIX, NUMBERS)
    assert request.rows == 2
    assert [array.dtype.name for array in request.inputs.values()] == ["float64", "float32", "int32"]
    assert request.inputs["a"].tolist() == [1.5, 4.0]
    assert np.isnan(request.inputs["b"][0]) and request.inputs["b"][1] == 5
    assert request.inputs["n"].tolist() == [3, 6]


def test_a_matrix_counts_all_its_rows() -> None:
    """The limit holds in this form too."""
    with pytest.raises(RequestError, match="The request has 60 rows, the limit is 50"):
        parse(tensor([[1, 2, 3]] * 60, shape=[60, 3], name="input"), NUMBERS)


@pytest.mark.parametrize("extreme", [2**63 - 1, -(2**63), 2**53 + 1])
def test_large_integers_lose_nothing(extreme: int) -> None:
    """They never pass through a float."""
    assert parse(tensor([extreme, 1], datatype="INT64"), column("INT64")).inputs["x"].tolist() == [extreme, 1]


def test_unsigned_integers_lose_nothing() -> None:
    """Nor do those beyond 63 bits, beside small ones."""
    assert parse(tensor([2**64 - 1, 1], datatype="UINT64"), column("UINT64")).inputs["x"].tolist() == [2**64 - 1, 1]


def test_a_narrower_number_is_widened() -> None:
    """An integer may stand for a float, and the declared datatype may be any numeric one that holds the values."""
    assert parse(tensor([1, 2], datatype="INT8"), column("FP64")).inputs["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("outputs", [None, []])
def test_no_outputs_mean_the_models_own(outputs: Any) -> None:
    """As the protocol says."""
    assert parse(VALID | {"outputs": outputs}).outputs is None


SEQUENCE = Signature((Field("n", "INT64", (-1,)), Field("s", "FP32", (-1, 2), sequence=True)), ())


def element(index: int, rows: int) -> dict[str, Any]:
    return {"name": f"s[{index}]", "datatype": "FP32", "shape": [rows, 2], "data": [index] * (2 * rows)}


def test_a_sequence_comes_tensor_by_tensor() -> None:
    """In any order and of any lengths; they are handed on in the order of their numbers, and are no rows."""
    number = {"name": "n", "datatype": "INT64", "shape": [1], "data": [7]}
    request = parse({"inputs": [element(2, 3), element(0, 0), number, element(1, 5)]}, SEQUENCE)
    assert list(request.inputs) == ["n", "s[0]", "s[1]", "s[2]"]
    assert [len(array) for array in request.inputs.values()] == [1, 0, 5, 3]
    assert request.rows == 1
    assert list(parse({"inputs": [number]}, SEQUENCE).inputs) == ["n"]


def test_a_sequence_alone_may_be_empty() -> None:
    """A model that takes nothing else still gets its one call."""
    alone = Signature(SEQUENCE.inputs[1:], ())
    assert (parse({"inputs": []}, alone).inputs, parse({"inputs": []}, alone).rows) == ({}, 1)
    assert list(parse({"inputs": [element(0, 4)]}, alone).inputs) == ["s[0]"]


@pytest.mark.parametrize(("shape", "data"), [([], [5]), ([], 5), ([1], [5]), ([2, 2], [1, 2, 3, 4]), ([0, 3], [])])
def test_a_field_without_a_shape_takes_any(shape: list[int], data: Any) -> None:
    """The model judges; the whole tensor is one row."""
    request = parse(tensor(data, shape=shape, datatype="FP32"), Signature((Field("x", "FP32", ()),), ()))
    assert (request.inputs["x"].shape, request.rows) == (tuple(shape), 1)


@pytest.mark.parametrize("document", [{}, {"inputs": []}, {"inputs": None, "id": "a"}])
def test_a_model_may_take_no_inputs(document: Any) -> None:
    """Its inputs are empty or left out."""
    request = parse(document, Signature((), ()))
    assert (request.inputs, request.rows) == ({}, 1)


def test_the_rows_are_those_of_the_first_input_of_variable_length() -> None:
    """An input of fixed length says nothing about them."""
    signature = Signature((Field("k", "INT64", (1,)), Field("x", "FP64", (-1, 2)), Field("s", "FP64", ())), ())
    tensors = [("s", "FP64", []), ("k", "INT64", [1]), ("x", "FP64", [3, 2])]
    document = [
        {"name": name, "datatype": datatype, "shape": shape, "data": [1] * int(np.prod(shape))}
        for name, datatype, shape in tensors
    ]
    assert parse({"inputs": document}, signature).rows == 3
    assert parse({"inputs": document[:2]}, Signature((signature.inputs[0], signature.inputs[2]), ())).rows == 1


@pytest.mark.parametrize("shape", [[0], [0, 1]])
def test_no_values_are_a_tensor_too(shape: list[int]) -> None:
    """Where the model's first dimension is fixed; rows there must be at least one."""
    for datatype in ("FP32", "INT64", "UINT8", "BOOL", "BYTES"):
        request = parse(tensor([], shape=shape, datatype=datatype),
                        Signature((Field("x", datatype, tuple(shape)),), ()))
        assert request.inputs["x"].shape == tuple(shape)


def test_strings_stand_for_the_numbers_that_json_lacks() -> None:
    """In every form, for a field that is not optional too."""
    expected = [1.5, np.inf, -np.inf, np.nan]
    for datatype in ("FP16", "FP32", "FP64"):
        found = parse(tensor([1.5, "Infinity", "-Infinity", "NaN"], datatype=datatype), column(datatype)).inputs["x"]
        assert np.array_equal(found, np.array(expected), equal_nan=True)
    matrix = parse(tensor([["NaN", None, 3]], shape=[1, 3], name="input"), NUMBERS).inputs
    assert np.isnan(matrix["a"][0]) and np.isnan(matrix["b"][0])


@pytest.mark.parametrize(
    "further",
    [
        {"model_name": "iris", "model_version": "1"},
        {"parameters": {"timeout": 5, "priority": 1, "content_type": "np", "sequence_id": "a", "x": [1, {"y": None}]}},
        {"outputs": [{"name": "predict", "parameters": {"classification": 3, "binary_data": False}}]},
        {"id": None, "parameters": None},
        {"inputs": [CITY | {"parameters": {"content_type": "str"}}, AGE, VISITS | {"parameters": {}}, MEMBER]},
    ],
)
def test_what_clients_add_is_left_alone(further: dict[str, Any]) -> None:
    """KServe's names the model, MLServer's and Triton's have parameters at every level."""
    request = parse(VALID | further)
    assert list(request.inputs) == ["city", "age", "visits", "member"]
    assert request.reply is None


def test_a_body_is_json_whatever_it_is_called() -> None:
    """Triton's client sends no content type, curl that of a form."""
    for headers in ({}, {b"content-type": b"application/x-www-form-urlencoded"}, {b"content-type": b"text/plain"}):
        assert PROTOCOL.parse(orjson.dumps(VALID), headers, MIXED).rows == 2


def test_an_output_asked_for_twice_is_given_once() -> None:
    """In the order of asking."""
    outputs = [{"name": "b"}, {"name": "a"}, {"name": "b"}]
    assert parse(VALID | {"outputs": outputs}).outputs == ("b", "a")


# What is refused

REFUSED: dict[str, tuple[Any, Signature, str]] = {
    "bad JSON": (b'{"inputs": [', MIXED, r"The body is not JSON: .* Send a JSON object\."),
    "nothing": (b"", MIXED, "The body is not JSON"),
    "a NaN literal": (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[NaN]}]}',
        column("FP64"),
        "The body is not JSON",
    ),
    "an infinite number": (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1e999]}]}',
        column("FP64"),
        "The body is not JSON",
    ),
    "not UTF-8": (b'{"inputs": "\xff"}', MIXED, "The body is not JSON"),
    "half a surrogate pair": (b'{"id": "\\ud800", "inputs": []}', MIXED, "The body is not JSON"),
    "no object": ([1], MIXED, "expected a JSON object, got a list"),
    "null": (None, MIXED, "expected a JSON object, got nothing"),
    "no inputs": ({}, MIXED, r"\$\.inputs: expected a list of tensors, got nothing"),
    "inputs not a list": ({"inputs": {"name": "x"}}, MIXED, r"\$\.inputs: expected a list of tensors, got an object"),
    "no input at all": ({"inputs": []}, MIXED, "Input 'city', 'visits', 'member' missing.*got none"),
    "an input that is no object": ({"inputs": [True]}, MIXED, r"\$\.inputs\[0\]: expected an object.*got a boolean"),
    "no name": ({"inputs": [{"data": [1]}]}, MIXED, r"\$\.inputs\[0\]\.name: expected the input's name, got nothing"),
    "an unknown input": (tensor([1], name="y"), column("FP64"), r"Input 'y' at \$\.inputs\[0\] unknown.*wants 'x'"),
    "an input twice": ({"inputs": [CITY, VISITS, CITY]}, MIXED, "Input 'city' stands twice"),
    "a missing input": ({"inputs": [CITY, MEMBER]}, MIXED, "Input 'visits' missing"),
    "no datatype": (tensor([1], datatype=None), column("FP64"), r"datatype: expected one of .*, got null"),
    "an unknown datatype": (tensor([1], datatype="DOUBLE"), column("FP64"), r"datatype: expected.*got string 'DOUBLE'"),
    "a datatype that is a list": (tensor([1], datatype=["FP64"]), column("FP64"), r"datatype: expected.*got a list"),
    "text for numbers": (tensor(["1"], datatype="BYTES"), column("FP64"), "expected datatype FP64, got BYTES"),
    "numbers for text": (tensor([1]), column("BYTES"), "expected datatype BYTES, got FP64"),
    "no data": ({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1]}]}, column("FP64"), r"data: expected"),
    "no shape": (tensor([1, 2], shape={}), column("FP64"), r"shape: expected a list of sizes, got an object"),
    "a negative size": (tensor([1, 2], shape=[-1]), column("FP64"), "shape: expected a list of sizes"),
    "a size that is a boolean": (tensor([1], shape=[True, True]), column("FP64"), "shape: expected a list of sizes"),
    "too few values": (tensor([1, 2], shape=[3]), column("FP64"), r"shape \[3\] wants 3 values, data has 2"),
    "an enormous shape": (tensor([1, 2], shape=[2**62, 4]), column("FP64"), "data has 2"),
    "a size beyond 63 bits": (tensor([1, 2], shape=[2**63 + 5]), column("FP64"), "data has 2"),
    "another shape than the model's": (
        tensor([1, 2], shape=[1, 2]),
        column("FP64"),
        r"shape \[-1\], got shape \[1, 2\]",
    ),
    "too few dimensions": (
        {"inputs": [IMAGE["inputs"][0] | {"shape": [6], "data": [1] * 6}]},
        TENSOR,
        r"expected shape \[-1, 2, 3\], got shape \[6\]",
    ),
    "ragged rows": (tensor([[1, 2], [3]], shape=[2, 2]), column("FP64"), "expected values of one shape, got rows of"),
    "numbers beside lists": (tensor([1, [2]], shape=[2]), column("FP64"), "expected values of one shape"),
    "ragged texts": (tensor([["a", "b"], ["c"]], shape=[2, 2], datatype="BYTES"), column("BYTES"), "of one shape"),
    "a string among numbers": (
        tensor([1.5, "2"]),
        column("FP64"),
        r"at \$\.inputs\[0\]\.data\[1\]: expected FP64, got str",
    ),
    "a fraction among integers": (tensor([1, 2.5], datatype="INT64"), column("INT64"), r"data\[1\].*got float 2\.5"),
    "a boolean among numbers": (tensor([1.5, True]), column("FP64"), r"data\[1\]: expected FP64, got bool True"),
    "a boolean among integers": (tensor([True, 1], datatype="INT64"), column("INT64"), r"data\[0\].*got bool True"),
    "booleans for numbers": (tensor([True, False]), column("FP64"), r"data\[0\]: expected FP64, got bool True"),
    "a number for a boolean": (
        tensor([True, 1], datatype="BOOL"),
        column("BOOL"),
        r"data\[1\]: expected BOOL, got int 1",
    ),
    "an integer too large": (
        tensor([1, 2**31], datatype="INT32"),
        column("INT32"),
        "expected INT32 from -2147483648 to 2147483647, got 2147483648",
    ),
    "an integer too small": (tensor([-1], datatype="UINT8"), column("UINT8"), "expected UINT8 from 0 to 255, got -1"),
    "an integer beyond 63 bits": (tensor([2**63, -1], datatype="INT64"), column("INT64"), "got 9223372036854775808"),
    "an integer beyond 64 bits": (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[1' + b"0" * 30 + b"]}]}",
        column("INT64"),
        "expected INT64, got float 1e",
    ),
    "a float too large": (
        tensor([1e300], datatype="FP32"),
        column("FP32"),
        "expected FP32 up to 3.40282e.38, got 1e.300",
    ),
    "null in a required number": (
        tensor([1, None]),
        column("FP64"),
        r"data\[1\].*got null\. Declare it optional or clean",
    ),
    "null in a required text": (tensor(["a", None], datatype="BYTES"), column("BYTES"), r"data\[1\].*got null"),
    "null in an optional integer": (tensor([1, None], datatype="INT64"), column("INT64", optional=True), "got null"),
    "an object among numbers": (tensor([{"a": 1}]), column("FP64"), r"data\[0\]: expected FP64, got an object"),
    "a number among texts": (tensor(["a", 1], datatype="BYTES"), column("BYTES"), r"data\[1\].*a string, got int 1"),
    "no rows": (tensor([], shape=[0]), column("FP64"), "The request has no rows. Send at least one"),
    "no rows of text": (tensor([], shape=[0], datatype="BYTES"), column("BYTES"), "The request has no rows"),
    "uneven columns": (
        {"inputs": [CITY, VISITS | {"shape": [1], "data": [1]}, MEMBER]},
        MIXED,
        "Input 'visits' has 1 rows, the inputs before it 2",
    ),
    "too many rows": (tensor([1.0] * 51), column("FP64"), "The request has 51 rows, the limit is 50"),
    "an id that is a number": (VALID | {"id": 7}, MIXED, r"\$\.id: expected a string, got int 7"),
    "parameters that are a list": (VALID | {"parameters": []}, MIXED, r"\$\.parameters: expected an object, got a l"),
    "parameters of an input that are text": (
        {"inputs": [CITY | {"parameters": "x"}]},
        MIXED,
        r"\$\.inputs\[0\]\.parameters: expected an object, got a string",
    ),
    "parameters of an output that are a number": (
        VALID | {"outputs": [{"name": "predict", "parameters": 1}]},
        MIXED,
        r"\$\.outputs\[0\]\.parameters: expected an object, got a number",
    ),
    "a flag that is text": (
        VALID | {"parameters": {"binary_data_output": "yes"}},
        MIXED,
        r"\$\.parameters\.binary_data_output: expected true or false, got string 'yes'",
    ),
    "an output's flag that is a number": (
        VALID | {"outputs": [{"name": "predict", "parameters": {"binary_data": 1}}]},
        MIXED,
        r"\$\.outputs\[0\]\.parameters\.binary_data: expected true or false, got int 1",
    ),
    "outputs that are false": (VALID | {"outputs": False}, MIXED, r"\$\.outputs: expected a list"),
    "a literal that JSON lacks": (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[NaN]}]}',
        column("FP64"),
        'with NaN and Infinity as the strings "NaN"',
    ),
    "the name of infinity for an integer": (
        tensor(["Infinity"], datatype="INT64"),
        column("INT64"),
        r"data\[0\]: expected INT64, got string 'Infinity'",
    ),
    "another spelling of NaN": (tensor(["nan"]), column("FP64"), r"data\[0\]: expected FP64, got string 'nan'"),
    "more dimensions than arrays have": (tensor([1], shape=[1] * 65), column("FP64"), "at most 64 dimensions, got 65"),
    "a sequence by its own name": (
        tensor([[1, 2]], shape=[1, 2], datatype="FP32", name="s"),
        Signature(SEQUENCE.inputs[1:], ()),
        r"Input 's' unknown: the model wants 's\[0\]'",
    ),
    "a sequence with a gap": (
        {"inputs": [element(0, 1), element(2, 1)]},
        Signature(SEQUENCE.inputs[1:], ()),
        r"Input 's\[1\]' missing: the sequence 's' has 2 tensors\. Number them from 0",
    ),
    "a sequence's tensor of another shape": (
        {"inputs": [element(0, 1) | {"shape": [2]}]},
        Signature(SEQUENCE.inputs[1:], ()),
        r"shape \[-1, 2\], got shape \[2\]",
    ),
    "an input to a model without inputs": (tensor([1]), Signature((), ()), "unknown: the model takes no inputs"),
    "a matrix to a model without inputs": (tensor([1], name="input"), Signature((), ()), "the model takes no inputs"),
    "binary data without their header": (
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}}]},
        column("FP64"),
        "expected the header Inference-Header-Content-Length",
    ),
    "a very long name": (tensor([1], name="y" * 10_000), column("FP64"), r"Input 'y{60}…' at"),
    "outputs not a list": (VALID | {"outputs": "predict"}, MIXED, r"\$\.outputs: expected a list"),
    "outputs without names": (VALID | {"outputs": [{"name": 1}]}, MIXED, r"\$\.outputs: expected a list"),
    "a key that is a list": (VALID | {"parameters": {"routing_key": []}}, MIXED, r"routing_key: expected.*got a list"),
    "a matrix of another width": (tensor([[1, 2]], shape=[1, 2], name="input"), NUMBERS, r"shape \[-1, 3\], got shape"),
    "a fraction in a matrix": (
        tensor([[1, 2, 3.5]], shape=[1, 3], name="input"),
        NUMBERS,
        "expected INT32, got float 3.5",
    ),
    "null in a matrix": (
        tensor([[None, 2, 3]], shape=[1, 3], name="input"),
        NUMBERS,
        "Input 'a'.*expected FP64, got null",
    ),
    "too large for a matrix": (
        tensor([[1, 2, 2**40]], shape=[1, 3], name="input"),
        NUMBERS,
        "INT32 from .* got 1099511627776",
    ),
    "a matrix beside text": (tensor([[1, 2]], shape=[1, 2], name="input"), MIXED, "Input 'input' .*unknown"),
    "a matrix for a tensor": (tensor([[1]], shape=[1, 1], name="input"), TENSOR, "Input 'input' .*unknown"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_refused_in_one_sentence(case: str) -> None:
    """Where, what was wanted, what came; status 400 (413 for too much), never a failure of ours."""
    document, signature, sentence = REFUSED[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(document, signature)
    assert STATUS[caught.value.kind] == (413 if case == "too many rows" else 400)
    answer = PROTOCOL.error(caught.value, "r")
    assert orjson.loads(answer.body)["error"] == str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        '{"inputs":%s}',
        '{"id":%s,"inputs":[]}',
        '{"parameters":{"routing_key":%s},"inputs":[]}',
        '{"inputs":[{"name":"x","datatype":"%%s","shape":[1],"data":%s}]}',
        '{"inputs":[{"name":"x","datatype":"%%s","shape":%s,"data":[1]}]}',
        '{"inputs":[{"name":"x","datatype":%s,"shape":[1],"data":[1]}]}',
    ],
)
@pytest.mark.parametrize("datatype", ["FP64", "BYTES"])
@pytest.mark.parametrize("inner", [DEEP, b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 1_000_000])
def test_deep_nesting_is_refused(where: str, datatype: str, inner: bytes) -> None:
    """JSON nests deeper than Python calls; nobody gets a recursion error for it, nor a long echo."""
    body = where.encode().replace(b"%%s", datatype.encode()).replace(b"%s", inner)
    with pytest.raises(RequestError) as caught:
        parse(body, column(datatype))
    assert len(str(caught.value)) < 400


def test_a_long_string_among_many_numbers_costs_nothing() -> None:
    """numpy would make every element as long as the longest: here 40 GB."""
    with pytest.raises(InvalidInput, match=r"data\[10000\]: expected FP64, got string 'xxx") as caught:
        parse(tensor([1] * 10_000 + ["x" * 1_000_000]), column("FP64"))
    assert len(str(caught.value)) < 300


def test_the_violation_says_where() -> None:
    """For programs: path, kind, wanted, got."""
    with pytest.raises(InvalidInput) as caught:
        parse(VALID | {"inputs": [CITY, VISITS | {"data": [1, "n/a"]}, MEMBER]})
    assert caught.value.violations == (Violation("$.inputs[1].data[1]", "type_mismatch", "INT64", "string 'n/a'"),)


@given(values)
@example([[]])
@example({"inputs": [{"name": "city", "datatype": {}, "shape": None, "data": None}]})
def test_whatever_is_sent_is_refused_or_understood(document: Any) -> None:
    """Any JSON value, against three signatures."""
    for signature in (MIXED, NUMBERS, TENSOR):
        accept(PROTOCOL, json.dumps(document).encode(), signature)


@given(mutated([VALID]))
def test_a_table_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """One to three things changed in a valid request of mixed columns."""
    accept(PROTOCOL, body, MIXED)


@given(mutated([IMAGE]))
def test_a_tensor_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """The same of a tensor."""
    accept(PROTOCOL, body, TENSOR)


@given(mutated([MATRIX]))
def test_a_matrix_with_a_fault_is_refused_or_understood(body: bytes) -> None:
    """The same of all columns in one matrix."""
    accept(PROTOCOL, body, NUMBERS)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused(body: bytes) -> None:
    """No request is that short."""
    assert accept(PROTOCOL, body, MIXED) is None


def test_the_valid_documents_are_valid() -> None:
    """Else their mutations would prove little."""
    assert accept(PROTOCOL, orjson.dumps(VALID), MIXED) is not None
    assert accept(PROTOCOL, orjson.dumps(IMAGE), TENSOR) is not None
    assert accept(PROTOCOL, orjson.dumps(MATRIX), NUMBERS) is not None


# What is answered


def answer(outputs: dict[str, Any], request: InferenceRequest | None = None) -> Any:
    asked = request or InferenceRequest({}, 2)
    return orjson.loads(PROTOCOL.render(Answer(asked, outputs, "wine", "3", "candidate", "r1", "0190-uuid")).body)


def test_an_answer_in_full() -> None:
    """Name, version, id, the prediction's own id, and a tensor per output with flat data."""
    labels = np.array(["yes", None], dtype=object)
    found = answer({"predict": labels, "proba": np.array([[0.25, 0.75], [1, 0]], dtype=np.float32)})
    assert found == {
        "model_name": "wine",
        "model_version": "3",
        "id": "r1",
        "parameters": {"role": "candidate", "prediction_id": "0190-uuid"},
        "outputs": [
            {"name": "predict", "shape": [2], "datatype": "BYTES", "data": ["yes", None]},
            {"name": "proba", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, 1, 0]},
        ],
    }


def test_the_callers_id_is_returned() -> None:
    """Whatever it looks like, as the protocol demands, though only a plain one becomes the request's id."""
    assert answer({}, InferenceRequest({}, 1, request_id="käse 7\r\n"))["id"] == "käse 7\r\n"


@pytest.mark.parametrize("code", "?BHILbhilefd")
def test_every_type_of_output_is_rendered(code: str) -> None:
    """With its own datatype, from memory of any order."""
    array = np.arange(12).reshape(3, 4)[:, 1:3].astype(code, order="F")
    (found,) = answer({"y": array})["outputs"]
    assert (found["shape"], found["data"]) == ([3, 2], array.ravel().tolist())


def test_numbers_that_json_lacks_have_names() -> None:
    """NaN and infinity have no JSON; a request may hold the same strings."""
    (found,) = answer({"y": np.array([np.nan, np.inf, -np.inf, 1])})["outputs"]
    assert found["data"] == ["NaN", "Infinity", "-Infinity", 1]
    assert parse(tensor(found["data"]), column("FP64")).inputs["x"].tolist()[1:] == [np.inf, -np.inf, 1]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 2, 1, 2)])
def test_an_output_may_have_any_shape(shape: tuple[int, ...]) -> None:
    """A scalar has no sizes and one value; a tensor without values an empty list."""
    array = np.ones(shape, dtype=np.int64)
    assert answer({"y": array})["outputs"] == [
        {"name": "y", "shape": list(shape), "datatype": "INT64", "data": array.ravel().tolist()}
    ]


def test_an_error_is_one_string() -> None:
    """As clients of this protocol expect, whatever its kind; what was violated stands beside it."""
    failed = PROTOCOL.error(PredictionFailed("It broke."), "r")
    assert (failed.status, failed.content_type, orjson.loads(failed.body)) == (
        500,
        b"application/json",
        {"error": "It broke."},
    )
    refused = PROTOCOL.error(InvalidRequest("No.", (Violation("$.a", "k", "w", "g"),)), "r")
    assert (refused.status, orjson.loads(refused.body)) == (
        400,
        {"error": "No.", "violations": [{"path": "$.a", "kind": "k", "wanted": "w", "got": "g"}]},
    )
