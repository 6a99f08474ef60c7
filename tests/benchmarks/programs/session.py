"""The model of a peer: the same file, opened the same way, on one thread."""

import os

import numpy as np
import onnxruntime


def open_session() -> onnxruntime.InferenceSession:
    """Return onnxruntime's session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"])


def predict(session: onnxruntime.InferenceSession, rows: object) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities."""
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: np.asarray(rows, np.float32)})
    return labels, probabilities
