"""A session as a model: tensors go straight through, sequences, optional values and maps are made of tensors."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from serinus.models import DATATYPES, Field, InvalidInput, UnknownOutput, wrap
from serinus.models.onnx_model import AssemblingOnnxModel, OnnxModel, said
from tests.models.onnx_graphs import a_map, alike, made, ml, tensors, typed, value

KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
ROWS = np.array([[1, 2], [3, 4]], dtype=np.float32)


def sample(datatype, shape=(2,)):
    texts = np.array(["é", "", "x\0y", "7"], dtype=object)
    numbers = np.arange(4) if datatype != "BOOL" else np.arange(4) % 2
    values = texts if datatype == "BYTES" else numbers.astype(DATATYPES[datatype])
    return np.resize(values, shape)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (1, 2, 2)])
@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_type_and_shape(datatype, shape):
    """Whatever the type and shape, a graph that says neither shape nor rank gives it back as it was."""
    model = wrap(alike(tensors(KINDS[datatype])))
    assert model.signature.inputs == (Field("a", datatype, ()),)
    given = sample(datatype, shape)
    found = model.predict({"a": given})["b"]
    assert (found.dtype, found.shape, found.tolist()) == (given.dtype, given.shape, given.tolist())


@pytest.mark.parametrize("name", ["0", "gpu_0/data_0", "serving_default_input_2:0", "ein Name", "é", "a[0]", "{}", '"'])
def test_names_that_are_no_identifiers(name):
    """Any name that a graph has, requests and answers have."""
    model = wrap(alike(tensors(), names=(name, f"{name}'")))
    assert model.predict({name: ROWS})[f"{name}'"].tolist() == ROWS.tolist()


def test_no_inputs():
    """A graph without inputs answers nothing with its constants."""
    constant = helper.make_tensor("c", TensorProto.FLOAT, [2], [1, 2])
    model = wrap(made([helper.make_node("Constant", [], ["b"], value=constant)], [], [value("b", shape=(2,))]))
    assert model.signature.inputs == ()
    assert model.predict({})["b"].tolist() == [1, 2]


def test_a_column_with_and_without_its_second_dimension():
    """[rows] and [rows, 1] are alike, whichever of them the graph declares."""
    column, flat = np.array([[1], [2]], dtype=np.float32), np.array([1, 2], dtype=np.float32)
    for shape, expected in ((("n", 1), column), (("n",), flat)):
        node = helper.make_node("Identity", ["a"], ["b"])
        model = wrap(made([node], [value("a", shape=shape)], [value("b", shape=shape)]))
        for given in (column, flat, np.asfortranarray(np.hstack([column, column]))[:, :1]):
            assert model.predict({"a": given})["b"].tolist() == expected.tolist()


def test_plain_tensors_take_the_short_way():
    """Only what is not made of plain tensors pays for being assembled."""
    assert type(wrap(alike(tensors()))) is OnnxModel
    assert type(wrap(alike(tensors(sequence=True)))) is AssemblingOnnxModel


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_sequences(datatype):
    """A sequence travels as tensors NAME[0], NAME[1], … of any shapes, in their order however they are sent."""
    model = wrap(alike(tensors(KINDS[datatype], sequence=True)))
    assert model.signature.inputs == (Field("a", datatype, (), sequence=True),)
    given = [sample(datatype, shape) for shape in ((2,), (), (1, 2), (0,))]
    found = model.predict({f"a[{index}]": given[index] for index in (3, 1, 0, 2)})
    assert list(found) == ["b[0]", "b[1]", "b[2]", "b[3]"]
    assert [array.tolist() for array in found.values()] == [array.tolist() for array in given]
    assert model.predict({}) == {}
    assert list(model.predict({"a[0]": given[0]}, ["b"])) == ["b[0]"]


def test_long_sequences_are_counted_not_spelt():
    """The tenth tensor comes after the second."""
    model = wrap(alike(tensors(sequence=True)))
    given = {f"a[{index}]": np.float32([index]) for index in range(12)}
    assert [array.item() for array in model.predict(given).values()] == list(range(12))


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"a[1]": ROWS}, r"Input 'a\[0\]' is missing: 'a' has 1 tensors, the last of them number 1"),
        ({"a[0]": ROWS, "a[2]": ROWS}, r"Input 'a\[1\]' is missing"),
        ({"a[0]": ROWS.astype(float)}, r"Input 'a\[0\]': expected FP32 of any shape, got float64 of shape \[2, 2\]"),
        ({"a[0]": ROWS, "a[1]": ROWS.astype(complex)}, r"Input 'a\[1\]': expected FP32"),
    ],
)
def test_sequences_that_are_none(inputs, sentence):
    """Gaps and other types are the caller's, and said by the tensor's name."""
    with pytest.raises(InvalidInput, match=sentence):
        wrap(alike(tensors(sequence=True))).predict(inputs)


def test_optional_values():
    """An optional input may be left out, and an absent optional output is left out of the answer."""
    model = wrap(alike(tensors(optional=True)))
    assert model.signature.inputs == (Field("a", "FP32", (), optional=True),)
    assert model.signature.outputs == (Field("b", "FP32", (), optional=True),)
    assert model.predict({"a": ROWS})["b"].tolist() == ROWS.tolist()
    assert model.predict({}) == {}


def test_optional_sequences():
    """No tensors of an optional sequence means that there is none, which the graph can tell from an empty one."""
    node = helper.make_node("OptionalHasElement", ["a"], ["b"])
    optional = typed("a", tensors(TensorProto.STRING, optional=True, sequence=True))
    model = wrap(made([node], [optional], [value("b", TensorProto.BOOL, ())]))
    assert model.signature.inputs == (Field("a", "BYTES", (), optional=True, sequence=True),)
    assert not model.predict({})["b"]
    assert model.predict({"a[0]": np.array(["x"], dtype=object)})["b"]


def test_a_gap_is_no_word():
    """Where an optional input of strings lacks one, ONNX Runtime would read the word None; that is refused."""
    model = wrap(alike(tensors(TensorProto.STRING, optional=True)))
    with pytest.raises(InvalidInput, match="Input 'a': a string is missing; send all, or leave the input out"):
        model.predict({"a": np.array(["x", None], dtype=object)})


def vectorizer(key, vocabulary):
    node = ml("DictVectorizer", ["a"], ["b"], **vocabulary)
    return wrap(made([node], [typed("a", a_map(key))], [value("b", shape=(1, 2))]))


@pytest.mark.parametrize(
    ("key", "vocabulary", "document"),
    [
        (TensorProto.STRING, {"string_vocabulary": ["x", "y"]}, '{"y": 2.5, "z": 1, "x": 7}'),
        (TensorProto.INT64, {"int64_vocabulary": [3, -4]}, '{"-4": 2.5, "3": 7}'),
    ],
)
def test_maps(key, vocabulary, document):
    """An input that is a map is one string that holds a JSON object of numbers."""
    model = vectorizer(key, vocabulary)
    assert model.signature.inputs == (Field("a", "BYTES", (1,)),)
    assert model.predict({"a": np.array([document], dtype=object)})["b"].tolist() == [[7, 2.5]]


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", "1", '{"x": "1"}', '{"x": true}', '{"x": null}', '{"3": 1', '{"3": 1e300}', "[" * 9999]
)
def test_maps_that_are_none(document):
    """What is no JSON object of numbers that FP32 holds is the caller's."""
    for model in (vectorizer(TensorProto.STRING, {"string_vocabulary": ["x", "y"]}),
                  vectorizer(TensorProto.INT64, {"int64_vocabulary": [3, 4]})):
        with pytest.raises(InvalidInput, match="Input 'a': "):
            model.predict({"a": np.array([document], dtype=object)})
        with pytest.raises(InvalidInput, match="Input 'a': "):
            model.predict({"a": np.array([document, document], dtype=object)})


def test_outputs_are_chosen_by_their_own_names():
    """A sequence is asked for by its name; a name that is none is answered with those there are."""
    with pytest.raises(UnknownOutput, match="no output 'c'; ask for b"):
        wrap(alike(tensors(sequence=True))).predict({"a[0]": ROWS}, ["c"])


def product(shape):
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 1], [1, 2, 3])
    node = helper.make_node("MatMul", ["a", "w"], ["b"])
    return wrap(made([node], [value("a", shape=shape)], [value("b", shape=None)], initializer=[weights]))


@pytest.mark.parametrize("shape", [("n", "m"), None])
def test_shapes_that_only_the_runtime_can_judge(shape):
    """Where the graph leaves a shape open, the runtime's objection is one to the inputs, said without its source."""
    with pytest.raises(InvalidInput, match=r"ONNX Runtime refused the inputs: .*dimension mismatch") as caught:
        product(shape).predict({"a": ROWS})
    assert ".h:" not in str(caught.value) and ".cc:" not in str(caught.value)


def test_errors_of_the_graph_s_own():
    """Inputs that are all the signature wants are not blamed for a graph that cannot compute."""
    zero = helper.make_tensor("z", TensorProto.INT64, [1], [0])
    shape = helper.make_tensor("s", TensorProto.INT64, [1], [3])
    nodes = [helper.make_node("Add", ["s", "z"], ["t"]), helper.make_node("Reshape", ["a", "t"], ["b"])]
    model = wrap(made(nodes, [value("a", shape=("n", 2))], [value("b", shape=None)], initializer=[zero, shape]))
    with pytest.raises(Exception, match="cannot be reshaped") as caught:
        model.predict({"a": ROWS})
    assert not isinstance(caught.value, InvalidInput)


@pytest.mark.parametrize("operator", ["Div", "Mod"])
@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_values_that_would_end_the_process(operator, datatype):
    """The lowest integer divided by -1 stops the program, so it is refused before the runtime sees it."""
    kind = KINDS[datatype]
    node = helper.make_node(operator, ["a", "b"], ["c"])
    model = wrap(made([node], [value("a", kind, ["n"]), value("b", kind, ["n"])], [value("c", kind, ["n"])]))
    lowest = np.array([np.iinfo(DATATYPES[datatype]).min], dtype=DATATYPES[datatype])
    with pytest.raises(InvalidInput, match=f"Input 'a': expected numbers from {lowest[0] + 1}, got {lowest[0]}"):
        model.predict({"a": lowest, "b": np.full_like(lowest, -1)})
    assert model.predict({"a": lowest + 1, "b": np.full_like(lowest, -1)})["c"].shape == (1,)
    assert model.predict({"a": lowest[:0], "b": lowest[:0]})["c"].shape == (0,)


def test_a_transform_of_no_length():
    """A Fourier transform in steps or frames of no length stops the program too."""
    names = ["signal", "step", "", "length"]
    integers = [value(name, TensorProto.INT64, ()) for name in ("step", "length")]
    inputs = [value("signal", shape=(1, 128, 1)), *integers]
    model = wrap(made([helper.make_node("STFT", names, ["b"])], inputs, [value("b", shape=None)]))
    signal = np.ones((1, 128, 1), dtype=np.float32)
    for step, length in ((0, 16), (8, 0), (-1, 16)):
        with pytest.raises(InvalidInput, match="expected numbers from 1, got "):
            model.predict({"signal": signal, "step": np.array(step), "length": np.array(length)})
    assert model.predict({"signal": signal, "step": np.array(8), "length": np.array(16)})["b"].shape == (1, 15, 9, 2)


def test_division_by_constants_is_quick():
    """Dividing by what never changes is no danger, and takes the short way."""
    ten = helper.make_tensor("t", TensorProto.INT64, [], [10])
    node, integers = helper.make_node("Mod", ["a", "t"], ["b"]), (TensorProto.INT64, ["n"])
    model = wrap(made([node], [value("a", *integers)], [value("b", *integers)], initializer=[ten]))
    assert type(model) is OnnxModel


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find it (here)", "Could not find it (here)"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : /src/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, "
            "const Options& (x)) Unsupported model IR version: 14",
            "Unsupported model IR version: 14",
        ),
        ("matmul_helper.h:59 Compute MatMul dimension mismatch", "Compute MatMul dimension mismatch"),
        (
            "/a/rnn.cc:7 onnxruntime::RNN<T>::RNN(const Info&) [with T = float] layout_ == 0 was false. No (yet).",
            "layout_ == 0 was false. No (yet).",
        ),
        ("nothing to cut: a::b and c", "nothing to cut: a::b and c"),
    ],
)
def test_the_runtime_s_words(message, expected):
    """Its status, source files and functions are not for users."""
    assert said(ValueError(message)) == expected
