"""Monitors in a real server: every answered row is counted once, evidence outlives any process, answers tell."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from serinus.serving.home import Home
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.sheet import read, sheets_in
from tests.integration.client import BROKEN, Client
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually

HEAD = re.compile(r"schema=(ok|warn); novelty_p=([0-9.e-]+); drift=(\w+)@([0-9TZ:-]+); evidence=(\d\.\d\d); "
                  r"run_length=1000000")
ALL = {"SERINUS_MONITORS_OBSERVE_SHARE": "1e9"}
"""Every row is observed, whatever it costs."""
DRAW = np.random.default_rng(0)


def _people(rows: int, shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"age": DRAW.normal(40 + shift, 10, rows), "income": DRAW.normal(0, 1, rows)})


@pytest.fixture(scope="module")
def people_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `people`, registered with a reference, and `plain`, without one."""
    home = tmp_path_factory.mktemp("people") / "home"
    frame = _people(3000)
    frame["y"] = (frame["age"] + DRAW.normal(0, 5, 3000) > 40).astype(int)
    fitted = LogisticRegression().fit(frame[["age", "income"]], frame["y"])
    register(fitted, "people", home=home, reference=frame, target="y")
    register(fitted, "plain", home=home)
    return home


@pytest.fixture
def own_home(people_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(people_home, tmp_path / "home"))


def _ask(client: Client, rows: int, shift: float = 0.0, model: str = "people") -> Any:
    answer = client.post(f"/predict/{model}", {"rows": _people(rows, shift).to_dict("records")})
    assert answer.status == 200, answer.body
    return answer


def _view(server: Server, model: str = "people") -> dict[str, Any]:
    view = MonitorFiles(server.home.monitors).view(model, "1")
    return {} if view is None else dict(view.document)


def _watched(server: Server) -> None:
    """All workers count."""
    with server.client() as client:
        eventually(lambda: _view(server), 15)
        eventually(lambda: len(sheets_in(server.run_folder.sheets)) >= server.workers_wanted, 15)
        assert client.get("/v2/health/ready").status == 200


def test_answers_tell_and_all_rows_are_counted(start: Start, own_home: Path) -> None:
    """Two workers and several clients: the header, the page and the command agree, and no row is lost or doubled."""
    server = start(own_home, environ=ALL)
    _watched(server)
    for client in (client for clients in server.clients_of_each_worker(2).values() for client in clients):
        for rows in (1, 7, 64, 100):
            found = HEAD.fullmatch(_ask(client, rows).headers["x-serinus-monitor"])
            assert found is not None and 0 < float(found[2]) <= 1
        client.close()
    answered = 4 * (1 + 7 + 64 + 100)
    eventually(lambda: _view(server).get("rows") == answered, 20, lambda: str(_view(server).get("rows")))
    with server.client() as client:
        found = client.get("/api/monitors/people").json()["versions"][0]
        assert (found["seen"], found["observed_share"], found["state"]) == (answered, 1.0, "ok")
        assert client.get("/api/monitors/nobody").status == 404
        eventually(lambda: "drift=ok@" in _ask(client, 1).headers["x-serinus-monitor"], 10)


def test_evidence_outlives_every_process(start: Start, own_home: Path) -> None:
    """Workers and steward are killed again and again: what was answered is counted once, and the alarm comes."""
    server = start(own_home, environ=ALL)
    _watched(server)
    sheets: dict[Path, int] = {}
    for turn in range(6):
        with server.client() as client:
            for _ in range(8):
                _ask(client, 16, shift=2.5)
        eventually(lambda answered=(turn + 1) * 128: _counted(server, sheets) == answered, 20)
        _kill(server, server.steward() if turn % 2 else min(server.ready_workers()))
    answered = 6 * 128
    eventually(lambda: _view(server).get("rows") == answered, 30, lambda: f"{_view(server).get('rows')} of {answered}")
    before = _view(server)["evidence"]
    assert before > 0.05
    with server.client() as client:
        eventually(lambda: _alarmed(server, client), 40)
    assert _view(server)["drift"]["features"][0]["name"] in ("age", "predict_proba[1]", "predict")


def _kill(server: Server, victim: int) -> None:
    """Whether or not what was counted has been shipped, judged or saved."""
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in server.processes())
    eventually(lambda: len(server.ready_workers()) == server.workers_wanted, 30)


def _counted(server: Server, known: dict[Path, int]) -> int:
    """The rows that have left the workers' own memory, by `known` and by what lies there now; a sheet that is gone
    counted what was seen of it last."""
    for path in sheets_in(server.run_folder.sheets):
        with contextlib.suppress(FileNotFoundError):
            known[path] = read(path).counts.rows
    return sum(known.values())


def _alarmed(server: Server, client: Client) -> bool:
    try:
        _ask(client, 64, shift=8)
    except BROKEN:
        return False
    return _view(server).get("state") in ("alarm", "act")


def test_a_server_that_starts_again_goes_on(start: Start, own_home: Path) -> None:
    """Everything is killed at once, with counts on disk that nobody has shipped: the next server counts them."""
    server = start(own_home, environ=ALL)
    _watched(server)
    os.kill(server.steward(), signal.SIGSTOP)  # ships nothing any more
    with server.client() as client:
        for _ in range(5):
            _ask(client, 64)
    eventually(lambda: _on_disk(server) == 320)
    server.kill_everything()
    again = start(own_home, environ=ALL)
    eventually(lambda: _view(again).get("rows") == 320, 30, lambda: str(_view(again).get("rows")))


def _on_disk(server: Server) -> int:
    return sum(read(path).counts.rows for path in sheets_in(server.run_folder.sheets))


def test_without_a_reference_it_learns_and_says_so(start: Start, own_home: Path) -> None:
    """In every answer while it lasts; then its first rows are the norm, and a change is seen."""
    server = start(own_home, environ={"SERINUS_MONITORS_LEARN_ROWS": "600"})
    with server.client() as client:
        eventually(lambda: "drift=learning@" in _ask(client, 1, model="plain").headers.get("x-serinus-monitor", ""), 20)
        for _ in range(10):
            _ask(client, 64, model="plain")
        eventually(lambda: _view(server, "plain").get("reference"), 20)
        assert _view(server, "plain")["reference"]["origin"] == "learnt"
        eventually(lambda: "novelty_p" in _ask(client, 1, model="plain").headers["x-serinus-monitor"], 10)


def test_switched_off_nothing_is_watched(start: Start, own_home: Path) -> None:
    """No header, no sheet, no document."""
    server = start(own_home, environ={"SERINUS_MONITORS_ENABLED": "false"})
    with server.client() as client:
        assert "x-serinus-monitor" not in _ask(client, 10).headers
        assert client.get("/api/monitors").json() == {"versions": []}
    assert sheets_in(server.run_folder.sheets) == []
    assert not Home(own_home).monitors.exists() or list(Home(own_home).monitors.iterdir()) == []
