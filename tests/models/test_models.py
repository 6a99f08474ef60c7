"""The door: short, sorted, true, and cheap to open."""

import subprocess
import sys
from pathlib import Path

import pytest

import serinus.models.errors
from serinus.models import UnsupportedArtifact, load

ROOT = Path(__file__).resolve().parents[2]


def test_the_door_is_true():
    """Every promised name exists, every error among them, and nothing else can be had."""
    errors = [name for name in serinus.models.errors.__all__ if name[0].isupper()]
    assert set(errors) <= set(serinus.models.__all__)
    assert all(hasattr(serinus.models, name) for name in serinus.models.__all__)
    with pytest.raises(AttributeError):
        serinus.models.nonsense  # noqa: B018


def test_import_loads_no_framework():
    """Importing the door and reading a registry load no framework."""
    code = (
        "import sys; from pathlib import Path; import serinus.models as m; import serinus.models.adapters; "
        "[getattr(m, name) for name in m.__all__]; m.Registry(Path('absent')).all(); "
        "print([n for n in ('sklearn', 'pandas', 'onnxruntime', 'scipy', 'joblib', 'skops') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_onnx_loads_no_scikit_learn(graph_file):
    """A server of ONNX models alone pays for neither scikit-learn nor pandas."""
    code = (
        f"import sys, serinus.models as m; m.load({str(graph_file)!r}); "
        "print([n for n in ('sklearn', 'pandas', 'joblib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_files_say_who_was_asked(tmp_path):
    """When no adapter accepts a file, the sentence names those that were asked."""
    path = tmp_path / "model.txt"
    path.write_text("hello")
    with pytest.raises(UnsupportedArtifact, match="asked were sklearn, onnx, function"):
        load(path)
    with pytest.raises(UnsupportedArtifact, match="does not exist"):
        load(tmp_path / "absent.onnx")


def test_folders_must_hold_one_model(tmp_path, graph_file):
    """A folder stands for the one model file in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UnsupportedArtifact, match="exactly one model file, got none"):
        load(folder)
    (folder / "a.onnx").write_bytes(graph_file.read_bytes())
    assert load(folder).signature == load(graph_file).signature
    (folder / "b.onnx").write_bytes(graph_file.read_bytes())
    with pytest.raises(UnsupportedArtifact, match=r"got a\.onnx, b\.onnx"):
        load(folder)
