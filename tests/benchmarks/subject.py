"""What is served: a model, the rows of a request in each protocol, and the answers that are right."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime


def _kept(name: str, make: Callable[[], bytes]) -> Path:
    """Return a file that is made the first time."""
    path = Path(tempfile.gettempdir(), "serinus-benchmarks", name)
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(f"{name}.part")
        unfinished.write_bytes(make())
        unfinished.rename(path)
    return path


def _graph() -> bytes:
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, target = load_breast_cancer(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0)).fit(features, target)
    serialized: bytes = to_onnx(fitted, features[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    return serialized


def _pipeline() -> bytes:
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, target)
    written = BytesIO()
    joblib.dump(fitted, written)
    return written.getvalue()


@dataclass(frozen=True)
class Subject:
    """One request of `rows` rows to the ONNX graph: scaling and gradient boosting over 30 features."""

    rows: int
    label: ClassVar[str] = "ONNX"

    @staticmethod
    def artifact() -> Path:
        """Return the model's file, fitted and converted the first time."""
        return _kept(f"breast-{version('scikit-learn')}-{version('skl2onnx')}.onnx", _graph)

    def body(self, protocol: str) -> str:
        """Return the request in a protocol."""
        written: str = getattr(self, f"{protocol}_body")()
        return written

    def check(self, protocol: str, answer: Any) -> None:
        """Raise ValueError unless the answer in that protocol is right."""
        getattr(self, f"check_{protocol}")(answer)

    @cached_property
    def features(self) -> list[list[float]]:
        """The rows, taken from the data set in order, again from the start where it ends."""
        from sklearn.datasets import load_breast_cancer

        features = load_breast_cancer().data
        return [features[index % len(features)].tolist() for index in range(self.rows)]

    @cached_property
    def expected(self) -> dict[str, Any]:
        """What onnxruntime itself answers: arrays by the graph's output names."""
        session = onnxruntime.InferenceSession(self.artifact(), providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: np.asarray(self.features, np.float32)}
        return dict(zip([each.name for each in session.get_outputs()], session.run(None, feed), strict=True))

    def open_inference_body(self) -> str:
        """Return the request in the Open Inference Protocol."""
        data = [value for row in self.features for value in row]
        tensor = {"shape": [self.rows, len(self.features[0])], "datatype": "FP32", "data": data}
        return json.dumps({"inputs": [{"name": _input_name(self.artifact()), **tensor}]}, separators=(",", ":"))

    def rows_body(self) -> str:
        """Return the request as a list of rows."""
        return json.dumps({"rows": self.features}, separators=(",", ":"))

    bentoml_body = rows_body

    def mlflow_body(self) -> str:
        """Return the request as MLflow's tensors by name."""
        return json.dumps({"inputs": {_input_name(self.artifact()): self.features}}, separators=(",", ":"))

    def check_open_inference(self, answer: Any) -> None:
        """Raise ValueError unless every output of the model is there and right."""
        outputs = {output["name"]: output for output in answer["outputs"]}
        for name, expected in self.expected.items():
            if name not in outputs:
                raise ValueError(f"the answer has no output {name!r}, only {sorted(outputs)}")
            got = np.asarray(outputs[name]["data"]).reshape(outputs[name]["shape"])
            _compare(name, got, expected)

    def check_bentoml(self, answer: Any) -> None:
        """Judge BentoML's bare array."""
        _compare("probabilities", np.asarray(answer), self.expected["probabilities"])

    def check_rows(self, answer: Any) -> None:
        """Judge two lists."""
        _compare("label", np.asarray(answer["labels"]), self.expected["label"])
        self.check_bentoml(answer["probabilities"])

    def check_mlflow(self, answer: Any) -> None:
        """Judge MLflow's tensors by name."""
        for name, expected in self.expected.items():
            _compare(name, np.asarray(answer["predictions"][name]), expected)


@dataclass(frozen=True)
class FrameSubject(Subject):
    """One request of `rows` rows to the scikit-learn pipeline: scaling and logistic regression of 30 named columns.

    A tensor for each column, to be made into a DataFrame; `predict_proba` alone is wanted.
    """

    label: ClassVar[str] = "scikit-learn"

    @staticmethod
    def artifact() -> Path:
        """Return the pipeline's file, fitted the first time."""
        return _kept(f"breast-{version('scikit-learn')}.joblib", _pipeline)

    @cached_property
    def expected(self) -> dict[str, Any]:
        """What scikit-learn itself answers."""
        import joblib
        import pandas as pd

        fitted = joblib.load(self.artifact())
        frame = pd.DataFrame(self.features, columns=fitted.feature_names_in_)
        return {"predict_proba": fitted.predict_proba(frame)}

    def open_inference_body(self) -> str:
        """Return the request in the Open Inference Protocol; MLServer's content type says that it is a DataFrame."""
        from sklearn.datasets import load_breast_cancer

        columns = zip(load_breast_cancer().feature_names.tolist(), zip(*self.features, strict=True), strict=True)
        tensors = [
            {"name": name, "shape": [self.rows, 1], "datatype": "FP64", "data": data} for name, data in columns
        ]
        document = {"parameters": {"content_type": "pd"}, "inputs": tensors, "outputs": [{"name": "predict_proba"}]}
        return json.dumps(document, separators=(",", ":"))


def _input_name(model: Path) -> str:
    name: str = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    return name


def _compare(name: str, got: Any, expected: Any) -> None:
    if got.shape != expected.shape and got.size == expected.size:
        got = got.reshape(expected.shape)  # MLServer gives vectors a second dimension
    if got.shape != expected.shape or not np.allclose(got, expected, atol=1e-5):
        raise ValueError(
            f"output {name!r} differs from the library's own: expected shape {expected.shape} starting {expected[:1]}, "
            f"got shape {got.shape} starting {got[:1]}"
        )
