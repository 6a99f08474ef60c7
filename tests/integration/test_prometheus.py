"""Debian's Prometheus scrapes a server: exact counts in PromQL, exemplars that lead to traces, bounded labels."""

from __future__ import annotations

import json
import random
import string
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client import Client
from tests.integration.conftest import Start
from tests.integration.programs import free_port, program, running
from tests.integration.server import Server, eventually
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: serinus
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
REQUESTS = "http_server_request_duration_seconds_count"


class Prometheus:
    """One that scrapes a server every second."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def is_ready(self) -> bool:
        """Whether it answers queries; it listens before it does."""
        try:
            self._get("query", query="1")
        except urllib.error.HTTPError:
            return False
        return True

    def number(self, query: str) -> float | None:
        """The value of a query that gives one; None while there is none."""
        found = self._get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, query: str, value: float) -> None:
        """Until the query has this value."""
        eventually(lambda: self.number(query) == value, 15, lambda: f"{query} = {self.number(query)}, wanted {value}")

    def series(self) -> set[str]:
        """Every series that the last scrape brought, Prometheus' own apart."""
        found = self._get("query", query='{job="serinus",__name__!~"up|scrape_.*"}')["result"]
        return {json.dumps(one["metric"], sort_keys=True) for one in found}

    def exemplars(self, query: str) -> list[dict[str, Any]]:
        """The exemplars of the last minutes."""
        now = time.time()
        found = self._get("query_exemplars", query=query, start=str(now - 300), end=str(now + 60))
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every alerting rule, with its state and whether it could be evaluated."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{what}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]


@pytest.fixture
def scraped(home: Path, start: Start, tmp_path: Path) -> Iterator[tuple[Server, Prometheus]]:
    """A server with two workers, and who scrapes it."""
    binary, port = program("prometheus", "prometheus"), free_port()
    server = start(home)
    (tmp_path / "prometheus.yml").write_text(CONFIGURATION.format(port=server.port))
    command = [binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--enable-feature=exemplar-storage",
               f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, tmp_path, [port]):
        prometheus = Prometheus(port)
        eventually(prometheus.is_ready, 30)
        prometheus.wait_for("serinus_workers", 2)
        yield server, prometheus


def test_promql_counts_what_was_sent_and_exemplars_lead_to_traces(scraped: tuple[Server, Prometheus]) -> None:
    """By route, status and model, over both workers; every exemplar names the trace of a request that was sent."""
    server, prometheus = scraped
    traces = set()
    for (client,) in server.clients_of_each_worker().values():
        for turn in range(40):
            answer = client.post("/predict/credit", CREDIT_ROWS)
            traces.add(answer.headers["traceparent"].split("-")[1])
            if turn % 2:
                answer = client.post("/v2/models/credit/infer", CREDIT_INFER)
                traces.add(answer.headers["traceparent"].split("-")[1])
            if turn % 4 == 3:
                answer = client.post("/predict/credit", {"rows": [{}]})
                traces.add(answer.headers["traceparent"].split("-")[1])
        client.close()
    prometheus.wait_for(f"sum({REQUESTS})", 140)
    for query, value in ((f'{REQUESTS}{{http_route="/predict/{{model}}",http_response_status_code="200"}}', 80),
                         (f'{REQUESTS}{{http_route="/v2/models/{{model}}/infer"}}', 40),
                         (f'{REQUESTS}{{error_type="invalid_input"}}', 20),
                         ('sum(serinus_rows_total{serinus_model_name="credit",serinus_role="stable"})', 120),
                         ('http_server_request_duration_seconds_bucket{le="+Inf",error_type="invalid_input"}', 20),
                         ("serinus_log_frames_total", 120)):
        assert prometheus.number(query) == value, query
    assert 0 < (prometheus.number(f"histogram_quantile(0.99, sum by (le) ({REQUESTS[:-6]}_bucket))") or 0) < 10
    found = eventually(lambda: prometheus.exemplars(f"{REQUESTS[:-6]}_bucket"))
    assert {exemplar["labels"]["trace_id"] for exemplar in found} <= traces
    assert all(0 < float(exemplar["value"]) < 10 for exemplar in found)


def test_callers_cannot_make_series(scraped: tuple[Server, Prometheus]) -> None:
    """Five hundred invented paths, models, versions, names of columns and headers add none to what a few made."""
    server, prometheus = scraped
    dice = random.Random(7)
    with server.client() as client:
        for _ in range(3):
            for number in range(10):
                _invent(client, number, dice)
        prometheus.wait_for(f'sum({REQUESTS}{{error_type!=""}})', 24)
        before = prometheus.series()
        for number in range(500):
            _invent(client, number, dice)
    prometheus.wait_for(f'sum({REQUESTS}{{error_type!=""}})', 24 + 400)
    assert prometheus.series() == before


def test_the_text_form_is_clean(home: Path, start: Start) -> None:
    """Prometheus' own linter has nothing to say about names, units, types and helps."""
    promtool = program("promtool", "prometheus")
    server = start(home)
    with server.client() as client:
        for turn in range(20):
            assert client.post("/predict/credit", CREDIT_ROWS if turn % 2 else {"rows": [{}]}).status in (200, 422)
        page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    done = subprocess.run([promtool, "check", "metrics"], input=page.body, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def _invent(client: Client, number: int, dice: random.Random) -> None:
    """A request that nobody foresaw; eight of ten are inference, refused."""
    word = "".join(dice.choices(string.ascii_lowercase, k=10))
    headers = {"X-Request-ID": word, "User-Agent": word, f"X-{word}": word}
    shots = [("POST", f"/predict/{word}"), ("POST", f"/v2/models/{word}/infer"),
             ("POST", f"/v2/models/{word}/versions/{dice.randrange(10**6)}/infer"),
             ("POST", f"/v1/models/{word}:predict"), ("POST", f"/invocations/{word}"),
             ("POST", f"/predict/credit/versions/{dice.randrange(10, 10**6)}"), ("POST", "/predict/credit"),
             ("POST", "/v2/models/iris/infer"), ("GET", f"/{word}"), ("GET", f"/api/{word}")]
    method, path = shots[number % 10]
    body = json.dumps({"rows": [{word: word}], "inputs": [{"name": word, "shape": [1], "datatype": "FP32",
                                                           "data": [word]}]}).encode()
    sent = body if method == "POST" else None
    assert client.send(method, path, sent, {"Content-Type": "application/json", **headers}).status >= 400
