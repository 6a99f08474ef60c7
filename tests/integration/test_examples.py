"""The examples that need a server, as a reader runs them: trained here, served together, asked from outside."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import serinus
from tests.integration.server import CHECKOUT, Server, eventually

EXAMPLES = CHECKOUT / "examples"
_TRAINING = ("quickstart_sklearn.py", "quickstart_onnx.py", "shadow_then_canary/train.py",
             "delayed_ground_truth/train.py", "text_onnx/train.py")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server over everything that the examples register."""
    pytest.importorskip("skl2onnx")
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERINUS_HOME", str(folder / "home"))
        for program in _TRAINING:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                runpy.run_path(str(EXAMPLES / program), run_name="__main__")
            assert re.search(r"Registered [a-z-]+:1 .*Serve it: serinus serve", printed.getvalue(), re.DOTALL), program
    # A machine with other work to do has no idle moment for a shadow.
    with Server(folder / "home", folder, environ={"SERINUS_SHADOW_PRIORITY": "normal"}) as running:
        yield running


def _run(program: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a program of an example in a folder; its exit code."""
    path = EXAMPLES / program
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [path.name, "--url", f"http://127.0.0.1:{server.port}"])
    monkeypatch.syspath_prepend(str(path.parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.modules.pop("train", None)
    return 0


def test_every_program_of_the_examples_is_run(checkout: Path) -> None:
    """Here, or by the tests of the example itself."""
    programs = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    own = ("ci_gate/", "custom_monitor/", "xgboost_adapter/")
    elsewhere = {program for program in programs if program.startswith(own)}
    named = set(re.findall(r'"(\w+(?:/\w+)?\.py)"', Path(__file__).read_text("utf-8")))
    assert programs - elsewhere == named & programs


def test_a_sound_version_goes_from_shadow_to_stable(served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    """On the evidence alone, and what each version answered is told."""
    assert _run("shadow_then_canary/roll_out.py", served, tmp_path, monkeypatch) == 0
    told = capsys.readouterr().out
    assert "The end: promoted; version 2 is stable." in told and "as candidate." in told


def test_truths_come_later(served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    """By id and by key: all 88 find their predictions."""
    assert _run("delayed_ground_truth/ask.py", served, tmp_path, monkeypatch) == 0
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 88
    assert _run("delayed_ground_truth/tell.py", served, tmp_path, monkeypatch) == 0
    assert "88 of 88 predictions have a truth" in capsys.readouterr().out


def test_other_texts_are_noticed(served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another language, digits and an unknown vocabulary: an alarm, which is what the exit code says."""
    assert _run("text_onnx/ask.py", served, tmp_path, monkeypatch) == 0


def test_a_service_of_ones_own_decides(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules, then the model, with its version and prediction id; a person where the model cannot be asked."""
    monkeypatch.setenv("SERINUS_URL", f"http://127.0.0.1:{served.port}")
    names = runpy.run_path(str(EXAMPLES / "bento_service/service.py"), run_name="loan_desk_example")

    def decide(**said: Any) -> Any:
        async def asked() -> Any:
            desk = names["LoanDesk"].inner()
            try:
                return await desk.decide(names["Application"](customer="c-7", **said))
            finally:
                await desk.close()
        return asyncio.run(asked())

    assert decide(age=17).reason == "under age"
    young, old = decide(age=25, income=38_000, city="Oslo"), decide(age=75, income=38_000, city="Oslo")
    assert (young.granted, old.granted, young.version) == (True, False, "1") and young.prediction_id
    monkeypatch.setenv("SERINUS_URL", "http://127.0.0.1:1")
    assert "a person decides" in decide(age=41).reason


@pytest.mark.slow
def test_the_service_is_served_and_built(served: Server, tmp_path: Path) -> None:
    """By BentoML's own commands, from the folder of the example."""
    shutil.copytree(EXAMPLES / "bento_service", tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "SERINUS_URL": f"http://127.0.0.1:{served.port}", "PYTHONPATH": str(CHECKOUT),
               "BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_ENABLE_FEATURES": "no_image"}
    bentoml = [sys.executable, "-m", "bentoml"]
    built = subprocess.run([*bentoml, "build"], cwd=tmp_path / "example", env=environ, capture_output=True, text=True)
    assert built.returncode == 0 and "loan_desk:" in built.stdout, built.stdout + built.stderr
    desk = subprocess.Popen([*bentoml, "serve", "service:LoanDesk", "--port", str(port)], cwd=tmp_path / "example",
                            env=environ)
    try:
        with serinus.Client(f"http://127.0.0.1:{port}") as client:
            body = {"application": {"customer": "c-7", "age": 25, "income": 38000, "city": "Oslo"}}
            answer = eventually(lambda: _decided(client, body), 60)
        assert answer["granted"] and answer["version"] == "1"
    finally:
        desk.terminate()
        desk.wait(30)


def _decided(client: serinus.Client, body: dict[str, Any]) -> Any:
    from serinus.serving.client import ClientError
    from serinus.serving.client.call import post

    try:
        return client.send(post("/decide", body, dict))
    except ClientError:
        return None
