"""Exchange with BentoML's own model store, as BentoML's own API reads and writes it."""

import json
import os
import shutil
from pathlib import Path

import bentoml
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import (
    Card,
    Lineage,
    ModelNotFound,
    Registry,
    Trust,
    UnsupportedArtifact,
    UntrustedArtifact,
    VersionNotFound,
    register,
    register_file,
)
from serinus.models.bento import BentoFailed, export_model, import_model, requirements, write_context

STORE = Path(os.environ["BENTOML_HOME"]) / "models"


@pytest.fixture(autouse=True)
def empty_store():
    """BentoML looks for its home once in a process, so the tests share one and empty it."""
    yield
    for folder in STORE.glob("*"):
        shutil.rmtree(folder)


@pytest.fixture
def fitted(cancer):
    rows, classes = cancer
    return LogisticRegression(max_iter=5000).fit(rows[:, :4], classes)


def test_a_model_that_bentoml_saved_is_imported(fitted, home, cancer):
    """Its tag is the origin, its framework versions and metadata are kept; it must be trusted as any pickle."""
    saved = bentoml.sklearn.save_model("tumour", fitted, labels={"team": "onco"}, metadata={"auc": 0.97, "note": "x"})
    with pytest.raises(UntrustedArtifact, match="run: COMMAND --trust sha256:") as refused:
        import_model(str(saved.tag), home=home, command="COMMAND")
    version = import_model(str(saved.tag), home=home, trust=[refused.value.digest])
    assert (version.tag, version.lineage.origin) == ("tumour:1", f"bentoml:{saved.tag}")
    assert version.card == Card(metrics={"auc": 0.97}, tags=("team=onco",))
    answer = Registry(home).load(version, trust=Trust(home)).predict({"input": cancer[0][:, :4].astype(float)})
    assert answer["predict"].tolist() == fitted.predict(cancer[0][:, :4]).tolist()


@pytest.mark.filterwarnings("ignore:.*bentoml.onnx.*", "ignore::DeprecationWarning")
def test_a_graph_that_bentoml_saved_is_imported(graph, home):
    """ONNX needs no trust; another name may be chosen."""
    saved = bentoml.onnx.save_model("tumour", graph)
    version = import_model(f"tumour:{saved.tag.version}", home=home, name="cancer")
    assert (version.tag, version.adapter, version.artifact) == ("cancer:1", "onnx", "artifact/saved_model.onnx")
    assert version.libraries["onnx"]
    assert Registry(home).load(version).signature == version.signature


def test_further_libraries_are_installed_after_ours(home, tmp_path, fitted):
    """What a setting needs, such as copies of the log in an object store."""
    write_context(tmp_path / "context", [register(fitted, "cancer", home=home)], home=home, packages=["s3fs"])
    assert json.loads((tmp_path / "context" / "bentofile.yaml").read_text())["python"]["packages"] == [
        *requirements(), "s3fs"]


def test_versions_are_found_exactly(fitted, home):
    """BentoML would give v10 where v1 is asked for and missing; we say what there is. `latest` is BentoML's."""
    bentoml.sklearn.save_model(bentoml.Tag("tumour", "v10"), fitted)
    assert str(bentoml.models.get("tumour:v1").tag) == "tumour:v10"
    with pytest.raises(VersionNotFound, match=r"no version 'v1'; there are v10\."):
        import_model("tumour:v1", home=home)
    with pytest.raises(ModelNotFound, match="no model 'tum'"):
        import_model("tum", home=home)
    with pytest.raises(ModelNotFound):
        import_model("../tumour", home=home)
    with pytest.raises(UntrustedArtifact):
        import_model("tumour", home=home)
    with pytest.raises(UntrustedArtifact):
        import_model("tumour:latest", home=home)


def test_half_written_models_are_told(fitted, home):
    """What a killed BentoML leaves does not hinder the others."""
    bentoml.sklearn.save_model(bentoml.Tag("tumour", "whole"), fitted)
    (STORE / "tumour" / "half").mkdir()
    (STORE / "tumour" / "empty").mkdir()
    (STORE / "tumour" / "empty" / "model.yaml").write_text("")
    with pytest.raises(VersionNotFound, match="there are empty, whole"):
        import_model("tumour:half", home=home)
    with pytest.raises(UnsupportedArtifact, match="BentoML cannot read its model"):
        import_model("tumour:empty", home=home)


def test_what_is_exported_is_loaded_by_bentoml(home, fitted, cancer):
    """`bentoml.sklearn.load_model` gives the fitted object back; digest and card are BentoML's labels and metadata."""
    version = register(fitted, "tumour", home=home, card=Card(owner="Ada", metrics={"auc": 0.97}))
    assert export_model(version) == "tumour:1"
    assert export_model(version) == "tumour:1"
    stored = bentoml.models.get("tumour:1")
    assert stored.info.labels == {"digest": version.digest}
    assert stored.info.metadata == {"auc": 0.97, "owner": "Ada"}
    assert np.array_equal(bentoml.sklearn.load_model("tumour:1").coef_, fitted.coef_)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_graph_is_loaded_by_bentoml(home, graph_file):
    """`bentoml.onnx.load_model` opens a session on it."""
    export_model(register_file(graph_file, "tumour", home=home))
    assert bentoml.onnx.load_model("tumour:1").get_inputs()[0].name == "X"


def test_there_and_back(home, tmp_path, pipeline, people):
    """Signature, card, lineage and attachments survive the journey; a pickle is not trusted for it."""
    version = register(pipeline, "churn", reference=people, target="buys", home=home, card=Card(owner="Ada"),
                       lineage=Lineage(parent="churn:7"), attachments={"references/a.json": b"{}"})  # fmt: skip
    export_model(version)
    arrived = import_model("churn:1", home=tmp_path / "elsewhere", name="stay")
    assert (arrived.tag, arrived.lineage.parent, arrived.lineage.origin) == ("stay:1", "churn:7", "bentoml:churn:1")
    for part in ("digest", "signature", "card", "libraries", "artifact"):
        assert getattr(arrived, part) == getattr(version, part)
    registry = Registry(tmp_path / "elsewhere")
    assert registry.attachments(arrived) == ["checks/rows.json", "expectations.json", "references/a.json"]
    with pytest.raises(UntrustedArtifact):
        registry.load(arrived, trust=Trust(tmp_path / "elsewhere"))


def test_another_model_under_the_tag_is_not_replaced(home, tmp_path, fitted, graph_file):
    """BentoML's versions are immutable too; names that BentoML does not take are told."""
    export_model(register(fitted, "tumour", home=home))
    with pytest.raises(BentoFailed, match="has another tumour:1; delete it: bentoml models delete tumour:1"):
        export_model(register_file(graph_file, "tumour", home=tmp_path / "elsewhere"))
    with pytest.raises(BentoFailed, match="BentoML did not take tumour-:1"):
        export_model(register(fitted, "tumour-", home=home))


def test_a_changed_export_is_refused(home, tmp_path, fitted):
    """BentoML protects no file; the manifest that went along does."""
    export_model(register(fitted, "tumour", home=home))
    saved = STORE / "tumour" / "1" / "saved_model.pkl"
    saved.write_bytes(saved.read_bytes() + b"!")
    with pytest.raises(Exception, match="bentoml:tumour:1 changed after it was exported"):
        import_model("tumour:1", home=tmp_path / "elsewhere")
