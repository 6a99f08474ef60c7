"""ONNX graphs: the graph's own signature, nothing copied, and one sentence for what cannot run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.base import clone

from serinus.models import (
    Field,
    InvalidInput,
    InvalidSignature,
    ModelError,
    Registry,
    Signature,
    UnknownOutput,
    UnsupportedArtifact,
    load,
    register,
    register_file,
    wrap,
)
from serinus.models.adapters.onnx import threads


def made(nodes, inputs, outputs, **more):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def value(name, kind=TensorProto.FLOAT, shape=("rows", 2)):
    return helper.make_tensor_value_info(name, kind, shape)


def test_the_signature_is_the_graph_s(graph_file):
    """Inputs and outputs have the graph's names, datatypes and shapes; symbolic dimensions are -1."""
    model = load(graph_file)
    assert [(f.name, f.datatype, f.shape) for f in model.signature.inputs] == [("X", "FP32", (-1, 30))]
    assert [(f.name, f.datatype, f.shape) for f in model.signature.outputs] == [
        ("label", "INT64", (-1,)),
        ("probabilities", "FP32", (-1, 2)),
    ]


def test_answers_like_scikit_learn(graph_file, boosted, cancer):
    """The converted model answers like the one it was converted from."""
    rows, _ = cancer
    answer = load(graph_file).predict({"X": rows})
    assert answer["label"].tolist() == boosted.predict(rows).tolist()
    assert np.allclose(answer["probabilities"], boosted.predict_proba(rows), atol=1e-5)


def test_only_the_wanted_outputs(graph_file, cancer):
    """Outputs can be chosen; an unknown one is answered with the known ones."""
    model = load(graph_file)
    assert list(model.predict({"X": cancer[0][:1]}, ["probabilities"])) == ["probabilities"]
    with pytest.raises(UnknownOutput, match="'nope'; ask for label, probabilities"):
        model.predict({"X": cancer[0][:1]}, ["nope"])


def test_inputs_that_do_not_fit(graph_file, cancer):
    """Missing inputs, other dtypes and other widths are InvalidInput; unknown inputs are ignored."""
    model = load(graph_file)
    rows = cancer[0][:2]
    wrong = (
        ({}, "required input 'X' is missing"),
        ({"Y": rows}, "required input 'X' is missing"),
        ({"X": rows.astype(float)}, r"expected FP32 of shape \[-1, 30\], got float64 of shape \[2, 30\]"),
        ({"X": rows[:, :5]}, r"expected FP32 of shape \[-1, 30\], got float32 of shape \[2, 5\]"),
        ({"X": None}, "got NoneType"),
    )
    for inputs, sentence in wrong:
        with pytest.raises(InvalidInput, match=sentence):
            model.predict(inputs)
    assert len(model.predict({"X": rows, "more": rows})["label"]) == 2


def test_texts_go_in_and_out():
    """String tensors are BYTES: object arrays of str."""
    model = wrap(
        made(
            [helper.make_node("Identity", ["a"], ["b"])],
            [value("a", TensorProto.STRING, ("n",))],
            [value("b", TensorProto.STRING, ("n",))],
        )
    )
    texts = np.array(["é", "x"], dtype=object)
    assert model.signature.inputs[0].datatype == "BYTES"
    assert model.predict({"a": texts})["b"].tolist() == ["é", "x"]


def test_inputs_with_a_default_are_optional():
    """An initializer that is also an input has a default, so it may be left out."""
    default = helper.make_tensor("b", TensorProto.FLOAT, [2], [1, 2])
    model = wrap(
        made(
            [helper.make_node("Add", ["a", "b"], ["c"])],
            [value("a"), value("b", shape=(2,))],
            [value("c")],
            initializer=[default],
        )
    )
    assert {field.name: field.optional for field in model.signature.inputs} == {"a": False, "b": True}
    rows = np.zeros((1, 2), dtype=np.float32)
    assert model.predict({"a": rows})["c"].tolist() == [[1, 2]]
    assert model.predict({"a": rows, "b": rows[0]})["c"].tolist() == [[0, 0]]


@pytest.mark.parametrize("kind", [int, str])
def test_zipmap_is_a_matrix(tmp_path, boosted, cancer, kind):
    """A sequence of maps is one matrix, whose columns are the classes in the graph's order."""
    rows, classes = cancer
    fitted = clone(boosted).fit(rows, np.array([7, -3])[classes].astype(kind))
    plain = wrap(to_onnx(fitted, rows[:1], options={"zipmap": False}))
    path = tmp_path / "zipmap.onnx"
    path.write_bytes(to_onnx(fitted, rows[:1], options={"zipmap": True}).SerializeToString())
    model = load(path)
    name = model.signature.outputs[1].name
    assert model.signature.outputs[1] == Field(name, "FP32", (-1, 2), labels=tuple(fitted.classes_.tolist()))
    assert np.array_equal(model.predict({"X": rows})[name], plain.predict({"X": rows})["probabilities"])


def test_damaged_files(graph_file, tmp_path):
    """Empty, truncated and foreign files are refused in one sentence, without a crash."""
    content = graph_file.read_bytes()
    for damaged in (b"", b"hello world", content[:100], content[: len(content) // 2], content[:-1]):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged)
        with pytest.raises(UnsupportedArtifact, match="is not an ONNX graph that ONNX Runtime can run") as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_custom_operators_are_refused():
    """Operators of other libraries are native code that is never loaded."""
    node = helper.make_node("Evil", ["a"], ["b"], domain="com.example")
    graph = helper.make_graph([node], "graph", [value("a")], [value("b")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    with pytest.raises(UnsupportedArtifact, match="Evil"):
        wrap(helper.make_model(graph, opset_imports=imports, ir_version=9))


def test_the_names_of_a_given_signature_are_checked(graph):
    """A signature that names other inputs than the graph is refused at load, not at the first request."""
    signature = wrap(graph).signature
    from dataclasses import replace

    other = Signature((replace(signature.inputs[0], name="Y"),), signature.outputs)
    with pytest.raises(InvalidSignature, match="inputs are X; the signature says Y"):
        wrap(graph, other)


def test_registered_from_memory_and_from_a_file(home, graph, graph_file, cancer):
    """A ModelProto and its file are one version; loading it needs no trust."""
    version = register(graph, "cancer", home=home)
    assert (version.adapter, version.tag) == ("onnx", "cancer:1")
    assert len(Registry(home).load(version).predict({"X": cancer[0]})["label"]) == len(cancer[0])
    assert not (home / "trust.toml").exists()
    assert register_file(graph_file, "cancer", home=home).digest == version.digest


def test_external_data_are_part_of_the_version(home, tmp_path):
    """A folder with a graph and its external weights is registered whole and loads from the registry."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], np.eye(2, dtype=np.float32).tobytes(), raw=True)
    node = helper.make_node("MatMul", ["a", "w"], ["b"])
    model = made([node], [value("a")], [value("b")], initializer=[weights])
    folder = tmp_path / "exported"
    folder.mkdir()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    version = register_file(folder, "matrix", home=home)
    assert {path.name for path in (version.path / "artifact").iterdir()} == {"m.onnx", "m.bin"}
    assert Registry(home).load(version).predict({"a": np.ones((1, 2), dtype=np.float32)})["b"].tolist() == [[1, 1]]


def test_threads(monkeypatch):
    """Threads are the user's choice, else the cores shared out among the workers, and at least one."""
    monkeypatch.setenv("SERINUS_WORKERS", "100000")
    assert threads() == 1
    monkeypatch.setenv("SERINUS_ONNX_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("SERINUS_ONNX_THREADS", "many")
    with pytest.raises(ModelError, match="SERINUS_ONNX_THREADS must be a whole number from 1, got 'many'"):
        threads()
