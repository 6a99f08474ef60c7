"""Silent decay is seen on a real server: by estimate before any truth comes, by the harm alarm once truths are in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from tests.integration.client import Client
from tests.integration.conftest import Start
from tests.integration.server import CHECKOUT, eventually, metric

ROWS = 500


def people(rows: int, draw: np.random.Generator, spread: float = 1.0) -> pd.DataFrame:
    """People, of whom those with a large x are late; the smaller the spread, the harder they are to tell apart."""
    frame = pd.DataFrame({"x": draw.normal(0.0, spread, rows)})
    return frame.assign(late=(draw.random(rows) < 1 / (1 + np.exp(-4 * frame["x"]))).astype(int))


def test_decay_is_seen_without_truths_and_with_them(tmp_path: Path, start: Start) -> None:
    """Hard rows lower the estimate; wrong answers raise the alarm, of metrics, command and alerts alike."""
    draw, home = np.random.default_rng(0), tmp_path / "home"
    reference = people(3000, draw)
    fitted = LogisticRegression(C=1e6).fit(reference[["x"]], reference["late"])
    register(fitted, "loans", home=home, reference=reference, target="late")
    server = start(home, workers=1, environ={"SERINUS_ALERTS_FOR_SECONDS": "0"})

    def why() -> str:
        return f"{_version(client)}\n{server.output()}"

    with server.client() as client:
        usual = people(ROWS, draw)
        _tell(client, _ask(client, usual), usual["late"].tolist())
        eventually(lambda: _version(client).get("harm", {}).get("rows") == ROWS, 60, why)
        calm = _version(client)
        promised = calm["promised"]["accuracy"]["value"]
        assert (calm["harm"]["state"], calm["labelled"]) == ("ok", ROWS)
        assert calm["windows"][-1]["measures"]["accuracy"]["low"] < promised

        hard = [people(ROWS, draw, 0.05) for _ in range(4)]
        ids = [_ask(client, part) for part in hard]
        eventually(lambda: (_estimate(client) or 1.0) < promised - 0.02, 60, why)
        assert _version(client)["labelled"] == ROWS  # nobody has told anything since

        for part, names in zip(hard, ids, strict=True):
            _tell(client, names, (1 - (part["x"] > 0).astype(int)).tolist())
        eventually(lambda: _version(client)["harm"]["state"] == "alarm", 60, why)
        alarmed = _version(client)["harm"]
        eventually(lambda: "loss" in {alert["kind"] for alert in client.get("/api/alerts").json()["alerts"]}, 60, why)
        eventually(lambda: metric(client.get("/metrics").body.decode(), "serinus_performance_harm") == 1.0, 60, why)
        assert alarmed["loss"] > alarmed["promised"]
    told = _command("monitor", "performance", "loans", "--home", str(home))
    assert told.returncode == 3, told.stdout + told.stderr
    assert "registration promised" in told.stdout


def _ask(client: Client, rows: pd.DataFrame) -> list[str]:
    answer = client.post("/predict/loans", {"rows": rows[["x"]].to_dict("records")})
    assert answer.status == 200, answer.body
    return list(answer.json()["prediction_ids"])


def _tell(client: Client, ids: list[str], truths: list[int]) -> None:
    answer = client.post("/api/ground-truth", {"outcomes": [
        {"prediction_id": name, "value": truth} for name, truth in zip(ids, truths, strict=True)]})
    assert (answer.status, answer.json()["accepted"]) == (202, len(ids)), answer.body


def _version(client: Client) -> dict[str, Any]:
    answer = client.get("/api/performance/loans")
    versions = answer.json()["versions"] if answer.status == 200 else []
    return dict(versions[0]) if versions else {}


def _estimate(client: Client) -> float | None:
    """The upper end of the latest estimate of accuracy."""
    estimate = _version(client)["windows"][-1]["estimate"]
    return None if estimate is None else float(estimate["accuracy"]["high"])


def _command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "serinus", *words], cwd=CHECKOUT, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, timeout=60)
