"""Binary tensors: the same values as in JSON, and one sentence for every way in which bytes and JSON disagree."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serinus.models import DATATYPES, Field, Signature
from serinus.serving.errors import RequestError
from serinus.serving.inputs import validate
from serinus.serving.protocols import STATUS
from serinus.serving.protocols.binary_tensors import Tail, decode, encode
from serinus.serving.protocols.open_inference import OpenInference
from serinus.serving.request import Answer, InferenceRequest
from tests.serving.asgi import Line, people_model
from tests.serving.protocols.hostile import MIXED, NUMBERS, Call, accept, damaged

PROTOCOL = OpenInference()
LENGTH = b"inference-header-content-length"
NUMERIC = [name for name in DATATYPES if name != "BYTES"]


def column(datatype: str, *shape: int, optional: bool = False) -> Signature:
    return Signature((Field("x", datatype, shape or (-1,), optional=optional),), ())


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def head(datatype: str, shape: Any, size: Any, name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def parse(document: Any, tail: bytes, signature: Signature, **changes: Any) -> InferenceRequest:
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    length = changes.get("length", b"%d" % len(text))
    request = PROTOCOL.parse(text + tail, {LENGTH: length} if length is not None else {}, signature)
    return validate(request, signature, 50)


# What is accepted

CITIES = texts("Bern", "Zürich")
AGES = np.array([40.5, np.nan])
REQUEST = {
    "id": "q1",
    "inputs": [
        head("BYTES", [2], len(CITIES), "city"),
        head("FP64", [2, 1], AGES.nbytes, "age"),
        {"name": "visits", "datatype": "INT64", "shape": [2], "data": [1, 2]},
        head("BOOL", [2], 2, "member"),
    ],
    "parameters": {"binary_data_output": True},
}
TAIL = CITIES + AGES.tobytes() + b"\1\0"


def test_a_request_in_full() -> None:
    """Tensors in bytes and in JSON side by side, in the signature's order; the reply is wanted in bytes."""
    request = parse(REQUEST, TAIL, MIXED)
    assert list(request.inputs) == ["city", "age", "visits", "member"]
    assert request.inputs["city"].tolist() == ["Bern", "Zürich"]
    assert np.array_equal(request.inputs["age"], AGES, equal_nan=True)
    assert request.inputs["visits"].tolist() == [1, 2]
    assert request.inputs["member"].tolist() == [True, False]
    assert (request.rows, request.request_id) == (2, "q1")
    assert request.reply.wants("anything")


@given(st.data())
def test_numbers_are_the_very_bits(data: st.DataObject) -> None:
    """Of every numeric datatype and shape, zero sizes included, wherever in the body the bytes stand."""
    datatype = data.draw(st.sampled_from(NUMERIC))
    shape = data.draw(st.lists(st.integers(0, 3), max_size=3))
    size = int(np.prod(shape)) * DATATYPES[datatype].itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    raw = bytes(byte & 1 for byte in raw) if datatype == "BOOL" else raw
    padding = b" " * data.draw(st.integers(0, 8))
    signature = Signature((Field("x", datatype, ()),), ())
    array = parse(orjson.dumps({"inputs": [head(datatype, shape, size)]}) + padding, raw, signature).inputs["x"]
    assert (array.dtype, array.shape, array.tobytes()) == (DATATYPES[datatype], tuple(shape), raw)
    assert array.flags.aligned and array.flags.writeable and array.flags.c_contiguous
    assert encode(array) == raw


@given(st.lists(st.text(max_size=6), max_size=6))
def test_texts_are_the_very_characters(values: list[str]) -> None:
    """Empty ones, other scripts and zero bytes too."""
    array = decode(memoryview(texts(*values)), "BYTES", [len(values), 1], "$")
    assert (array.dtype, array.shape, array.ravel().tolist()) == (np.dtype(object), (len(values), 1), values)
    assert encode(array) == texts(*values)


def test_numbers_are_little_endian() -> None:
    """Whatever the array's own order is, and from memory of any layout."""
    assert encode(np.array([1, 2], dtype=">i2")) == b"\1\0\2\0"
    assert encode(np.arange(6, dtype="<u2").reshape(2, 3).T) == b"\0\0\3\0\1\0\4\0\2\0\5\0"
    assert decode(memoryview(b"\0\x3c"), "FP16", [1], "$").tolist() == [1.0]


def test_a_missing_text_becomes_an_empty_one() -> None:
    """The format has no other; text that came as bytes stays as it is."""
    assert encode(np.array(["a", None, b"\xff"], dtype=object)) == texts("a", "") + b"\1\0\0\0\xff"


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [("INT8", "INT64"), ("UINT32", "INT64"), ("INT16", "FP32"), ("INT64", "FP64"), ("UINT64", "FP64"),
     ("FP32", "FP64"), ("FP16", "FP32")],
)
def test_a_narrower_number_is_widened(declared: str, wanted: str) -> None:
    """Where every value can be kept."""
    array = np.array([1, 100], dtype=DATATYPES[declared])
    request = parse({"inputs": [head(declared, [2], array.nbytes)]}, array.tobytes(), column(wanted))
    assert (request.inputs["x"].dtype, request.inputs["x"].tolist()) == (DATATYPES[wanted], [1, 100])


def test_numeric_columns_may_come_as_one_matrix() -> None:
    """Named `input`, as in JSON; NaN is a value like any other."""
    matrix = np.array([[1.5, np.nan, 3], [np.nan, 5, 6]])
    request = parse({"inputs": [head("FP64", [2, 3], matrix.nbytes, "input")]}, matrix.tobytes(), NUMBERS)
    assert np.array_equal(request.inputs["a"], [1.5, np.nan], equal_nan=True)
    assert request.inputs["n"].tolist() == [3, 6]


def test_a_header_over_plain_json_is_fine() -> None:
    """All of the body is JSON then."""
    document = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2], "data": [1.5, 2]}]}
    assert parse(document, b"", column("FP64")).inputs["x"].tolist() == [1.5, 2]
    empty = head("FP64", [0, 3], 0)
    assert parse({"inputs": [empty]}, b"", column("FP64", 0, 3)).inputs["x"].shape == (0, 3)


# A body without JSON


@pytest.mark.parametrize(
    ("signature", "body", "shape", "rows"),
    [
        (column("FP32"), bytes(12), (3,), 3),
        (column("FP32", -1, 4), bytes(32), (2, 4), 2),
        (column("INT64", 2, 2), bytes(32), (2, 2), 1),
        (column("UINT8", 1, -1, 3), bytes(6), (1, 2, 3), 1),
        (column("BYTES"), b"a text, not framed", (1,), 1),
        (column("BYTES", -1, 1), b"", (1, 1), 1),
        (column("BYTES", 1), "Zürich".encode(), (1,), 1),
        (Signature((Field("o", "FP64", (-1,), optional=True), Field("x", "BOOL", (-1,))), ()), b"\1\0", (2,), 2),
    ],
)
def test_a_lone_tensor_needs_no_json(signature: Signature, body: bytes, shape: tuple[int, ...], rows: int) -> None:
    """Header value 0: the model's only (required) input, its shape worked out, the reply in bytes."""
    request = parse(b"", body, signature, length=b"0")
    assert (request.inputs["x"].shape, request.rows) == (shape, rows)
    assert request.inputs["x"].tobytes() == body or request.inputs["x"].ravel().tolist() == [body.decode()]
    assert request.reply.wants("y")


REFUSED_ALONE: dict[str, tuple[bytes, Signature, str]] = {
    "several inputs": (bytes(8), NUMBERS, "means one tensor without JSON, and the model wants 'a', 'b', 'n'"),
    "no inputs": (b"", Signature((), ()), "the model takes no inputs"),
    "a sequence": (bytes(4), Signature((Field("x", "FP32", (-1,), sequence=True),), ()), r"the model wants 'x\[0\]'"),
    "two open sizes": (bytes(4), column("FP32", -1, -1), "leaves more than one size open"),
    "any shape": (bytes(4), Signature((Field("x", "FP32", ()),), ()), "leaves more than one size open"),
    "half a number": (bytes(6), column("FP32"), "expected a multiple of 4 bytes"),
    "half a row": (bytes(12), column("FP32", -1, 2), "expected a multiple of 8 bytes"),
    "another fixed size": (bytes(12), column("FP32", 2), r"shape \[2\] of FP32 takes 8 bytes, got 12"),
    "an empty row": (bytes(4), column("FP32", -1, 0), "multiple of 0 bytes"),
    "several texts": (b"a", column("BYTES", -1, 2), "holds more than one text"),
    "not UTF-8": (b"\xff", column("BYTES"), "expected UTF-8 in every text"),
    "no rows": (b"", column("FP32"), "The request has no rows"),
}


@pytest.mark.parametrize("case", REFUSED_ALONE)
def test_a_lone_tensor_that_is_not_plain_is_refused(case: str) -> None:
    """By its reason."""
    body, signature, sentence = REFUSED_ALONE[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(b"", body, signature, length=b"0")
    assert STATUS[caught.value.kind] == 400


# What is refused

ONE = {"inputs": [head("FP64", [2], 16)]}
REFUSED: dict[str, tuple[Any, bytes, Signature, str]] = {
    "bytes missing": (ONE, bytes(15), column("FP64"), r"binary_data_size: expected at most the 15 bytes .* got 16"),
    "bytes left over": (ONE, bytes(17), column("FP64"), "17 bytes follow the JSON, and .* sum to 16"),
    "bytes behind plain JSON": (
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}]},
        b"\n",
        column("FP64"),
        "1 bytes follow the JSON",
    ),
    "another size than the shape's": (
        {"inputs": [head("FP64", [3], 16)]},
        bytes(16),
        column("FP64"),
        r"\$\.inputs\[0\]: shape \[3\] of FP64 takes 24 bytes, got 16",
    ),
    "a negative size": ({"inputs": [head("FP64", [1], -8)]}, b"", column("FP64"), "number of bytes, got int -8"),
    "a size that is text": ({"inputs": [head("FP64", [1], "8")]}, b"", column("FP64"), "of bytes, got string '8'"),
    "a size that is true": ({"inputs": [head("BOOL", [1], True)]}, b"\1", column("BOOL"), "number of bytes, got bool"),
    "a size with a fraction": ({"inputs": [head("FP64", [1], 8.0)]}, bytes(8), column("FP64"), "got float 8.0"),
    "an enormous size": ({"inputs": [head("FP64", [1], 2**63)]}, bytes(8), column("FP64"), "at most the 8 bytes"),
    "values twice": (
        {"inputs": [head("FP64", [1], 8) | {"data": [1]}]},
        bytes(8),
        column("FP64"),
        "expected data or binary_data_size, got both",
    ),
    "no shape": ({"inputs": [head("FP64", None, 8)]}, bytes(8), column("FP64"), "expected a list of sizes, got null"),
    "a negative length": ({"inputs": [head("FP64", [-1], 8)]}, bytes(8), column("FP64"), "expected a list of sizes"),
    "an enormous shape": ({"inputs": [head("FP64", [2**62] * 9, 8)]}, bytes(8), column("FP64"), "takes .* bytes, got"),
    "an enormous shape of nothing": (
        {"inputs": [head("FP64", [0, 2**62, 2**62], 0)]},
        b"",
        column("FP64", -1, -1, -1),
        r"\.shape: expected sizes that an array can have",
    ),
    "more dimensions than arrays have": (
        {"inputs": [head("FP64", [1] * 100_000, 8)]},
        bytes(8),
        column("FP64"),
        "at most 64 dimensions, got 100000",
    ),
    "another shape than the model's": (
        {"inputs": [head("FP64", [1, 2], 16)]},
        bytes(16),
        column("FP64"),
        r"expected shape \[-1\], got shape \[1, 2\]",
    ),
    "a wider datatype": (
        ONE,
        bytes(16),
        column("FP32"),
        "expected datatype FP32 or one that widens to it, got FP64. Send FP32.",
    ),
    "a fraction for an integer": ({"inputs": [head("FP16", [1], 2)]}, bytes(2), column("INT64"), "INT64 or .*got FP16"),
    "signed for unsigned": ({"inputs": [head("INT8", [1], 1)]}, b"\1", column("UINT64"), "UINT64 or .* got INT8"),
    "a boolean for a number": ({"inputs": [head("BOOL", [1], 1)]}, b"\1", column("FP64"), "FP64 or .* got BOOL"),
    "a number for a boolean": ({"inputs": [head("UINT8", [1], 1)]}, b"\1", column("BOOL"), "BOOL or .* got UINT8"),
    "an integer that a double skips": (
        {"inputs": [head("INT64", [2], 16)]},
        struct.pack("<qq", 1, -(2**53) - 1),
        column("FP64"),
        "integers up to 9007199254740992, which FP64 holds exactly, got -9007199254740993",
    ),
    "text for numbers": ({"inputs": [head("BYTES", [1], 5)]}, texts("a"), column("FP64"), "FP64, got BYTES"),
    "a boolean of another value": (
        {"inputs": [head("BOOL", [2], 2)]},
        b"\1\2",
        column("BOOL"),
        r"\$\.inputs\[0\]: expected a byte 0 or 1 for every BOOL, got 2",
    ),
    "too few texts": (
        {"inputs": [head("BYTES", [3], 10)]},
        texts("a", "b"),
        column("BYTES"),
        r"shape \[3\] wants 3 texts, got 2",
    ),
    "a text that runs out": (
        {"inputs": [head("BYTES", [2], 9)]},
        texts("a") + b"\5\0\0\0",
        column("BYTES"),
        "text 1 takes 9 bytes with its length, and 4 are left",
    ),
    "a length that runs out": (
        {"inputs": [head("BYTES", [1], 3)]},
        b"\1\0\0",
        column("BYTES"),
        "text 0 takes 4 bytes with its length, and 3 are left",
    ),
    "an enormous length": (
        {"inputs": [head("BYTES", [1], 4)]},
        b"\xff\xff\xff\xff",
        column("BYTES"),
        "text 0 takes 4294967299 bytes",
    ),
    "a text that is not UTF-8": (
        {"inputs": [head("BYTES", [2], 10)]},
        texts("a") + b"\1\0\0\0\xff",
        column("BYTES"),
        r"\$\.inputs\[0\]: expected UTF-8 in every text, got .* in text 1",
    ),
    "an unknown datatype": ({"inputs": [head("BF16", [1], 2)]}, bytes(2), column("FP32"), "datatype: expected one of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bytes_that_disagree_are_refused_in_one_sentence(case: str) -> None:
    """Where, what was wanted, what came; status 400, and nothing large is made on the way."""
    document, tail, signature, sentence = REFUSED[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        parse(document, tail, signature)
    assert STATUS[caught.value.kind] == 400
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "header", [b"", b"-1", b"+5", b"1e3", b"0x10", b"abc", b"\xff", b"999999999", b"9" * 5000, "٣".encode(), b"1.0"]
)
def test_a_header_that_no_body_can_have_is_refused(header: bytes) -> None:
    """With what it may be."""
    with pytest.raises(RequestError, match="Inference-Header-Content-Length: expected the size of the JSON") as caught:
        parse(ONE, bytes(16), column("FP64"), length=header)
    assert len(str(caught.value)) < 300


def test_a_header_that_cuts_the_json_is_refused() -> None:
    """What is left is no JSON."""
    with pytest.raises(RequestError, match="The body is not JSON"):
        parse(ONE, bytes(16), column("FP64"), length=b"10")


def test_bytes_are_taken_in_order() -> None:
    """Never twice, never beyond the end."""
    tail = Tail(memoryview(b"abc"))
    assert bytes(tail.take(2, "$")) == b"ab"
    assert bytes(tail.take(1, "$")) == b"c"
    assert bytes(tail.take(0, "$")) == b""
    tail.check_end()


@given(damaged(REQUEST, TAIL))
@example(Call(orjson.dumps(REQUEST) + TAIL, b"%d" % len(orjson.dumps(REQUEST))))
@example(Call(orjson.dumps(REQUEST) + TAIL, b"0"))
def test_a_damaged_request_is_refused_or_understood(call: Call) -> None:
    """Document, bytes and header, damaged alone or together: a sentence or a request, and nothing else."""
    accept(PROTOCOL, call.body, MIXED, {LENGTH: call.json_length})


@given(damaged({"inputs": [head("FP64", [2, 3], 48, "input")]}, np.arange(6.0).tobytes()))
def test_a_damaged_matrix_is_refused_or_understood(call: Call) -> None:
    """The same of all columns in one matrix."""
    accept(PROTOCOL, call.body, NUMBERS, {LENGTH: call.json_length})


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_refused_or_understood(body: bytes, length: int) -> None:
    """A lone text or number may be anything, a document may not."""
    for datatype in ("BYTES", "FP32", "BOOL"):
        accept(PROTOCOL, body, column(datatype), {LENGTH: b"%d" % length})


def test_the_valid_request_is_valid() -> None:
    """Else its damages would prove little."""
    text = orjson.dumps(REQUEST)
    assert accept(PROTOCOL, text + TAIL, MIXED, {LENGTH: b"%d" % len(text)}) is not None


# Through the whole line


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_a_table_in_bytes_is_answered_and_logged(tmp_path: Path, encoding: str) -> None:
    """The same prediction as in JSON, the same record in the log; the header counts the bytes before compression."""
    packed = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    row = np.array([3], dtype=np.int64).tobytes()
    tensors = [head("BYTES", [1], 8, "city"), head("INT64", [1], 8, "visits"), head("BOOL", [1], 1, "member")]
    text = orjson.dumps({"inputs": tensors, "outputs": [{"name": "predict", "parameters": {"binary_data": True}}]})
    line = Line(tmp_path, {"people": {"1": people_model()}})
    found = line.call("POST", "/v2/models/people/infer", packed(text + texts("Bern") + row + b"\1"),
                      inference_header_content_length=str(len(text)), content_encoding=encoding)
    line.close()
    assert (found.status, found.headers["content-type"]) == (200, "application/octet-stream")
    length = int(found.headers[LENGTH.decode()])
    assert orjson.loads(found.body[:length])["outputs"] == [head("FP64", [1], 8, "predict")]
    assert np.frombuffer(found.body[length:]).tolist() == [4.0]
    (record,) = line.records()
    assert {name: array.tolist() for name, array in record.inputs.items()} == {
        "city": ["Bern"], "visits": [3], "member": [True]
    }


# What is answered

OUTPUTS: dict[str, NDArray[Any]] = {
    "label": np.array(["ja", "nein"], dtype=object),
    "probability": np.array([[0.25, 0.75], [np.nan, 0]], dtype=np.float32),
    "seen[0]": np.array(True),
}


def answer(request: InferenceRequest) -> tuple[Any, dict[str, Any], str, bytes]:
    """The document, the tensors behind it, the content type and the further headers."""
    rendered = PROTOCOL.render(Answer(request, OUTPUTS, "wine", "3", "stable", "r1", "0190-uuid"))
    name, _, size = rendered.head.partition(b": ")
    assert name in (b"", LENGTH)
    length = int(size) if size else len(rendered.body)
    document, tail = orjson.loads(rendered.body[:length]), Tail(memoryview(rendered.body)[length:])
    tensors = {
        output["name"]: decode(tail.take(output["parameters"]["binary_data_size"], "$"), output["datatype"],
                               output["shape"], "$")
        for output in document["outputs"]
        if "data" not in output
    }
    tail.check_end()
    return document, tensors, rendered.content_type.decode(), rendered.head


def wishes(outputs: Any = None, **parameters: Any) -> InferenceRequest:
    tensor = {"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}
    document = {"inputs": [tensor], "parameters": parameters, "outputs": outputs}
    return PROTOCOL.parse(orjson.dumps(document), {}, column("FP64"))


def test_all_outputs_come_in_bytes() -> None:
    """As `binary_data_output` asks: the same document without data, and the tensors behind it in order."""
    document, tensors, content_type, _ = answer(wishes(binary_data_output=True))
    assert content_type == "application/octet-stream"
    assert (document["model_name"], document["id"]) == ("wine", "r1")
    assert document["outputs"] == [
        head("BYTES", [2], 14, "label"), head("FP32", [2, 2], 16, "probability"), head("BOOL", [], 1, "seen[0]")
    ]
    for name, array in OUTPUTS.items():
        assert tensors[name].tobytes() == array.tobytes() or tensors[name].tolist() == array.tolist()


@pytest.mark.parametrize(
    ("flags", "everything", "expected"),
    [
        ({}, None, []),
        ({}, False, []),
        ({"label": True}, None, ["label"]),
        ({"label": True, "probability": False}, None, ["label"]),
        ({"label": False}, True, ["probability", "seen[0]"]),
        ({"seen": True}, False, ["seen[0]"]),
        ({"seen": False}, True, ["label", "probability"]),
        ({"label": False, "probability": False, "seen": False}, True, []),
    ],
)
def test_each_output_comes_as_it_was_asked_for(flags: dict[str, bool], everything: Any, expected: list[str]) -> None:
    """An output's own `binary_data` goes before the request's `binary_data_output`; a sequence's is its tensors'."""
    outputs = [{"name": name, "parameters": {"binary_data": flag}} for name, flag in flags.items()]
    document, tensors, content_type, further = answer(wishes(outputs, binary_data_output=everything))
    assert list(tensors) == expected
    assert content_type == ("application/octet-stream" if expected else "application/json")
    assert bool(further) == bool(expected)
    plain = {output["name"]: output["data"] for output in document["outputs"] if "data" in output}
    assert plain.get("probability", []) in ([], [0.25, 0.75, "NaN", 0])
