"""The example of custom monitors, installed as a user would, on a real server with two workers."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from tests.integration.client import Client
from tests.integration.server import CHECKOUT, Server

EXAMPLE = CHECKOUT / "examples" / "custom_monitor"
_BATCH = 250


class Installed:
    """An environment that has the example, and all that this one has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"
        self.environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        # Without a pip and setuptools of its own: those beneath can build a wheel, whatever Python came with.
        self.run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        lines = [f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()]
        (packages / "beneath.pth").write_text("".join(lines))
        shutil.copytree(EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("__pycache__"))
        self.run(self.python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", folder / "example")

    def run(self, *words: object, codes: tuple[int, ...] = (0,)) -> str:
        """Run a program in the folder; what it printed."""
        done = subprocess.run([str(word) for word in words], cwd=self.folder, env=self.environ, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode in codes, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Everything installed, once."""
    return Installed(tmp_path_factory.mktemp("plugin"))


def test_the_example_keeps_the_contracts(installed: Installed) -> None:
    """Its own tests pass, from where a user would run them."""
    tests = installed.folder / "example"
    printed = installed.run(installed.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
                            "--rootdir", tests, tests)
    assert "4 passed" in printed and "skipped" not in printed


def test_the_report_knows_the_distance(installed: Installed) -> None:
    """By its name, with no other word."""
    generator = np.random.default_rng(0)
    for name, mean in (("a", 0.0), ("b", 1.0)):
        pd.DataFrame({"x": generator.normal(mean, 1, 500)}).to_csv(installed.folder / f"{name}.csv", index=False)
    printed = installed.run(installed.python, "-m", "serinus", "monitor", "report", "--reference", "a.csv",
                            "--current", "b.csv", "--distance", "hellinger", "--json", codes=(1,))
    assert '"distance": "hellinger"' in printed


def loans(seed: int, factor: float = 1.0) -> pd.DataFrame:
    """Applications; those with much income for the amount are approved."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame({"amount": factor * generator.uniform(1_000, 50_000, _BATCH),
                         "income": factor * generator.uniform(10_000, 90_000, _BATCH)})


def custom(client: Client) -> dict[str, dict[str, Any]]:
    """What the custom monitors say, by name."""
    answer = client.get("/api/monitors/loans")
    versions = answer.json()["versions"] if answer.status == 200 else []
    return {one["name"]: one for version in versions for one in version.get("custom", [])}


@pytest.mark.slow
def test_a_business_metric_is_watched_and_raises_an_alarm(installed: Installed, tmp_path: Path) -> None:
    """Twenty windows of two workers are learnt, the next is fine, and one of three times the amounts is an alarm."""
    home, frame = tmp_path / "home", loans(0)
    approved = (frame["income"] > frame["amount"] * 1.8).astype(int)
    register(LogisticRegression().fit(frame / 1_000, approved), "loans", home=home, reference=frame / 1_000)
    command = [str(installed.python), "-m", "serinus", "serve", "loans", "--home", str(home), "--workers", "2",
               "--port", "0"]
    with Server(home, tmp_path, command=command) as server:
        server.wait_for_banner()
        with Client(server.port) as client:
            assert watched(client, range(2, 120, 2), ("ok", "alarm"))["state"] == "ok"
            found = watched(client, range(300, 340, 2), ("alarm",), factor=3.0)
            assert found["windows"] >= 21 and found["finding"]["facts"]["mean"] > found["finding"]["facts"]["high"]
            assert "euros, expected" in found["finding"]["text"]
            assert custom(client)["approval_rate"]["windows"] >= 21


def watched(client: Client, batches: range, states: tuple[str, ...], factor: float = 1.0) -> dict[str, Any]:
    """Send a window's rows a second until the business metric is in one of these states; what it says then."""
    for seed in batches:
        for each in (seed, seed + 1):
            rows = (loans(each, factor) / 1_000).to_dict("records")
            assert client.post("/predict", {"rows": rows}).status == 200
        time.sleep(1.1)  # counts travel once a second, so that is a window of its own
        now = custom(client).get("approved_amount")
        if now is not None and now["state"] in states:
            return now
    raise AssertionError(f"Not in {states}: {custom(client)}")
