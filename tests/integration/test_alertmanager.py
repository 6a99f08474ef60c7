"""Debian's Alertmanager takes our alerts, keeps them while they are told again, and ends them when they are over."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serinus.monitors.notifiers import make_notifier
from serinus.monitors.notifiers.testing import check_notifier, examples
from tests.integration.programs import free_port, program, running
from tests.integration.server import eventually

CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


class Alertmanager:
    """One that runs, asked by its own API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Those that it holds for active, by our id."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?active=true", timeout=5) as answer:
            return {alert["labels"]["alert_id"]: alert for alert in json.loads(answer.read())}


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    binary, port = program("prometheus-alertmanager", "prometheus-alertmanager"), free_port()
    (tmp_path / "alertmanager.yml").write_text(CONFIGURATION)
    command = [binary, "--config.file=alertmanager.yml", f"--web.listen-address=127.0.0.1:{port}",
               "--cluster.listen-address=", "--storage.path=data"]
    with running(command, tmp_path, [port]):
        yield Alertmanager(port)


def test_it_takes_every_message(alertmanager: Alertmanager) -> None:
    """Also those with odd names and sentences."""
    dead = make_notifier("alertmanager", {"url": f"http://127.0.0.1:{free_port()}"})
    made = make_notifier("alertmanager", {"url": alertmanager.url})
    assert check_notifier(made, broken=dead).left_out == ("discreet",)


def test_an_alert_lives_as_long_as_it_is_told(alertmanager: Alertmanager) -> None:
    """With our labels and sentence; it ends by itself when nobody repeats it, and at once when it is over."""
    made = make_notifier("alertmanager", {"url": alertmanager.url, "resend_seconds": 1.0, "labels": {"team": "ml"}})
    now = time.time()
    firing = replace(examples()[0], since=now - 60, at=now)
    other = replace(firing, alert="another", id="another-2", features=("income",))
    made.send(firing.attempt(now))
    found = eventually(alertmanager.alerts, 10)["6f1c0a9d2b7e"]
    assert found["labels"] == {"alertname": "serinus_drift", "model": "credit", "model_version": "3", "team": "ml",
                               "severity": "alarm", "alert_id": "6f1c0a9d2b7e"}
    assert found["annotations"]["summary"] == "age and income moved."
    until = time.monotonic() + 6
    while time.monotonic() < until:
        made.send(replace(firing, event="refreshed").attempt(time.time()))
        assert set(alertmanager.alerts()) == {"6f1c0a9d2b7e"}
        time.sleep(0.5)
    made.send(other.attempt(time.time()))
    eventually(lambda: set(alertmanager.alerts()) == {"6f1c0a9d2b7e", "another"}, 5)
    ended = time.time()
    made.send(replace(firing, event="resolved", at=ended, ended=ended).attempt(ended))
    eventually(lambda: set(alertmanager.alerts()) == {"another"}, 5)
    eventually(lambda: not alertmanager.alerts(), 10)
