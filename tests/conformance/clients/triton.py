"""What NVIDIA's `tritonclient.http` gets from the server, call by call."""

import numpy as np
import tritonclient.http as triton
from cases import GIVEN, case, report

HOST = GIVEN["url"].split("//", 1)[1]
IRIS = np.array(GIVEN["iris_rows"])
MATRIX = IRIS.astype(np.float32)
TYPES = {
    "half": np.array([1.5, -0.25, 65504.0], np.float16), "text": np.array(["Zürich", "", "a\0b"], object),
    "flag": np.array([True, False, True]), "big": np.array([0, 2**53 + 1, 2**64 - 1], np.uint64),
    "small": np.array([-128, 0, 127], np.int8), "exact": np.array([0.1, -1e300, 5e-324]),
}
NAMES = {"float16": "FP16", "object": "BYTES", "bool": "BOOL", "uint64": "UINT64", "int8": "INT8", "float64": "FP64",
         "float32": "FP32"}

client = triton.InferenceServerClient(HOST, concurrency=16)


def tensor(name, array, binary=True):
    given = triton.InferInput(name, list(array.shape), NAMES[str(array.dtype)])
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def columns(binary=True):
    return [tensor(name, np.ascontiguousarray(IRIS[:, number]), binary if isinstance(binary, bool) else binary[number])
            for number, name in enumerate(GIVEN["iris_columns"])]


def asked(*names, binary=True):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def told(result, *names):
    return {name: result.as_numpy(name) for name in names}


def infer_iris(inputs, outputs=None, **given):
    return told(client.infer("iris", inputs, outputs=outputs, **given), "predict", "predict_proba")


@case
def health():
    return {"live": client.is_server_live(), "ready": client.is_server_ready(), "model": client.is_model_ready("iris"),
            "version": client.is_model_ready("iris", "2"), "other": client.is_model_ready("nope"),
            "other_version": client.is_model_ready("iris", "77")}


@case
def server_metadata():
    return client.get_server_metadata()


@case
def model_metadata():
    return client.get_model_metadata("iris")


@case
def matrix_metadata():
    return client.get_model_metadata("matrix")


@case
def version_metadata():
    return client.get_model_metadata("iris", "2")


@case
def unknown_metadata():
    return client.get_model_metadata("nope")


@case
def config():
    return client.get_model_config("iris")


@case
def binary():
    return infer_iris(columns())


@case
def json_both_ways():
    return infer_iris(columns(False), asked("predict", "predict_proba", binary=False))


@case
def json_in_binary_out():
    return infer_iris(columns(False), asked("predict", "predict_proba"))


@case
def mixed_inputs_and_outputs():
    outputs = asked("predict", binary=False) + asked("predict_proba")
    return infer_iris(columns([True, False, False, True]), outputs)


@case
def one_output():
    return told(client.infer("iris", columns(), outputs=asked("predict_proba")), "predict", "predict_proba")


@case
def any_order():
    return infer_iris(columns()[::-1])


@case
def column_as_matrix():
    return infer_iris([tensor(name, IRIS[:, number:number + 1].copy())
                       for number, name in enumerate(GIVEN["iris_columns"])])


@case
def columns_as_one_matrix():
    return infer_iris([tensor("input", IRIS)])


@case
def version_2():
    result = client.infer("iris", columns(), model_version="2")
    return {**told(result, "predict", "predict_proba"), "version": result.get_response()["model_version"]}


@case
def matrix_binary():
    return told(client.infer("matrix", [tensor("input", MATRIX)]), "label", "probabilities")


@case
def matrix_json():
    result = client.infer("matrix", [tensor("input", MATRIX, False)],
                          outputs=asked("label", "probabilities", binary=False))
    return told(result, "label", "probabilities")


@case
def string_labels():
    return [told(client.infer("kinds", [tensor("input", MATRIX)], outputs=asked("label", binary=binary)), "label")
            for binary in (True, False)]


@case
def no_rows():
    return client.infer("matrix", [tensor("input", MATRIX[:0])])


@case
def types_binary():
    result = client.infer("types", [tensor(name, array) for name, array in TYPES.items()])
    return told(result, *(f"{name}_out" for name in TYPES))


@case
def types_json():
    names = [f"{name}_out" for name in TYPES]
    result = client.infer("types", [tensor(name, array, False) for name, array in TYPES.items()],
                          outputs=asked(*names, binary=False))
    return told(result, *names)


@case
def mixed_pipeline():
    inputs = [tensor("city", np.array(["Oslo", "Zürich", "Rome"], object)),
              tensor("housing", np.array(["rent", "own", "rent"], object), False),
              tensor("income", np.array([31_000.5, np.nan, 12_345.678])),
              tensor("age", np.array([33, 71, 52], np.int8))]
    return told(client.infer("credit", inputs), "predict", "predict_proba")


@case
def request_id():
    return client.infer("iris", columns(), request_id="mine-7").get_response()["id"]


@case
def no_request_id():
    return bool(client.infer("iris", columns()).get_response()["id"])


@case
def compressed():
    return {f"{sent} {wanted}": infer_iris(columns(), request_compression_algorithm=sent,
                                           response_compression_algorithm=wanted)
            for sent in ("gzip", "deflate") for wanted in (None, "gzip", "deflate")}


@case
def parameters():
    return infer_iris(columns(), priority=1, timeout=5_000_000, parameters={"mine": "x", "n": 3, "b": True})


@case
def headers():
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Request-ID": "from-header"}
    return infer_iris(columns(), headers=headers)


@case
def at_once():
    waiting = [client.async_infer("matrix", [tensor("input", MATRIX + number)], request_id=str(number))
               for number in range(16)]
    results = [one.get_result() for one in waiting]
    return [told(result, "label", "probabilities") | {"id": result.get_response()["id"]} for result in results]


@case
def unknown_model():
    return client.infer("nope", columns())


@case
def unknown_version():
    return client.infer("iris", columns(), model_version="77")


@case
def wrong_shape():
    return client.infer("matrix", [tensor("input", MATRIX[:, :3].copy())])


@case
def wrong_shape_json():
    return client.infer("matrix", [tensor("input", MATRIX[:, :3].copy(), False)])


@case
def wrong_dtype():
    return client.infer("matrix", [tensor("input", MATRIX.astype(object).astype(str).astype(object))])


@case
def unknown_output():
    return client.infer("matrix", [tensor("input", MATRIX)], outputs=asked("nope"))


@case
def missing_input():
    return client.infer("iris", columns()[:3])


@case
def unequal_rows():
    return client.infer("iris", [*columns()[:3], tensor("petal_width", np.array([0.2]))])


@case
def repository():
    def states():
        return {f"{row['name']}:{row['version']}": row["state"] for row in client.get_model_repository_index()
                if row["name"] == "types"}

    seen = [states()]
    client.unload_model("types")
    seen += [states(), client.is_model_ready("types")]
    client.load_model("types")
    return [*seen, states(), client.is_model_ready("types")]


@case
def load_unknown_model():
    return client.load_model("nope")


@case
def load_with_config():
    return client.load_model("types", config="{}")


if __name__ == "__main__":
    report()
    client.close()
