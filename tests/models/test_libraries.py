"""Other versions of the libraries than in training are noticed: major or minor, and only where they matter."""

import json
import logging
from importlib.metadata import version

from sklearn.linear_model import LinearRegression

from serinus.models import Registry, Trust, register, register_file
from serinus.models.libraries import installed, relevant, skew

NUMPY = version("numpy")


def test_a_patch_is_no_skew():
    """Major and minor version count; a library that is not here any more is named."""
    major, minor, *_ = NUMPY.split(".")
    assert skew({"numpy": f"{major}.{minor}.999"}) == []
    assert skew({"numpy": "1.0.1", "gone": "2.0"}) == ["gone 2.0, here not installed", f"numpy 1.0.1, here {NUMPY}"]


def test_what_is_recorded_is_installed():
    """The libraries that answers depend on, with the versions that are here."""
    assert installed()["numpy"] == NUMPY
    assert skew(installed()) == []


def test_graphs_depend_on_their_runtime_alone():
    """A graph is not asked for the scikit-learn it once came from."""
    assert relevant("onnx", {"onnxruntime": "1.0.0", "numpy": "1.0.0"}) == {"onnxruntime": "1.0.0"}
    assert list(relevant("sklearn", installed())) == ["numpy", "pandas", "scikit-learn", "scipy"]


def test_skew_is_logged_when_a_version_is_loaded(home, caplog):
    """One line, with what was there and what is here."""
    made = register(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), "line", home=home)
    manifest = made.path / "manifest.json"
    document = json.loads(manifest.read_text())
    document["libraries"] |= {"numpy": "1.0.1", "onnxruntime": "0.1.0"}
    manifest.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING, "serinus.models"):
        Registry(home).load(Registry(home).get("line"), trust=Trust(home))
    assert caplog.messages == [
        f"line:1 was made with other libraries (numpy 1.0.1, here {NUMPY}), so its answers may differ from those of "
        "training."
    ]


def test_a_pickle_tells_which_scikit_learn_wrote_it(home, tmp_path, monkeypatch):
    """A file from elsewhere is recorded with the version that it was made with, not with ours."""
    import joblib
    import sklearn.base

    fitted = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", "1.2.3")
        joblib.dump(fitted, tmp_path / "line.joblib")
    from serinus.models.loading import measured_digest

    digest = measured_digest(tmp_path / "line.joblib")
    made = register_file(tmp_path / "line.joblib", "line", home=home, trust=[digest])
    assert made.libraries["scikit-learn"] == "1.2.3"
