"""Turn a scikit-learn model into an ONNX graph and register that: loading it runs no code, so nothing is to be trusted.

Needs skl2onnx, which is in the `dev` extra of Serinus and not among what serving needs.
"""

import sys
from importlib.util import find_spec

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serinus.models import Registry, default_home, register


def main() -> None:
    if find_spec("skl2onnx") is None:
        sys.exit("This example needs skl2onnx, which turns scikit-learn models into ONNX graphs: install it, or "
                 "Serinus with its `dev` extra.")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    rows, kinds = load_iris(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, kinds)
    graph = to_onnx(fitted, initial_types=[("petals", FloatTensorType([None, 4]))],
                    options={id(fitted): {"zipmap": False}})

    version = register(graph, "iris-onnx")
    print(f"Registered {version.tag} with digest {version.digest[:19]}…")
    answer = Registry(default_home()).load(version).predict({"petals": rows[:3].astype("float32")})
    for name, values in answer.items():
        print(f"  {name}: {values.tolist()}")
    print("Serve it: serinus serve iris-onnx")


if __name__ == "__main__":
    main()
