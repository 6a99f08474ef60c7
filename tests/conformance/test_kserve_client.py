"""KServe's client, as it is installed, gets from us what the models answer, in both of its protocols.

Slow: its environment takes 450 MB and some minutes to install.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.peers import Peer
from tests.conformance import zoo
from tests.conformance.conftest import Outcomes
from tests.conformance.test_tritonclient import check

pytestmark = pytest.mark.slow

CLIENT = Peer("kserve", ("kserve==0.21.0",))
IRIS = pd.DataFrame(zoo.IRIS_ROWS, columns=zoo.IRIS_COLUMNS)
MATRIX = np.array(zoo.IRIS_ROWS, np.float32)


@pytest.fixture
def got(outcomes: Callable[[Peer, str], Outcomes], served: Callable[..., None]) -> Callable[..., Any]:
    """Give what a case got: `got("v2_json", "iris")` needs the model `iris`."""
    def look(case: str, model: str) -> Any:
        served(model)
        outcome = outcomes(CLIENT, "kserve_client.py")[case]
        assert "gave" in outcome, outcome
        return outcome["gave"]

    return look


def test_health(got: Callable[..., Any]) -> None:
    """Live, ready, and ready by model."""
    assert got("health", "iris") == {"live": True, "ready": True, "model": True, "other": False}
    assert got("health_v1", "iris") == {"live": True, "model": True}


@pytest.mark.parametrize("case", ["v2_json", "v2_binary", "v2_binary_outputs", "v2_mixed"])
def test_a_pipeline_by_open_inference(got: Callable[..., Any], case: str) -> None:
    """Inputs as JSON, as bytes, and both."""
    answer = got(case, "iris")
    assert answer["model"] == "iris"  # the version that the server tells, this client drops
    if case in ("v2_json", "v2_binary"):
        assert answer["id"] == "mine-7"
    check(answer, zoo.direct("iris", IRIS))


@pytest.mark.parametrize("case", ["v2_matrix", "v2_matrix_binary"])
def test_a_graph_by_open_inference(got: Callable[..., Any], case: str) -> None:
    """A matrix of FP32."""
    check(got(case, "matrix"), zoo.direct("matrix", {"input": MATRIX}))


def test_labels_that_are_strings(got: Callable[..., Any]) -> None:
    """Come as text."""
    check(got("v2_strings", "kinds"), {"label": zoo.direct("kinds", {"input": MATRIX})["label"]})


def test_rows_by_version_1(got: Callable[..., Any]) -> None:
    """Objects for a model of columns, lists for a model of one matrix."""
    rows, columns = got("v1_rows", "iris")["predictions"], zoo.direct("iris", IRIS)["predict"]
    assert [row["predict"] if isinstance(row, dict) else row for row in rows] == columns.tolist()
    lists, matrix = got("v1_lists", "matrix")["predictions"], zoo.direct("matrix", {"input": MATRIX})["label"]
    assert [row["label"] if isinstance(row, dict) else row for row in lists] == matrix.tolist()


@pytest.mark.parametrize(("case", "sentence"), [
    ("v2_error", "input"), ("v2_unknown_model", "Model 'nope' is not served"), ("v1_error", "instances")])
def test_errors_are_sentences(outcomes: Callable[[Peer, str], Outcomes], case: str, sentence: str) -> None:
    """The client's error for a status carries what the server said."""
    outcome = outcomes(CLIENT, "kserve_client.py")[case]
    assert outcome.get("raised") == "HTTPStatusError", outcome
    assert sentence in outcome["said"]
