"""Bodies that a careless or hostile client sends: anything at all, and valid documents with one thing changed."""

from __future__ import annotations

import copy
import json
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import strategies as st

from serinus.models import Field, Signature
from serinus.serving.errors import RequestError
from serinus.serving.inputs import validate
from serinus.serving.protocols import STATUS, Headers, Protocol
from serinus.serving.request import InferenceRequest

MIXED = Signature(
    (
        Field("city", "BYTES", (-1,)),
        Field("age", "FP64", (-1,), optional=True),
        Field("visits", "INT64", (-1,)),
        Field("member", "BOOL", (-1,)),
    ),
    (Field("predict", "FP64", (-1,)),),
)
NUMBERS = Signature(
    (Field("a", "FP64", (-1,)), Field("b", "FP32", (-1,), optional=True), Field("n", "INT32", (-1,))),
    (Field("predict", "FP64", (-1,)),),
)
TENSOR = Signature((Field("image", "FP32", (-1, 2, 3)),), (Field("probability", "FP32", (-1, 2)),))
MAX_ROWS = 50

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["FP64", "BYTES", "BOOL", "city", "age", "input", "image", "NaN", 2**63, -1, 0, 1e300]),
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "inputs", "rows", "parameters", "binary_data_size", "binary_data",
                 "binary_data_output", "routing_key", "prediction_key", "id", "city"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> bytes:
    """A valid document in which one to three things were replaced, removed or doubled."""
    document = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("replace", "remove", "double"))):
            case "replace":
                parent[key] = draw(values)
            case "remove":
                del parent[key]
            case _ if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            case _:
                parent[f"{key}2"] = parent[key]
    return json.dumps(document).encode()


class Call(NamedTuple):
    """A body with the value of its header Inference-Header-Content-Length."""

    body: bytes
    json_length: bytes


@st.composite
def damaged(draw: st.DrawFn, document: Any, tail: bytes) -> Call:
    """A valid request with binary tensors in which the document, the tail or the header was damaged, or all three."""
    text = draw(st.one_of(st.just(json.dumps(document).encode()), mutated([document])))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(tail)))
        stop = draw(st.integers(start, len(tail)))
        tail = tail[:start] + draw(st.binary(max_size=9)) + tail[stop:]
    length = draw(st.one_of(st.just(len(text)), st.integers(-5, len(text) + len(tail) + 5), st.just(0)))
    header = draw(st.one_of(st.just(b"%d" % length), st.binary(max_size=4)))
    return Call(text + tail, header)


def _places(document: Any) -> Any:
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in pairs:
        yield document, key
        yield from _places(value)


def accept(
    protocol: Protocol, body: bytes, signature: Signature, headers: Headers = MappingProxyType({})
) -> InferenceRequest | None:
    """The request, or None when it was refused in the right way; a request is exactly what the signature says."""
    try:
        request = validate(protocol.parse(body, headers, signature), signature, MAX_ROWS)
    except RequestError as error:
        assert error.kind in ("invalid_request", "invalid_input", "too_large")
        assert STATUS[error.kind] in (400, 413)
        assert len(str(error)) < 600
        answer = protocol.error(error, "r")
        assert 400 <= answer.status < 500
        json.loads(answer.body)
        return None
    assert 1 <= request.rows <= MAX_ROWS
    known = {field.name: field for field in signature.inputs}
    assert {name for name, field in known.items() if not field.optional} <= set(request.inputs) <= set(known)
    for name, array in request.inputs.items():
        field = known[name]
        assert array.dtype == field.dtype
        assert array.shape == (request.rows, *field.shape[1:])
        assert array.dtype.kind != "O" or all(isinstance(value, str) for value in array.flat)
    assert request.request_id is None or isinstance(request.request_id, str)
    assert request.routing_key is None or isinstance(request.routing_key, str)
    assert request.prediction_keys is None or isinstance(request.prediction_keys, str | tuple)
    return request
