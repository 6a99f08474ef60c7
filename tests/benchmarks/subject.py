"""What is served: one model, the rows of a request in each protocol, and the answers that are right."""

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def model_path() -> Path:
    """Return the ONNX model, fitted and converted the first time: scaling and gradient boosting over 30 features."""
    stamp = f"{version('scikit-learn')}-{version('skl2onnx')}"
    path = Path(tempfile.gettempdir(), "serinus-benchmarks", f"breast-{stamp}.onnx")
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(_fitted())
        unfinished.rename(path)
    return path


def _fitted() -> bytes:
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, target = load_breast_cancer(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0)).fit(features, target)
    serialized: bytes = to_onnx(fitted, features[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    return serialized


@dataclass(frozen=True)
class Subject:
    """One request of `rows` rows."""

    model: Path
    rows: int

    @cached_property
    def features(self) -> list[list[float]]:
        """The rows, taken from the data set in order, again from the start where it ends."""
        from sklearn.datasets import load_breast_cancer

        features = load_breast_cancer().data
        return [features[index % len(features)].tolist() for index in range(self.rows)]

    @cached_property
    def expected(self) -> dict[str, Any]:
        """What onnxruntime itself answers: arrays by the graph's output names."""
        session = onnxruntime.InferenceSession(self.model, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: np.asarray(self.features, np.float32)}
        return dict(zip([each.name for each in session.get_outputs()], session.run(None, feed), strict=True))

    def open_inference_body(self) -> str:
        """Return the request in the Open Inference Protocol."""
        name = onnxruntime.InferenceSession(self.model, providers=["CPUExecutionProvider"]).get_inputs()[0].name
        data = [value for row in self.features for value in row]
        tensor = {"name": name, "shape": [self.rows, len(self.features[0])], "datatype": "FP32", "data": data}
        return json.dumps({"inputs": [tensor]}, separators=(",", ":"))

    def bentoml_body(self) -> str:
        """Return the request as BentoML's own JSON."""
        return json.dumps({"rows": self.features}, separators=(",", ":"))

    def check_open_inference(self, answer: Any) -> None:
        """Raise ValueError unless every output of the model is there and right."""
        outputs = {output["name"]: output for output in answer["outputs"]}
        for name, expected in self.expected.items():
            if name not in outputs:
                raise ValueError(f"the answer has no output {name!r}, only {sorted(outputs)}")
            got = np.asarray(outputs[name]["data"]).reshape(outputs[name]["shape"])
            _compare(name, got, expected)

    def check_bentoml(self, answer: Any) -> None:
        """Raise ValueError unless the probabilities are right."""
        _compare("probabilities", np.asarray(answer), self.expected["probabilities"])


def _compare(name: str, got: Any, expected: Any) -> None:
    if got.shape != expected.shape or not np.allclose(got, expected, atol=1e-5):
        raise ValueError(
            f"output {name!r} differs from onnxruntime's own: expected shape {expected.shape} starting {expected[:1]}, "
            f"got shape {got.shape} starting {got[:1]}"
        )
