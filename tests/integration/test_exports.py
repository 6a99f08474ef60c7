"""What `serinus export` writes, in the hands of the programs that it is for: Debian's Prometheus over a real server."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from serinus.models import register
from serinus.models.registry import Registry
from serinus.serving.exports import Limits, alert_rules, dashboard, yaml_text
from serinus.serving.rollout import Judgement, Plan, controller
from serinus.serving.store import SqliteStore
from tests.integration import zoo
from tests.integration.client import Answer, Client, Crowd
from tests.integration.programs import free_port, program, running
from tests.integration.server import USER_CODE, Server, eventually
from tests.integration.test_prometheus import Prometheus

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [serinus.rules.yaml]
scrape_configs:
  - job_name: serinus
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
SETTINGS = {
    "SERINUS_MONITORS_OBSERVE_SHARE": "1e9", "SERINUS_ALERTS_FOR_SECONDS": "0", "SERINUS_REFERRAL_CONFIDENCE": "0.99",
    "SERINUS_SECURITY_ROUND_DIGITS": "3", "SERINUS_SECURITY_LOOK_SHARE": "1", "SERINUS_SHADOW_PRIORITY": "normal",
    "SERINUS_LOG_ENABLED": "false",  # so that no preflight finds in logged requests what is to be seen in the shadow
    "SERINUS_TELEMETRY_COST_PER_CPU_HOUR": "0.05",
    "SERINUS_ALERTS_NOTIFIERS": json.dumps({"ops": {"kind": "webhook", "url": "http://127.0.0.1:9/",
                                                    "unsigned": True}})}
LONG = Plan((1000,), manual=False, judgement=Judgement(shadow=10_000, shadow_pairs=10**6, shadow_s=3600))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes two workers to which everything happens that a panel shows."""
    binary, folder, port = program("prometheus", "prometheus"), tmp_path_factory.mktemp("exports"), free_port()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.syspath_prepend(str(USER_CODE))
        fill(folder / "home")
        server = stack.enter_context(Server(folder / "home", folder, environ=SETTINGS))
        (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=server.port))
        (folder / "serinus.rules.yaml").write_text(yaml_text(alert_rules(Limits(refused=0.01))))
        stack.enter_context(running([binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                                     f"--web.listen-address=127.0.0.1:{port}"], folder, [port]))
        start_rollouts(server)
        stack.enter_context(Crowd([server.client() for _ in range(2)], ask, pause=0.01))
        found = Prometheus(port)
        eventually(found.is_ready, 30)
        yield found


def fill(home: Path) -> None:
    """`credit` with its reference, a regression, a candidate that answers otherwise, and one that crashes."""
    from faulty import Faulty

    zoo.fill(home)
    register(LinearRegression().fit([[0.0], [1.0]], [0.0, 5.0]), "price", home=home)
    for name, fault in (("wrong", "other"), ("crashing", "crash")):
        for version in ({}, {"fault": fault}):
            register(Faulty(**version).fit([[0.0], [1.0]], ["no", "yes"]), name, home=home)


def start_rollouts(server: Server) -> None:
    """A step of `credit` by hand; the others in the shadow."""
    store = SqliteStore(server.home.store, create=False)
    plans = {"credit": Plan((5000,), manual=True), "wrong": LONG, "crashing": LONG}
    for name, plan in plans.items():
        digest = Registry(server.home.path).get(name, "2").digest
        controller.start(store, name, "2", digest, plan, "tester", now=time.time())
    store.close()


def ask(client: Client, number: int) -> Answer:
    """Old people of one city, broken rows, what a shadow dies of, and somebody who searches a boundary."""
    draw = random.Random(number)
    rows = [{"age": draw.randint(65, 80), "income": draw.gauss(3e4, 9e3), "city": draw.choice(["Rome", "Atlantis"])}
            for _ in range(20)]
    halved = [{"age": 50, "income": 3e4 + 2e4 / 2 ** (number // 6 % 20), "city": "Oslo"}]
    requests: list[tuple[str, Any]] = [
        ("/predict/credit", {"rows": rows}), ("/predict/credit", {"rows": [{}]}), ("/predict/credit", {"rows": halved}),
        ("/predict/price", {"rows": [[draw.random()]]}), ("/predict/wrong", {"rows": [[draw.random()]]}),
        ("/predict/crashing", {"rows": [[draw.random() + 1000 * (number % 3000 > 2988)]]})]
    return client.post(*requests[number % len(requests)], {"X-Routing-Key": str(number)})


def queries() -> list[str]:
    """Every expression of the dashboard, as Grafana would send it."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [query.replace("$model", ".*").replace("$__rate_interval", "5s") for query in found]


@pytest.mark.slow
def test_every_query_of_the_dashboard_finds_data(prometheus: Prometheus) -> None:
    """Not one is empty, or nothing but NaN. Takes a minute: shadows start when nothing else wants to."""
    silent = set(queries())

    def all_speak() -> bool:
        silent.difference_update([query for query in silent if prometheus.number(f"count(({query}) > -Inf)")])
        return not silent

    eventually(all_speak, 180, lambda: "\n".join(sorted(silent)))


@pytest.mark.slow
def test_every_rule_is_evaluated(prometheus: Prometheus) -> None:
    """Without an error; what happens to this server fires where it should."""
    def health() -> dict[str, str]:
        return {rule["name"]: rule["health"] for rule in prometheus.rules()}

    eventually(lambda: set(health().values()) == {"ok"}, 60, lambda: str(health()))
    wanted = {"SerinusAlert", "SerinusProbed"}
    eventually(lambda: wanted <= {rule["name"] for rule in prometheus.rules() if rule["state"] == "firing"}, 120,
               lambda: str(prometheus.rules()))
