"""The server answers what the models themselves say."""

from __future__ import annotations

import numpy as np
import pytest

from serinus.models import Registry, Trust, load
from tests.integration.server import Server
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS, IRIS_INFER, IRIS_ROWS


@pytest.mark.parametrize(
    ("name", "inputs", "rows", "infer"),
    [("credit", {"age": np.array([33]), "income": np.array([31_000.0]), "city": np.array(["Oslo"], object)},
      CREDIT_ROWS, CREDIT_INFER),
     ("iris", {"petals": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)}, IRIS_ROWS, IRIS_INFER)])
def test_both_protocols_answer_as_the_model(server: Server, name: str, inputs: dict, rows: dict, infer: dict) -> None:
    """Rows and the Open Inference Protocol give the numbers that the loaded artifact gives, for either adapter."""
    model = load(Registry(server.home.path).get(name, "1"), trust=Trust(server.home.path))
    expected = {output: values.tolist() for output, values in model.predict(inputs, None).items()}
    with server.client() as client:
        by_rows = client.post(f"/predict/{name}", rows).json()
        by_tensors = client.post(f"/v2/models/{name}/infer", infer).json()
    assert expected.keys() == by_rows["predictions"][0].keys()
    for output, values in expected.items():
        tensor = next(tensor for tensor in by_tensors["outputs"] if tensor["name"] == output)
        for got in (by_rows["predictions"][0][output], np.reshape(tensor["data"], tensor["shape"]).tolist()[0]):
            if isinstance(values[0], str):
                assert values[0] == got
            else:
                np.testing.assert_allclose(got, values[0], rtol=1e-6)


def test_a_bare_predict_with_two_models_names_them(server: Server) -> None:
    """Without a model in the path and with several served, the answer is 400 and says which there are."""
    with server.client() as client:
        answer = client.post("/predict", CREDIT_ROWS)
    assert answer.status == 400
    assert "credit, iris" in answer.json()["detail"]
