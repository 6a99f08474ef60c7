"""Clients of a real server: limits over all workers, rounding and referral, and a search for the boundary."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import Registry
from serinus.serving.references import attached, baseline_of
from serinus.serving.registration import register_path
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import CREDIT_ROWS

COLUMNS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def probed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one model that was registered with its reference."""
    folder = tmp_path_factory.mktemp("probed")
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(3_000, 4)), columns=COLUMNS)
    frame["late"] = (frame["a"] - frame["b"] + random.normal(size=3_000) > 0).astype(int)
    joblib.dump(LogisticRegression().fit(frame[COLUMNS], frame["late"]), folder / "late.joblib")
    frame.to_csv(folder / "reference.csv", index=False)
    digest = sha256((folder / "late.joblib").read_bytes()).hexdigest()
    register_path(folder / "late.joblib", "late", home=folder / "home", reference=folder / "reference.csv",
                  target="late", trust=[f"sha256:{digest}"], ask=False)
    return folder / "home"


def asked(values: np.ndarray) -> dict[str, Any]:
    return {"rows": [dict(zip(COLUMNS, map(float, row), strict=True)) for row in np.atleast_2d(values)]}


def test_a_limit_holds_over_all_workers(start: Any, home: Path) -> None:
    """Twenty connections of one client, spread over two workers: the burst passes, the rest is told to wait."""
    server: Server = start(home, environ={"SERINUS_SECURITY_REQUESTS_PER_SECOND": "0.01", "SERINUS_SECURITY_BURST": "7",
                                          "SERINUS_SECURITY_CLIENT_HEADER": "x-client"})
    answers = []
    for _ in range(20):
        with server.client() as client:
            answers.append(client.post("/predict/credit", CREDIT_ROWS, {"X-Client": "ana"}))
    assert [answer.status for answer in answers] == [200] * 7 + [429] * 13
    with server.client() as client:
        assert client.post("/predict/credit", CREDIT_ROWS, {"X-Client": "ben"}).status == 200
    waits = {int(answer.headers["retry-after"]) for answer in answers[7:]}
    assert all(90 <= wait <= 100 for wait in waits)


def test_a_search_is_seen_and_answers_are_rounded_and_referred(start: Any, probed_home: Path) -> None:
    """One server with everything on: two digits, marks, and the metric and the log line of a bisection."""
    registry = Registry(probed_home)
    (digest,) = attached(registry, registry.get("late", "1"))
    assert baseline_of(registry, "late", digest) is not None
    server: Server = start(probed_home, workers=1, environ={
        "SERINUS_SECURITY_ROUND_DIGITS": "2", "SERINUS_SECURITY_LOOK_SHARE": "1",
        "SERINUS_REFERRAL_CONFIDENCE": "0.9", "SERINUS_REFERRAL_NOVELTY_P": "0.001"})
    with server.client() as client:
        eventually(lambda: "novelty_p" in client.post("/predict/late", asked(np.zeros(4))).headers.get(
            "x-serinus-monitor", ""))
        answer = client.post("/predict/late", asked(np.array([[0, 0, 0, 0], [40, -40, 40, 40]])))
        for prediction in answer.json()["predictions"]:
            assert all(round(share, 2) == share for share in prediction["predict_proba"])
        assert answer.json()["refer"] == [{"row": 0, "reason": "low_confidence"}, {"row": 1, "reason": "novel_row"}]
        for seed in range(8):
            low, high = np.random.default_rng(seed).normal(size=(2, 4)) + np.array([[-3, 3, 0, 0], [3, -3, 0, 0]])
            for _ in range(20):
                middle = (low + high) / 2
                answer = client.post("/predict/late", asked(middle))
                assert answer.status == 200
                late = answer.json()["predictions"][0]["predict"] == 1
                low, high = (low, middle) if late else (middle, high)
        exposed = client.get("/metrics").body.decode()
    assert metric(exposed, "serinus_signals_total", serinus_signal="near_duplicates") >= 1
    assert metric(exposed, "serinus_referrals_total", serinus_referral_reason="novel_row") == 1
    assert metric(exposed, "serinus_rounded_total") >= 161
    assert "may be probing it (near_duplicates)" in server.output()
