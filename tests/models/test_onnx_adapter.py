"""ONNX graphs: the graph's own signature, nothing copied, and one sentence for what cannot run."""

import os

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.internal import encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper
from skl2onnx import to_onnx
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

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
from serinus.models.adapters.onnx import cores, threads
from tests.models.onnx_graphs import a_map, alike, made, ml, tensors, typed, value


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


def test_a_zipmap_whose_graph_is_not_at_hand(boosted, cancer):
    """A session that does not say what it was made of is asked with one row what its maps' keys are."""
    rows, _ = cancer
    proto = to_onnx(boosted, rows[:1], options={"zipmap": True})
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    session._model_bytes = None
    assert wrap(session).signature.outputs[1] == wrap(proto).signature.outputs[1]
    assert wrap(proto).row_wise and not wrap(session).row_wise


@pytest.mark.parametrize("name", ["label", "probabilities"])
def test_class_labels(boosted, cancer, name):
    """The labels of a classifier are those of its classes and of its probabilities' columns."""
    rows, classes = cancer
    fitted = clone(boosted).fit(rows, np.array(["no", "yes"])[classes])
    model = wrap(to_onnx(fitted, rows[:1], options={"zipmap": False}))
    assert model.signature.output(name).labels == ("no", "yes")


def test_labels_of_a_classifier_further_within():
    """Columns are not labelled with other classes than those that are predicted."""
    rows, classes = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[classes]
    stack = StackingClassifier([("bayes", GaussianNB())], LogisticRegression()).fit(rows, names)
    model = wrap(to_onnx(stack, rows[:1].astype(np.float32), options={"zipmap": False}))
    assert model.signature.output("label").labels == ("setosa", "versicolor", "virginica")
    assert model.signature.output("probabilities").labels is None


NAMELESS = ("BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "INT4", "UINT4")


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("kind", NAMELESS)
def test_types_without_a_name(kind, side):
    """Types that the protocol has no name for are refused by theirs, with the way out."""
    nameless = TensorProto.DataType.Value(kind)
    one, other = (nameless, TensorProto.FLOAT) if side == "input" else (TensorProto.FLOAT, nameless)
    node = helper.make_node("Cast", ["a"], ["b"], to=other)
    with pytest.raises(UnsupportedArtifact, match=rf"The ONNX {side} '\w' holds {kind.lower()}, .* by a Cast"):
        wrap(made([node], [value("a", one)], [value("b", other)], opset=21))


def test_complex_numbers():
    """What the runtime has no kernels for is refused with its words."""
    with pytest.raises(UnsupportedArtifact, match="complex64"):
        wrap(alike(helper.make_tensor_type_proto(TensorProto.COMPLEX64, [1])))


@pytest.mark.parametrize("values", [TensorProto.INT64, TensorProto.DOUBLE])
def test_maps_that_cannot_be_made(values):
    """Maps of something else than floats cannot be handed to the runtime from Python, so they are refused at load."""
    node = ml("DictVectorizer", ["a"], ["b"], string_vocabulary=["x"])
    model = made([node], [typed("a", a_map(TensorProto.STRING, values))], [value("b", values, None)])
    with pytest.raises(UnsupportedArtifact, match=r"The ONNX input 'a' is a map\(string,tensor\(\w+\)\), and only"):
        wrap(model)


def refused(path, content, sentence):
    """A file of this content is refused in one sentence."""
    path.write_bytes(content)
    with pytest.raises(UnsupportedArtifact, match=sentence) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is not an ONNX graph that ONNX Runtime can run: ")
    assert "\n" not in str(caught.value)


def test_damaged_files(graph_file, tmp_path):
    """Empty, truncated and foreign files are refused in one sentence, without a crash."""
    content = graph_file.read_bytes()
    path = tmp_path / "damaged.onnx"
    refused(path, b"", "it is empty")
    for size in (100, len(content) // 2, len(content) - 1):
        refused(path, content[:size], "it is cut short; export it again, or copy it whole")
    for foreign in (b"hello world", b"PK\x03\x04" + bytes(99), b"\x89HDF", bytes(9)):
        refused(path, foreign, "its bytes are not those of an ONNX file|it holds no graph|it is cut short")
    refused(path, made([], [], []).SerializeToString().replace(b"\x3a", b"\x1a", 1), "can run: ")


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files(data, tmp_path):
    """However a file is damaged, it loads or is refused in a sentence."""
    maps = helper.make_sequence_type_proto(a_map(TensorProto.INT64))
    nodes = [helper.make_node("Add", ["a", "w"], ["c"]), ml("ZipMap", ["c"], ["b"], classlabels_int64s=[1, 2])]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2], [1, 2])
    model = made(nodes, [value("a")], [typed("b", maps)], initializer=[weights])
    content = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.onnx"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        load(path).close()
    except UnsupportedArtifact as error:
        assert "\n" not in str(error)


def weighted(**changes):
    """A graph with one initializer of two rows, with what is changed about it."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], np.eye(2, dtype=np.float32).tobytes(), raw=True)
    if "dims" in changes:
        weights.dims[:] = changes["dims"]
    if "location" in changes:
        external_data_helper.set_external_data(weights, changes["location"])
        weights.ClearField("raw_data")
    return made([helper.make_node("MatMul", ["a", "w"], ["b"])], [value("a")], [value("b")], initializer=[weights])


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 30, 1 << 30], [1 << 62, 2, 2], [-4], [2, -2], [1] * 100, [1 << 31]])
def test_enormous_claims(tmp_path, dims):
    """A tensor that claims more than the file has is refused before anybody makes room for it."""
    path = tmp_path / "enormous.onnx"
    refused(path, weighted(dims=dims).SerializeToString(), "'w' claims the shape .* and has|of impossible shape")
    (tmp_path / "w.bin").write_bytes(bytes(16))
    refused(path, weighted(dims=dims, location="w.bin").SerializeToString(), "claims the shape|of impossible shape")


def test_sparse_claims(tmp_path):
    """A sparse tensor is made dense when it is loaded, so its shape counts, not its values."""
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("", TensorProto.INT64, [1], [3])
    sparse = helper.make_sparse_tensor(values, indices, [1 << 20, 1 << 20])
    node = helper.make_node("MatMul", ["a", "w"], ["b"])
    model = made([node], [value("a")], [value("b")], sparse_initializer=[sparse])
    refused(tmp_path / "sparse.onnx", model.SerializeToString(), "'w' claims the shape")


def test_graphs_within_graphs(tmp_path):
    """Nobody's model is nested so deep that reading it could exhaust the stack."""

    def message(number, content):
        return bytes([number << 3 | 2]) + encoder._VarintBytes(len(content)) + content

    graph = b""
    for _ in range(5000):
        graph = message(1, message(5, message(6, graph)))  # node, attribute, graph
    refused(tmp_path / "deep.onnx", message(7, graph), "its graphs are nested more than 64 deep")


def test_data_outside_the_folder(tmp_path):
    """Data that a graph has elsewhere are never read: by absolute path, upwards, or through a link."""
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, dtype=np.float32).tobytes())
    (folder / "link.bin").symlink_to(secret)
    for location in (str(secret), "../secret.bin", "link.bin", "x/../../secret.bin", "/dev/zero"):
        content = weighted(location=location).SerializeToString()
        refused(folder / "m.onnx", content, "it refers to data in '.*', outside of its own folder")
    for location in ("missing.bin", "*/_ORT_MEM_ADDR_/*", ".", ""):
        refused(folder / "m.onnx", weighted(location=location).SerializeToString(), "its data in '.*' are missing")


def test_data_outside_the_memory():
    """A model in memory whose data lie in files has no folder to look for them in."""
    with pytest.raises(UnsupportedArtifact, match="its data lie in other files; save it, and give the file's path"):
        wrap(weighted(location="w.bin"))


def test_custom_operators_are_refused():
    """Operators of other libraries are native code that is never loaded; all of them are named."""
    nodes = [helper.make_node(name, ["a"], ["b"], domain="com.example") for name in ("Evil", "Bad")]
    graph = helper.make_graph(nodes, "graph", [value("a")], [value("b")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    with pytest.raises(UnsupportedArtifact, match=r"custom operators com\.example\.Bad, com\.example\.Evil, whose"):
        wrap(helper.make_model(graph, opset_imports=imports, ir_version=9))


def test_newer_than_the_runtime():
    """A format of the future is refused in the runtime's words, without its source."""
    model = alike(tensors())
    model.ir_version = 99
    with pytest.raises(UnsupportedArtifact, match="can run: Unsupported model IR version: 99, max supported"):
        wrap(model)


def test_the_runtime_s_own_form(graph_file, tmp_path, cancer):
    """An `.ort` file is served like the graph it was made of, and refused when damaged."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(graph_file, options)
    path = tmp_path / "model.ort"
    found = load(path).predict({"X": cancer[0]})
    assert found["label"].tolist() == load(graph_file).predict({"X": cancer[0]})["label"].tolist()
    refused(path, path.read_bytes()[:500], "can run: ")


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


def test_a_graph_brings_its_external_data(home, tmp_path):
    """Who registers just the graph's file registers the files that it refers to with it, and no others."""
    (tmp_path / "w.bin").write_bytes(np.eye(2, dtype=np.float32).tobytes())
    (tmp_path / "other.bin").write_bytes(b"other")
    path = tmp_path / "m.onnx"
    path.write_bytes(weighted(location="w.bin").SerializeToString())
    version = register_file(path, "matrix", home=home)
    assert {file.name for file in (version.path / "artifact").iterdir()} == {"m.onnx", "w.bin"}
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


def test_cores(tmp_path):
    """A control group that grants less time than there are cores counts as fewer cores, rounded up."""
    limit = tmp_path / "cpu.max"
    everything = cores(limit)
    assert everything == len(os.sched_getaffinity(0))
    limits = {"max 100000": everything, "50000 100000": 1, "9990000 1000": everything, "": everything}
    for text, expected in limits.items():
        limit.write_text(text)
        assert cores(limit) == expected
