"""The floor: an ASGI function that decodes, runs and encodes, and does nothing else.

No validation, no framework, no log: whatever serves this protocol and this model in Python costs at least this.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"])
datatypes = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}
outputs = [(output.name, datatypes[output.type]) for output in session.get_outputs()]
headers = [(b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer an Open Inference Protocol request; every GET is the readiness probe."""
    answer = b"{}" if scope["method"] == "GET" else infer(await read(receive))
    length = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers + length})
    await send({"type": "http.response.body", "body": answer})


async def read(receive: Any) -> bytes:
    """Return the whole body."""
    message = await receive()
    if not message.get("more_body"):
        return bytes(message["body"])
    body = bytearray(message["body"])
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return bytes(body)


def infer(body: bytes) -> bytes:
    """Return the answer to one request."""
    tensor = orjson.loads(body)["inputs"][0]
    rows = np.asarray(tensor["data"], np.float32).reshape(tensor["shape"])
    arrays = session.run(None, {tensor["name"]: rows})
    answers = [
        {"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel()}
        for (name, datatype), array in zip(outputs, arrays, strict=True)
    ]
    answer = {"model_name": "breast", "model_version": "1", "outputs": answers}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
