"""The example of continuous integration: its workflow's own commands train, register, judge and tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

OURS = ("Train", "Register", "Judge", "Tell the reader of the pull request")


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    """The example in a folder of its own, with a `serinus` on the path."""
    copy = tmp_path / "example"
    shutil.copytree(checkout / "examples/ci_gate", copy)
    (copy / "bin").mkdir()
    for name, module in (("serinus", "-m serinus"), ("python", "")):
        (copy / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (copy / "bin" / name).chmod(0o755)
    return copy


def _run(folder: Path, checkout: Path, command: str) -> int:
    environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(checkout),
               "SERINUS_HOME": "registry", "GITHUB_ACTOR": "ada", "GITHUB_STEP_SUMMARY": "summary.md"}
    return subprocess.run(["bash", "-eo", "pipefail", "-c", command], cwd=folder, env=environ, timeout=120).returncode


def test_the_workflow_judges_a_version(folder: Path, checkout: Path) -> None:
    """Every step that runs a command of ours succeeds; verdict, approver, card and page are there."""
    steps = yaml.safe_load((folder / "evaluate.yml").read_text())["jobs"]["gate"]["steps"]
    commands = {step["name"]: step["run"] for step in steps if step.get("name") in OURS}
    assert tuple(commands) == OURS
    for name, command in commands.items():
        assert _run(folder, checkout, command) == 0, name
    gate = json.loads((folder / "build/gate/gate.json").read_text())
    assert gate["verdict"] == "pass" and gate["checks"][-1]["details"]["approver"] == "ada"
    assert (folder / "summary.md").read_text().lstrip().startswith("# cancer:1")
    assert "</html>" in (folder / "build/gate/report.html").read_text()
    assert _run(folder, checkout, commands["Judge"].replace("policy.toml", "none.toml")) == 2
