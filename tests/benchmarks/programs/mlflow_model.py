"""Save the model as MLflow keeps one: `python mlflow_model.py MODEL FOLDER`. Runs in the peer's own environment."""

import sys

import mlflow.onnx
import onnx

if __name__ == "__main__":
    model, folder = sys.argv[1:]
    mlflow.onnx.save_model(
        onnx.load(model),
        folder,
        onnx_execution_providers=["CPUExecutionProvider"],
        onnx_session_options={"intra_op_num_threads": 1},
        save_as_external_data=False,
        pip_requirements=["onnx", "onnxruntime"],
    )
