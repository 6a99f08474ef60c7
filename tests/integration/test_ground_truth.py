"""What became of predictions, told to a real server: in every form, with the store away, over a restart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.integration.client import Client
from tests.integration.conftest import Start
from tests.integration.server import eventually
from tests.integration.zoo import CREDIT_ROWS


def test_truths_in_every_form_over_an_outage_and_a_restart(home: Path, start: Start) -> None:
    """Accepted by any worker while the store is away, joined when it is back, and still known after a restart."""
    server = start(home)
    with server.client() as client:
        ids = [_predict(client) for _ in range(12)]
        store, aside = server.home.store, server.home.store.with_name("aside.db")
        store.rename(aside)
        store.mkdir()  # neither a file nor a place where one could be made
        for number, prediction in enumerate(ids[:6]):  # each on a connection of its own: by any worker
            with server.client() as other:
                _send(other, json.dumps({"prediction_id": prediction, "value": "yes" if number % 2 else "no"}),
                      "application/json")
        time.sleep(0.5)  # the steward meets the outage
        store.rmdir()
        aside.rename(store)
        _send(client, "".join(json.dumps({"prediction_id": each, "value": "no"}) + "\n" for each in ids[6:8]),
              "application/x-ndjson")
        _send(client, f"prediction_id,value\n{ids[8]},yes\n{ids[8]},yes\n", "text/csv")
        _send(client, json.dumps([{"prediction_id": ids[0], "value": "yes", "kind": "revision"},
                                  {"prediction_id": ids[1], "kind": "retract"},
                                  {"prediction_id": ids[9], "name": "click"},
                                  {"prediction_id": ids[9][:-1] + "7", "value": "no"}]), "application/json")
        eventually(lambda: _known(client)["labelled"] == 8 and _known(client)["duplicates"] == 1, 30,
                   lambda: f"{_known(client)}\n{server.output()}")
        seen = _known(client)
    assert {kind: seen[kind] for kind in ("predictions", "revised", "retracted", "conflicts", "late")} == {
        "predictions": 12, "revised": 1, "retracted": 1, "conflicts": 0, "late": 0}
    assert server.stop() == 0
    again = start(home)
    with again.client() as client:
        _send(client, json.dumps({"prediction_id": ids[10], "value": "no"}), "application/json")
        eventually(lambda: _known(client)["labelled"] == 9, 30, lambda: f"{_known(client)}\n{again.output()}")
        told = client.get("/api/ground-truth").json()
    assert (told["orphans"], told["waiting_bytes"] < 1000) == (1, True)


def test_a_token_for_feedback_is_good_for_that_alone(home: Path, start: Start) -> None:
    """Whoever sends truths need not be allowed to change what is served; without the scope nothing is taken."""
    tokens = [{"name": name, "scopes": [name], "token": f"secret-{name}"} for name in ("feedback", "read")]
    server = start(home, environ={"SERINUS_CONTROL_TOKENS": json.dumps(tokens)})
    with server.client() as client:
        body = json.dumps({"prediction_id": _predict(client), "value": "yes"})
        kinds = {name: {"Authorization": f"Bearer secret-{name}"} for name in ("feedback", "read", "none")}
        assert _send(client, body, "application/json", kinds["feedback"]) == 202
        assert _send(client, body, "application/json", kinds["read"]) == 403
        assert _send(client, body, "application/json", kinds["none"]) == 401
        assert _send(client, body, "text/plain", kinds["feedback"]) == 415
        assert client.post("/api/rollouts/credit/pause", {}, kinds["feedback"]).status == 403
        assert client.get("/api/ground-truth", kinds["read"]).status == 200
        assert client.send("PUT", "/api/ground-truth", b"", kinds["read"]).headers["allow"] == "GET, POST"


def _predict(client: Client) -> str:
    answer = client.post("/predict/credit", CREDIT_ROWS)
    assert answer.status == 200, answer.body
    return str(answer.json()["prediction_ids"][0])


def _send(client: Client, body: str, kind: str, headers: dict[str, str] | None = None) -> int:
    answer = client.send("POST", "/api/ground-truth", body.encode(), {"Content-Type": kind, **(headers or {})})
    assert answer.status >= 400 or answer.json()["rejected"] == [], answer.body
    return answer.status


def _known(client: Client) -> dict[str, Any]:
    """The sums of all windows of `credit`."""
    answer = client.get("/api/ground-truth/credit")
    found = answer.json()["models"]["credit"]["windows"] if answer.status == 200 else []
    kinds = ("predictions", "labelled", "duplicates", "revised", "retracted", "conflicts", "late")
    return {kind: sum(window[kind] for window in found) for kind in kinds}
