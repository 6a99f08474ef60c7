"""Which graphs keep their rows apart: operators by themselves, shapes between them, and converted estimators."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC

from serinus.models import load, wrap
from serinus.models.onnx_graph import read_graph
from serinus.models.onnx_row_wise import row_wise
from serinus.models.row_wise import is_row_wise
from tests.models.onnx_graphs import made, ml, value


def judged(nodes, shape=("n", 2, 3), constants=None, inputs=None, **more):
    """Whether a graph from `a` to `z` is row-wise, with constants by name."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    model = made(nodes, inputs or [value("a", shape=shape)], [value("z", shape=None)], initializer=tensors, **more)
    return row_wise(read_graph(model.SerializeToString()))


def one(operator, constants=None, shape=("n", 2, 3), opset=17, **attributes):
    """Whether one operator on rows and constants is row-wise."""
    names = ["a", *(constants or {})]
    return judged([helper.make_node(operator, names, ["z"], **attributes)], shape, constants, opset=opset)


def ints(*values):
    return np.array(values, dtype=np.int64)


FLOATS = np.ones(3, dtype=np.float32)

APART = {
    "one value at a time": one("Relu"),
    "a constant for each column": one("Add", {"b": FLOATS}),
    "a constant that is one row": one("Add", {"b": FLOATS.reshape(1, 1, 3)}),
    "weights": one("MatMul", {"b": FLOATS.reshape(3, 1)}),
    "an affine layer": one("Gemm", {"b": FLOATS.reshape(1, 3), "c": FLOATS[:1]}, ("n", 3), transB=1),
    "the last axis": one("Softmax"),
    "an axis behind the first": one("Concat", axis=1),
    "a sum of columns": one("ReduceSum", {"axes": ints(-1)}),
    "a sum of columns, as it was written before": one("ReduceMean", axes=[1, 2]),
    "columns by number": one("Gather", {"b": ints(0, 1)}, axis=2),
    "flattened rows": one("Flatten"),
    "the number of rows kept": one("Reshape", {"s": ints(0, -1)}),
    "as many values for each row": one("Reshape", {"s": ints(-1, 6)}),
    "columns swapped": one("Transpose", perm=[0, 2, 1]),
    "columns cut": one("Slice", {"starts": ints(0), "ends": ints(1), "axes": ints(1)}),
    "an image": one("Conv", {"w": np.ones((4, 2, 3), dtype=np.float32)}, ("n", 2, 9)),
    "another dimension": one("Unsqueeze", {"axes": ints(1)}),
}
TOGETHER = {
    "a sum of all": one("ReduceSum"),
    "a sum of rows": one("ReduceSum", {"axes": ints(0)}),
    "the first axis from the end": one("ReduceSum", {"axes": ints(-3)}),
    "axes that are not known": judged(
        [helper.make_node("Add", ["b", "b"], ["c"]), helper.make_node("ReduceSum", ["a", "c"], ["z"])],
        constants={"b": ints(1)},
    ),
    "shares of all rows": one("Softmax", axis=0),
    "shares within a single row of numbers": one("Softmax", shape=("n",)),
    "the place of the largest, by default of the rows": one("ArgMax"),
    "a constant for each row": one("Add", {"b": np.ones((4, 1, 1), dtype=np.float32)}),
    "more dimensions by a constant": one("Add", {"b": np.ones((1, 1, 1, 3), dtype=np.float32)}),
    "rows in other places": one("Transpose", perm=[1, 0, 2]),
    "places reversed, by default": one("Transpose"),
    "half as many rows": one("Reshape", {"s": ints(-1, 12)}),
    "one row for all": one("Reshape", {"s": ints(1, -1)}),
    "unknown columns": one("Reshape", {"s": ints(-1, 6)}, ("n", "m", 3)),
    "all in one": one("Flatten", axis=0),
    "rows chosen": one("Gather", {"b": ints(0)}, axis=0),
    "rows cut": one("Slice", {"starts": ints(1), "ends": ints(9), "axes": ints(0)}),
    "rows cut by default": one("Slice", {"starts": ints(1), "ends": ints(9)}),
    "rows times rows": judged([helper.make_node("MatMul", ["a", "a"], ["z"])], ("n", "n")),
    "places among all rows": judged([helper.make_node("MaxPool", ["a"], ["y", "z"], kernel_shape=[1])]),
    "a scale of all rows": judged([helper.make_node("DynamicQuantizeLinear", ["a"], ["z", "s", "p"])]),
    "numbers drawn": one("Bernoulli"),
    "how many rows": one("Shape"),
    "no operator that was reviewed": one("Einsum", equation="nij->nj"),
    "an operator set that nobody has reviewed": one("Relu", opset=99),
    "rows and a single column of all": judged(
        [helper.make_node("Add", ["a", "b"], ["z"])], inputs=[value("a", shape=("n", 2)), value("b", shape=("n",))]
    ),
    "rows of two kinds": judged(
        [helper.make_node("Add", ["a", "b"], ["z"])], inputs=[value("a", shape=("n", 2)), value("b", shape=("m", 2))]
    ),
    "an input that is no rows": judged(
        [helper.make_node("Add", ["a", "b"], ["z"])], inputs=[value("a", shape=("n", 2)), value("b", shape=(2,))]
    ),
    "a fixed number of rows": one("Relu", shape=(4, 2)),
    "a scalar": one("Relu", shape=()),
    "no shape": one("Relu", shape=None),
    "an answer that is the same for all": judged([helper.make_node("Identity", ["b"], ["z"])], constants={"b": FLOATS}),
    "a vector taken for one row": judged([ml("Normalizer", ["a"], ["z"])], ("n",)),
    "a constant that may be replaced": judged(
        [helper.make_node("Add", ["a", "b"], ["z"])],
        inputs=[value("a", shape=("n", 3)), value("b", shape=(3,))],
        constants={"b": FLOATS},
    ),
}


@pytest.mark.parametrize("what", APART)
def test_rows_that_keep_apart(what):
    """Operators along other axes than the first, with constants that are the same for each row."""
    assert APART[what]


@pytest.mark.parametrize("what", TOGETHER)
def test_rows_that_meet_or_might(what):
    """Operators that mix rows, or whose attributes are not known, and all that was never reviewed."""
    assert not TOGETHER[what]


def test_graphs_within():
    """A branch may look at rows without taking them as an input, so graphs with branches are never row-wise."""
    branch = helper.make_graph([helper.make_node("ReduceSum", ["a"], ["y"])], "b", [], [value("y", shape=None)])
    node = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    assert not judged([node], constants={"c": np.array(True)})


def test_operators_of_the_graph_s_own():
    """A function of the file may be called like a standard operator, so such files are never row-wise."""
    model = made([helper.make_node("Relu", ["a"], ["z"])], [value("a")], [value("z")])
    assert row_wise(read_graph(model.SerializeToString()))
    body = [helper.make_node("ReduceSum", ["x"], ["y"])]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
    assert not row_wise(read_graph(model.SerializeToString()))


ESTIMATORS = [
    LogisticRegression(max_iter=500),
    GradientBoostingClassifier(n_estimators=3),
    SVC(probability=True),
    MLPClassifier(max_iter=5),
    GaussianNB(),
    make_pipeline(Normalizer(), LogisticRegression()),
]
REGRESSORS = [LinearRegression(), make_pipeline(MinMaxScaler(), RandomForestRegressor(3)), StandardScaler()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS + REGRESSORS, ids=lambda estimator: str(estimator)[:50])
@pytest.mark.parametrize("zipmap", [True, False])
def test_estimators(estimator, zipmap, cancer):
    """What skl2onnx makes of usual estimators is row-wise, and answers many rows as it answers each."""
    rows, classes = cancer[0][:60], np.array(["no", "yes"])[cancer[1][:60]]
    classifies = estimator in ESTIMATORS
    estimator.fit(rows, classes if classifies else cancer[1][:60].astype(float))
    model = wrap(to_onnx(estimator, rows[:1], options={"zipmap": zipmap} if classifies else None))
    assert is_row_wise(model)
    for name, together in model.predict({"X": rows}).items():
        alone = np.concatenate([model.predict({"X": row[None]})[name] for row in rows])
        assert together.shape == alone.shape
        assert (together == alone).all() if together.dtype.kind in "iO" else np.allclose(together, alone, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_neighbours_meet(cancer, tmp_path):
    """What compares a row with others by an operator that nobody reviewed is not row-wise, from a file too."""
    fitted = KNeighborsClassifier().fit(*cancer)
    path = tmp_path / "neighbours.onnx"
    path.write_bytes(to_onnx(fitted, cancer[0][:1]).SerializeToString())
    assert not is_row_wise(load(path))


def test_texts_are_rows_too():
    """Labels looked up for each row leave the rows apart."""
    encoder = ml("LabelEncoder", ["a"], ["z"], keys_strings=["x"], values_int64s=[1])
    assert judged([encoder], inputs=[value("a", TensorProto.STRING, ("n",))])
