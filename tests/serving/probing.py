"""A credit model over five numbers with a reference, a line that watches it, and a client that probes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from serinus.models import Field, Signature
from serinus.monitors.profile import Profile
from serinus.monitors.reference import Reference
from serinus.monitors.security import Baseline, margins
from serinus.serving.answering import Answering
from serinus.serving.monitoring import FORMAT, View
from serinus.serving.observer import Watch
from serinus.serving.security import Security
from serinus.serving.settings import MonitorSettings
from serinus.serving.sheet import Sheet
from tests.serving.asgi import Line

WIDTH = 5
WEIGHTS = np.array([1.5, -1.0, 0.5, 2.0, -0.7])
SIGNATURE = Signature(
    (Field("input", "FP64", (-1, WIDTH)),),
    (Field("predict", "BYTES", (-1,), labels=("no", "yes")),
     Field("predict_proba", "FP64", (-1, 2), labels=("no", "yes"))))


def probabilities(rows: np.ndarray) -> np.ndarray:
    """Of "yes"."""
    return 1 / (1 + np.exp(-(rows @ WEIGHTS + 0.3)))


class CreditModel:
    """A logistic regression with known weights."""

    signature = SIGNATURE

    def predict(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        return answers(inputs["input"])

    def close(self) -> None:
        """Nothing is held."""


def answers(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What the model says of some rows."""
    yes = probabilities(rows)
    return {"predict": np.where(yes > 0.5, "yes", "no").astype(object),
            "predict_proba": np.column_stack([1 - yes, yes])}


def honest(rows: int, seed: int) -> np.ndarray:
    """Rows as they come from the world."""
    return np.random.default_rng(seed).normal(size=(rows, WIDTH))


def credit_profile() -> Profile:
    """What 4,000 honest rows look like."""
    rows = honest(4_000, seed=1)
    return Reference.from_arrays({"input": rows}, answers(rows), signature=SIGNATURE)


def credit_baseline() -> Baseline:
    """What is kept of these rows at registration to know clients by."""
    rows = honest(4_000, seed=1)
    return Baseline.fit(rows, margins(answers(rows)["predict_proba"]))


def credit_line(home: Path, profile: Profile, baseline: Baseline | None = None, **settings: Any) -> Line:
    """A line that serves the model, does with answers and clients as the settings say, and watches by the profile."""
    line = Line(home, {"credit": {"1": CreditModel()}}, **settings)
    line.pipeline.answering = Answering.wanted(line.settings.referral, line.settings.security, line.board)
    line.pipeline.security = line.app.security = Security(
        line.settings.security, b"key", line.board, home / "clients", lambda model, digest: baseline)
    view = View({"format": FORMAT, "model": "credit", "version": "1", "state": "ok", "judged": 0.0,
                 "evidence": 0.0, "run_length": 1000, "reference": {"digest": profile.digest}})
    sheet = Sheet(home, line.board.incarnation, "credit", "1", profile.digest, len(profile.features))
    line.router.routes["credit"].stable.watch = Watch(profile, sheet, view, MonitorSettings())
    return line


def body(rows: np.ndarray) -> bytes:
    """A request for some rows."""
    return orjson.dumps({"rows": rows.tolist()})


def bisections(searches: int, seed: int = 2) -> Iterator[np.ndarray]:
    """Rows of a search for the boundary."""
    for low, high in honest(2 * searches, seed).reshape(searches, 2, WIDTH):
        low, high = sorted((low, high), key=lambda row: float(row @ WEIGHTS))
        for _ in range(30):
            middle = (low + high) / 2
            yield middle
            low, high = (middle, high) if middle @ WEIGHTS + 0.3 < 0 else (low, middle)
