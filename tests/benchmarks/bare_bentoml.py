"""Bare BentoML: what its documentation shows for such a model, numpy in and numpy out."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Breast:
    """The same model as every other server here."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.environ["BENCHMARK_MODEL"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        probabilities: np.ndarray = self.session.run(
            ["probabilities"], {self.input_name: np.asarray(rows, np.float32)}
        )[0]
        return probabilities
