"""Who asks the demo's server: a clinic where patients come all the while, and learn the truth a little later."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from serinus.serving.demo.crowd import BROKEN, Answer, Client, Crowd, open_inference, rows
from serinus.serving.demo.training import MODEL, TARGET

__all__ = ["DRIFTING", "Clinic", "Met", "Patient", "Patients"]

DRIFTING = "mean texture"
"""What the scanner measures too high while it drifts."""
_TOO_HIGH = 1.3
_CLIENTS, _PAUSE_S = 4, 0.04
_TELL_S = 0.25
_REGULARS, _COME_BACK = 150, 0.2
_MANY = 200_000


class Patient(NamedTuple):
    """One who is asked about: what was measured, what it turns out to be, and whose it is."""

    row: dict[str, Any]
    truth: str
    key: str


class Patients:
    """Rows that no version has seen, drawn again and again; one in five patients has been here before."""

    def __init__(self, unseen: pd.DataFrame, seed: int) -> None:
        plain = unseen.drop(columns=TARGET)
        self.rows: list[dict[str, Any]] = json.loads(plain.to_json(orient="records", double_precision=15))
        self._truths = [str(truth) for truth in unseen[TARGET]]
        draw = np.random.default_rng(seed)
        self._drawn = draw.integers(0, len(self.rows), _MANY)
        self._regular = np.where(draw.random(_MANY) < _COME_BACK, draw.integers(0, _REGULARS, _MANY), -1)

    def patient(self, number: int, *, drifted: bool = False) -> Patient:
        """The one who comes as this number."""
        place, regular = int(self._drawn[number % _MANY]), int(self._regular[number % _MANY])
        row = self.rows[place]
        if drifted and row[DRIFTING] is not None:
            row = row | {DRIFTING: row[DRIFTING] * _TOO_HIGH}
        return Patient(row, self._truths[place], f"regular-{regular}" if regular >= 0 else f"new-{number}")


class Met(NamedTuple):
    """That a caller met a version, when by the monotonic clock, and how many of its predictions were right."""

    key: str
    version: str
    at: float
    right: int


class Clinic:
    """Asks all the while its `with` block lasts, in two protocols, about seventy times a second. What each patient
    turned out to have is told `delay_s` after the answer, and all that is left at the end."""

    def __init__(self, port: int, patients: Patients, delay_s: float) -> None:
        self.drifted = False
        self.met: list[Met] = []
        self.told = 0
        """Truths that the server accepted."""
        self._patients = patients
        self._delay_s = delay_s
        self._port = port
        self._later: deque[tuple[float, str, str]] = deque()
        self._ended = threading.Event()
        self._crowd = Crowd(port, self._ask, size=_CLIENTS, pause_s=_PAUSE_S)
        self._teller = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Self:
        self._crowd.__enter__()
        self._teller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._crowd.__exit__()
        self._ended.set()
        self._teller.join(20)

    @property
    def answers(self) -> list[Answer]:
        """All answers so far."""
        return self._crowd.answers

    @property
    def broken(self) -> int:
        """Connections that broke."""
        return self._crowd.broken

    def tally(self) -> Counter[str]:
        """How many answers each version gave, by their headers."""
        return Counter(answer.version for answer in list(self._crowd.answers))

    def right(self) -> Counter[str]:
        """How many of each version's predictions came true."""
        found: Counter[str] = Counter()
        for met in list(self.met):
            found[met.version] += met.right
        return found

    def _ask(self, client: Client, number: int) -> Answer:
        patient = self._patients.patient(number, drifted=self.drifted)
        if number % 2:
            answer = client.post(f"/predict/{MODEL}", rows([patient.row]), patient.key)
        else:
            answer = client.post(f"/v2/models/{MODEL}/infer", open_inference([patient.row]), patient.key)
        now = time.monotonic()
        self.met.append(Met(patient.key, answer.version, now, answer.labels.count(patient.truth)))
        self._later.extend((now + self._delay_s, prediction, patient.truth) for prediction in answer.prediction_ids)
        return answer

    def _tell(self) -> None:
        client = Client(self._port)
        while not self._ended.wait(_TELL_S):
            self._tell_due(client, time.monotonic())
        self._tell_due(client, float("inf"))
        client.close()

    def _tell_due(self, client: Client, now: float) -> None:
        due = []
        while self._later and self._later[0][0] <= now:
            _, prediction, truth = self._later.popleft()
            due.append({"prediction_id": prediction, "value": truth})
        if due:
            try:
                self.told += client.post("/api/ground-truth", due).document["accepted"]
            except BROKEN:
                self._later.extendleft((now, each["prediction_id"], each["value"]) for each in reversed(due))
