"""What KServe's `InferenceRESTClient` gets from the server, in both of its protocols."""

import asyncio
import logging

import numpy as np
from cases import GIVEN, case, report
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

URL = GIVEN["url"]
IRIS = np.array(GIVEN["iris_rows"])
MATRIX = IRIS.astype(np.float32)
ROWS = [dict(zip(GIVEN["iris_columns"], row, strict=True)) for row in GIVEN["iris_rows"]]


def with_client(protocol, call):
    async def run():
        async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0, timeout=30)) as client:
            return await call(client)

    return asyncio.run(run())


def column(name, array, binary, datatype="FP64"):
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def columns(binary):
    return [column(name, IRIS[:, number].copy(), binary) for number, name in enumerate(GIVEN["iris_columns"])]


def infer(model, inputs, **given):
    request = InferRequest(model_name=model, infer_inputs=inputs, **given)
    answer = with_client("v2", lambda client: client.infer(URL, request, model_name=model))
    return {"id": answer.id, "model": answer.model_name} | {
        output.name: output.as_numpy() for output in answer.outputs}


@case
def health():
    async def look(client):
        return {"live": await client.is_server_live(URL), "ready": await client.is_server_ready(URL),
                "model": await client.is_model_ready(URL, "iris"), "other": await client.is_model_ready(URL, "nope")}

    return with_client("v2", look)


@case
def health_v1():
    async def look(client):
        return {"live": await client.is_server_live(URL), "model": await client.is_model_ready(URL, "iris")}

    return with_client("v1", look)


@case
def v2_json():
    return infer("iris", columns(False), request_id="mine-7")


@case
def v2_binary():
    return infer("iris", columns(True), request_id="mine-7")


@case
def v2_binary_outputs():
    """It asks for every output as bytes."""
    return infer("iris", columns(True), parameters={"binary_data_output": True})


@case
def v2_mixed():
    return infer("iris", columns(True)[:2] + columns(False)[2:])


@case
def v2_matrix():
    return infer("matrix", [column("input", MATRIX, False, "FP32")])


@case
def v2_matrix_binary():
    return infer("matrix", [column("input", MATRIX, True, "FP32")])


@case
def v2_strings():
    return infer("kinds", [column("input", MATRIX, True, "FP32")])


@case
def v2_error():
    return infer("matrix", [column("input", MATRIX[:, :3].copy(), True, "FP32")])


@case
def v2_unknown_model():
    return infer("nope", columns(True))


@case
def v1_rows():
    return with_client("v1", lambda client: client.infer(URL, {"instances": ROWS}, model_name="iris"))


@case
def v1_lists():
    return with_client("v1", lambda client: client.infer(URL, {"instances": IRIS.tolist()}, model_name="matrix"))


@case
def v1_error():
    return with_client("v1", lambda client: client.infer(URL, {"rows": []}, model_name="iris"))


if __name__ == "__main__":
    logging.disable()
    report()
