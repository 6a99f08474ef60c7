"""NVIDIA's client, as it is installed, gets from us what the models answer, whatever form it asks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.peers import Peer
from tests.conformance import zoo
from tests.conformance.conftest import Outcomes

CLIENT = Peer("tritonclient", ("tritonclient[http]==2.73.0",))
IRIS = pd.DataFrame(zoo.IRIS_ROWS, columns=zoo.IRIS_COLUMNS)
MATRIX = np.array(zoo.IRIS_ROWS, np.float32)


@pytest.fixture
def got(outcomes: Callable[[Peer, str], Outcomes], served: Callable[..., None]) -> Callable[..., Any]:
    """Give what a case got: `got("binary", "iris")` needs the model `iris`."""
    def look(case: str, *model: str) -> Any:
        if model:
            served(*model)
        outcome = outcomes(CLIENT, "triton.py")[case]
        assert "gave" in outcome, outcome
        return outcome["gave"]

    return look


@pytest.fixture
def said(outcomes: Callable[[Peer, str], Outcomes]) -> Callable[[str], str]:
    """Give the text of the error that the client raised, which has to be the one it has for a server's `error`."""
    def look(case: str) -> str:
        outcome = outcomes(CLIENT, "triton.py")[case]
        assert outcome.get("raised") == "InferenceServerException", outcome
        return str(outcome["said"])

    return look


def check(got: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    """Every output is there with type, shape and, exactly, its values."""
    for name, array in expected.items():
        assert got[name] is not None, name
        assert tuple(got[name]["shape"]) == array.shape, name
        if array.dtype.kind in "OSU":
            assert (got[name]["dtype"], got[name]["data"]) == ("text", array.tolist()), name
        else:
            assert got[name]["dtype"] == str(array.dtype), name
            assert np.array_equal(np.array(got[name]["data"], array.dtype).reshape(array.shape), array), name


def test_health(got: Callable[..., Any]) -> None:
    """Live, ready, and ready by model and version; what is not there is not ready."""
    assert got("health", "iris", "2") == {"live": True, "ready": True, "model": True, "version": True, "other": False,
                                          "other_version": False}


def test_metadata(got: Callable[..., Any], said: Callable[[str], str]) -> None:
    """The server's name and extensions; a model's versions, inputs and outputs with types and shapes."""
    server = got("server_metadata")
    assert {"binary_tensor_data", "model_repository"} <= set(server["extensions"])
    assert server["name"] and server["version"]
    model = got("model_metadata", "iris", "2")
    assert (model["name"], model["versions"]) == ("iris", ["1", "2"])
    assert [(field["name"], field["datatype"], field["shape"]) for field in model["inputs"]] == [
        (name, "FP64", [-1]) for name in zoo.IRIS_COLUMNS]
    assert {field["name"]: field["datatype"] for field in model["outputs"]} == {
        "predict": "BYTES", "predict_proba": "FP64"}
    assert got("version_metadata")["name"] == "iris"
    matrix = got("matrix_metadata", "matrix")
    assert [(field["name"], field["datatype"], field["shape"]) for field in matrix["inputs"]] == [
        ("input", "FP32", [-1, 4])]
    assert "nope" in said("unknown_metadata")


def test_there_is_no_configuration(said: Callable[[str], str]) -> None:
    """An extension that is not offered is an error that the client can read."""
    assert said("config")


@pytest.mark.parametrize("case", ["binary", "json_both_ways", "json_in_binary_out", "mixed_inputs_and_outputs",
                                  "any_order", "column_as_matrix", "columns_as_one_matrix", "parameters", "headers"])
def test_a_pipeline_on_named_columns(got: Callable[..., Any], case: str) -> None:
    """The same answer whatever goes as bytes or as JSON, in any order, as columns or as one matrix."""
    check(got(case, "iris"), zoo.direct("iris", IRIS))


def test_only_what_is_asked_for(got: Callable[..., Any]) -> None:
    """One output of two."""
    answer = got("one_output", "iris")
    assert answer.pop("predict") is None
    check(answer, {"predict_proba": zoo.direct("iris", IRIS)["predict_proba"]})


def test_a_version_by_its_number(got: Callable[..., Any]) -> None:
    """It answers otherwise than version 1 does, and says which it is."""
    answer = got("version_2", "iris", "2")
    assert answer["version"] == "2"
    check(answer, zoo.direct("iris", IRIS, 2))
    assert answer["predict_proba"]["data"] != zoo.direct("iris", IRIS, 1)["predict_proba"].tolist()


@pytest.mark.parametrize("case", ["matrix_binary", "matrix_json"])
def test_a_graph_on_a_matrix(got: Callable[..., Any], case: str) -> None:
    """Labels as whole numbers, probabilities to the last bit."""
    check(got(case, "matrix"), zoo.direct("matrix", {"input": MATRIX}))


def test_labels_that_are_strings(got: Callable[..., Any]) -> None:
    """As bytes and as JSON."""
    for answer in got("string_labels", "kinds"):
        check(answer, {"label": zoo.direct("kinds", {"input": MATRIX})["label"]})


@pytest.mark.parametrize("case", ["types_binary", "types_json"])
def test_every_value_as_it_is(got: Callable[..., Any], case: str) -> None:
    """Half floats, strings with a zero in them, booleans, the ends of the whole numbers, the smallest double."""
    check(got(case, "types"), {
        "half_out": np.array([1.5, -0.25, 65504.0], np.float16),
        "text_out": np.array(["Zürich", "", "a\0b"], object), "flag_out": np.array([True, False, True]),
        "big_out": np.array([0, 2**53 + 1, 2**64 - 1], np.uint64), "small_out": np.array([-128, 0, 127], np.int8),
        "exact_out": np.array([0.1, -1e300, 5e-324])})


def test_numbers_strings_and_categories(got: Callable[..., Any]) -> None:
    """A missing number among them, and a narrower type than the model's."""
    people = pd.DataFrame(zoo.CREDIT_ROWS).astype({"income": float})
    check(got("mixed_pipeline", "credit"), zoo.direct("credit", people))


def test_ids(got: Callable[..., Any]) -> None:
    """A request's id comes back; one that has none gets one."""
    assert got("request_id", "iris") == "mine-7"
    assert got("no_request_id") is True


def test_compression(got: Callable[..., Any]) -> None:
    """Compressed requests are understood, and asking for compressed answers breaks nothing."""
    for answer in got("compressed", "iris").values():
        check(answer, zoo.direct("iris", IRIS))


def test_sixteen_at_once(got: Callable[..., Any]) -> None:
    """Each gets its own answer."""
    for number, answer in enumerate(got("at_once", "matrix")):
        assert answer["id"] == str(number)
        alone = zoo.direct("matrix", {"input": MATRIX + np.float32(number)})
        check({"label": answer["label"]}, {"label": alone["label"]})
        # Requests may share one call of the model, whose sums are then added up in another order.
        assert np.allclose(answer["probabilities"]["data"], alone["probabilities"], rtol=1e-5, atol=0)


@pytest.mark.parametrize(("case", "sentence"), [
    ("unknown_model", "Model 'nope' is not served here"),
    ("unknown_version", "Version '77' of model 'iris' is not served here"),
    ("wrong_shape", "input"),
    ("wrong_shape_json", "input"),
    ("wrong_dtype", "input"),
    ("no_rows", "The request has no rows"),
    ("unknown_output", "'nope'"),
    ("missing_input", "petal_width"),
    ("unequal_rows", "petal_width"),
    ("load_unknown_model", "No model is named 'nope'"),
    ("load_with_config", "Parameter 'config' is not known here")])
def test_errors_are_sentences(said: Callable[[str], str], own_server: bool, case: str, sentence: str) -> None:
    """The client raises its own error with the server's sentence."""
    text = said(case)
    assert sentence in text or not own_server
    assert "Traceback" not in text


def test_loading_by_hand(got: Callable[..., Any]) -> None:
    """The index of what there is; a model goes and comes back."""
    assert got("repository", "types") == [{"types:1": "READY"}, {"types:1": "UNAVAILABLE"}, False, {"types:1": "READY"},
                                          True]
