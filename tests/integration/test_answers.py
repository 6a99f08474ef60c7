"""The server answers what the models themselves say."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from serinus.models import Registry, Trust, load
from serinus.serving.router import Loaded, Router, Target
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


def test_an_admitted_request_may_use_a_version_that_was_let_go(filled_home: Path) -> None:
    """A rollback lets the candidate go while requests for it still wait for a thread: it answers, then it is freed."""
    registry, trust = Registry(filled_home), Trust(filled_home)
    router = Router(lambda name, version: Loaded(load(registry.get(name, version), trust=trust), "onnx", {}))
    both = Target("1", "2", 10_000, "salt", ())
    for version in router.missing(both, "iris"):
        router.load("iris", version)
    router.flip("iris", both)
    admitted = router.choose("iris", None, "anybody").arm
    router.flip("iris", Target("1", None, 0, "salt", ()))
    router.forget("iris", {"1"})
    assert admitted.version == "2"
    assert admitted.model.predict({"petals": np.zeros((1, 4), np.float32)}, None)["label"].shape == (1,)
    freed = weakref.ref(admitted.model)
    del admitted
    gc.collect()
    assert freed() is None
