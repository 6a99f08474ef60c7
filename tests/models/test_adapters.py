"""The adapters at hand: built-in ones first, then what installed packages offer, functions last."""

import os
import subprocess
import sys


def test_an_installed_package_offers_an_adapter(tmp_path, checkout):
    """An adapter is found by its entry point, and asked before a callable is taken for a function."""
    info = tmp_path / "line_adapter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: line-adapter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[serinus.adapters]\nline = tests.models.line:LineAdapter\n")
    code = (
        "from serinus.models.adapters import adapter_named, adapter_of, adapters; from tests.models.line import Line; "
        "Line.__call__ = lambda self: None; line = Line({}); "
        "print(*(a.name for a in adapters())); print(adapter_of(line).name, adapter_named('line').name)"
    )
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{checkout}"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["sklearn onnx line function", "line line"]
