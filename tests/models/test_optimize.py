"""Optimisation: a new version that answers alike and is proved to, or none at all."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serinus.models import (
    DigestMismatch,
    InvalidSignature,
    Registry,
    Trust,
    UntrustedArtifact,
    register,
)
from serinus.models.frame import arrays_of
from serinus.models.onnx_conversion import NotConvertible
from serinus.models.optimize import ATTACHMENT, optimize, rows_of


class Ticking:
    """A clock that moves a second whenever it is read, so that a block is one call: speed is not tested here."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def improve(home):
    """Optimise the newest version of a name."""

    def optimized(name, data, **how):
        registry = Registry(home)
        return optimize(registry.get(name), data, registry=registry, trust=Trust(home), clock=Ticking(), **how)

    return optimized


@pytest.fixture
def people_version(home, pipeline, people):
    return register(pipeline, "people", reference=people, target="buys", home=home)


def test_a_pipeline_becomes_a_graph_that_can_be_rolled_out(home, improve, people_version, people):
    """Mixed columns with gaps: the next version has the same signature, no pickle, and the same answers."""
    done = improve("people", people, target="buys")
    assert (done.version.tag, done.version.adapter, done.method) == ("people:2", "onnx", "ONNX in single precision")
    assert done.version.signature == people_version.signature
    assert done.version.signature.incompatibilities(people_version.signature) == []
    loaded = Registry(home).load(done.version)  # without trust: a graph runs no code
    rows = arrays_of(people, people_version.signature.inputs)
    expected = Registry(home).load(people_version, trust=Trust(home)).predict(rows)
    answer = loaded.predict(rows)
    assert answer["predict"].tolist() == expected["predict"].tolist()
    assert np.allclose(answer["predict_proba"], expected["predict_proba"], atol=1e-5)


def test_the_proof_goes_with_the_version(home, improve, people_version, people):
    """What was compared and measured is an attachment, and the lineage names the parent and what was done."""
    done = improve("people", people, target="buys")
    kept = json.loads(Registry(home).attachment(done.version, ATTACHMENT))
    assert (kept["format"], kept["parent"], kept["method"]) == (1, "people:1", "ONNX in single precision")
    assert kept["parity"]["rows"] == 120 and kept["parity"]["changed_labels"] == 0
    assert 0 < kept["parity"]["max_absolute_difference"]["predict_proba"] < 1e-5
    assert set(kept["gaps"]) == {"age", "city", "colour"}
    assert [speed["rows"] for speed in kept["speed"]] == [1, 64]
    assert kept == {"format": 1} | {key: value for key, value in done.to_json().items() if key != "tag"}
    lineage = done.version.lineage
    assert (lineage.parent, lineage.step) == ("people:1", "optimize: ONNX in single precision")
    assert lineage.data == people_version.lineage.data is not None


def test_the_same_again_is_the_same_version(home, improve, people_version, people):
    """Conversion is repeatable, so it makes one version of a parent, however often it is asked."""
    first = improve("people", people)
    registry = Registry(home)
    again = optimize(people_version, people, registry=registry, trust=Trust(home), clock=Ticking())
    assert again.version.tag == first.version.tag == "people:2" == registry.get("people").tag


def test_double_precision_where_single_is_not_enough(improve, home):
    """The first way whose answers agree is taken."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(80, 3)) + 1e4, columns=list("abc"))
    register(LinearRegression().fit(frame, frame["a"] - frame["b"]), "far", reference=frame, home=home)
    assert improve("far", frame, tolerance=1e-9).method == "ONNX in double precision"


def test_answers_that_differ_are_refused_with_the_numbers(improve, home):
    """skl2onnx takes words apart at letters beyond ASCII: no version is made, and the sentence says how far off."""
    texts = ["été ici", "hiver là", "good day", "bad day"] * 5
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0] * 5)
    register(fitted, "texts", home=home)
    with pytest.raises(NotConvertible) as caught:
        improve("texts", pd.DataFrame({"text": texts}))
    sentence = str(caught.value)
    assert sentence.startswith("texts:1 stays as it is, and nothing was registered: ONNX in single precision: 0 of 20")
    assert "predict_proba differs by at most 0." in sentence
    assert sentence.endswith("wanted no label changed and differences of at most 1e-05 (--tolerance).")
    assert Registry(home).versions("texts") == ["1"]
    assert improve("texts", pd.DataFrame({"text": texts}), tolerance=0.5).version.tag == "texts:2"


def test_what_cannot_be_converted_stays_as_it_is(improve, home, cancer):
    """One sentence, and no version."""
    register(HistGradientBoostingClassifier(max_iter=3).fit(*cancer), "boosted", home=home)
    with pytest.raises(NotConvertible, match=r"^boosted:1 cannot be converted to ONNX and stays as it is: skl2onnx"):
        improve("boosted", pd.DataFrame(cancer[0]))
    assert Registry(home).versions("boosted") == ["1"]


@pytest.fixture
def network(home, cancer):
    """A small neural network over columns, and its data with the ground truth."""
    rows = StandardScaler().fit_transform(cancer[0][:, :10])
    frame = pd.DataFrame(rows, columns=list("abcdefghij"))
    fitted = MLPClassifier((64,), max_iter=80, random_state=0).fit(frame, cancer[1])
    register(fitted, "network", reference=frame, home=home)
    return frame.assign(truth=cancer[1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_become_8_bit_integers_at_a_stated_cost(network, improve, home):
    """Quantisation is judged by its cost in accuracy, and done once."""
    done = improve("network", network, target="truth", quantize=True)
    assert (done.version.tag, done.method) == ("network:2", "ONNX with 8-bit weights")
    assert done.cost.metric == "accuracy" and 0.9 < done.cost.before <= 1 and done.cost.cost <= 0.01
    assert done.parity.differences["predict_proba"] > 1e-5  # it does change the answers
    with pytest.raises(NotConvertible, match="network:2 stays as it is: its weights are 8-bit integers already"):
        improve("network", network, quantize=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_graph_can_be_quantised(network, improve, home):
    """An ONNX version is a parent too; without the ground truth the share of labels changed is the cost."""
    rows = network.drop(columns="truth")
    assert improve("network", rows).method == "ONNX in single precision"
    done = improve("network", rows, quantize=True, max_cost=0.05)
    assert (done.parent.tag, done.version.tag) == ("network:2", "network:3")
    assert done.cost.metric == "share of labels changed"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_cost_above_the_limit_is_refused(network, improve, home):
    """The limit is the user's, and a limit below nothing refuses everything."""
    with pytest.raises(NotConvertible, match=r"accuracy .* wanted a cost of at most -1 \(--max-cost\)"):
        improve("network", network, target="truth", quantize=True, max_cost=-1.0)
    assert Registry(home).versions("network") == ["1"]


def test_nothing_to_quantise_is_said(improve, home, cancer):
    """Trees have no weights."""
    register(GradientBoostingClassifier(n_estimators=3).fit(*cancer), "trees", home=home)
    with pytest.raises(NotConvertible, match=r"trees:1 stays as it is: none of its operators .*TreeEnsemble"):
        improve("trees", pd.DataFrame(cancer[0]), quantize=True)


def test_a_graph_is_a_graph_already(improve, people_version, people):
    """An ONNX version can only be quantised."""
    improve("people", people)
    with pytest.raises(NotConvertible, match="people:2 stays as it is: it is an ONNX graph already; --quantize"):
        improve("people", people)


def test_nobody_runs_code_unasked(home, people_version, people):
    """The parent's artifact is a pickle, so trust is asked first, and its digest is checked."""
    registry = Registry(home)
    with pytest.raises(UntrustedArtifact):
        optimize(people_version, people, registry=registry)
    artifact = people_version.path / people_version.artifact
    artifact.chmod(0o600)
    artifact.write_bytes(b"other")
    with pytest.raises(DigestMismatch):
        optimize(people_version, people, registry=registry, trust=Trust(home))


def test_data_that_do_not_fit(improve, people_version, people, home, cancer):
    """Absent columns, an absent target, no rows, another width and words for numbers are said in one sentence."""
    for data, how, sentence in [
        (people.drop(columns="city"), {}, "lacks the columns city"),
        (people, {"target": "bought"}, "no target column 'bought'"),
        (people.head(0), {}, "no rows"),
        (people.assign(age="old"), {}, "do not fit the model: could not convert string to float"),
    ]:
        with pytest.raises(InvalidSignature, match=sentence):
            improve("people", data, **how)
    register(LinearRegression().fit(*cancer), "matrix", home=home)
    with pytest.raises(InvalidSignature, match="takes 30 columns and the data have 29"):
        improve("matrix", pd.DataFrame(cancer[0][:, 1:]))


def test_the_target_is_no_input(people, people_version):
    """Rows are the model's inputs in its order; the truth is the target's column."""
    rows, truth = rows_of(people, people_version.signature, "buys")
    assert list(rows) == [field.name for field in people_version.signature.inputs]
    assert truth.tolist() == people["buys"].tolist()
    assert rows_of(people, people_version.signature)[1] is None


def test_without_the_packages_the_sentence_says_how_to_get_them(checkout):
    """skl2onnx is an extra; nothing else of serinus needs it."""
    code = (
        "import sys; sys.modules['skl2onnx'] = None; from serinus.models.onnx_conversion import require\n"
        "try: require()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "ModelError Conversion to ONNX needs skl2onnx and onnx, and skl2onnx is not installed; "
        "run: pip install 'serinus[optimize]'\n"
    )
