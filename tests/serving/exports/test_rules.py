"""Alerting rules, judged by Prometheus' own promtool: each fires when it should, and not before."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from serinus.serving.exports import Limits, alert_rules
from tests.integration.programs import program

REQUESTS = "http_server_request_duration_seconds_count"
WORKERS = ("serinus_workers", "2x200")
VERSION = 'serinus_model_name="credit",serinus_model_version="2"'
SERVER = 'instance="a:3000"'


class Case(NamedTuple):
    """Series of a metric each minute, the rule's name, when it fires, when it does not, and what its summary says."""

    rule: str
    series: list[tuple[str, str]]
    quiet: str
    firing: str
    says: str


def requests(status: int, each_minute: str) -> tuple[str, str]:
    return f'{REQUESTS}{{serinus_model_name="credit",http_response_status_code="{status}"}}', each_minute


def bucket(bound: str, each_minute: str) -> tuple[str, str]:
    return f'{REQUESTS[:-6]}_bucket{{serinus_model_name="credit",le="{bound}"}}', each_minute


CASES = [
    Case("SerinusAbsent", [("serinus_workers", "2x10")], "12m", "25m", "No Serinus server is scraped."),
    Case("SerinusNoWorkers", [(f"serinus_workers{{{SERVER}}}", "2x10 0x20")], "12m", "15m", "No worker of a:3000"),
    Case("SerinusLoadFailures", [(f"serinus_load_failures_total{{{SERVER}}}", "0x10 1x20")], "9m", "12m",
         "Workers of a:3000"),
    Case("SerinusErrors", [requests(200, "0+90x60"), requests(500, "0+1x20 20+10x40")], "20m", "30m",
         "10% of the requests for credit"),
    Case("SerinusRefusals", [requests(200, "0+60x120"), requests(422, "0+5x30 155+40x90")], "30m", "75m",
         "40% of the requests for credit are refused"),
    Case("SerinusSlow", [bucket("1", "0+100x20 2000+50x60"), bucket("2", "0+100x80"), bucket("+Inf", "0+100x80")],
         "20m", "45m", "1 in 100 requests for credit takes longer than 1.9"),
    Case("SerinusDrift", [(f"serinus_drift_evidence{{{VERSION}}}", "0.5x10 1x20")], "10m", "13m", "What credit:2"),
    Case("SerinusDrift", [(f"serinus_drift_evidence_ratio{{{VERSION}}}", "0.5x10 1x20")], "10m", "13m",
         "What credit:2"),
    Case("SerinusUnusualRows", [(f"serinus_monitor_rows_total{{{VERSION}}}", "0+100x150"),
                                (f"serinus_novelty_total{{{VERSION}}}", "0+1x30 30+20x120")], "30m", "120m",
         "20% of the rows for credit:2"),
    Case("SerinusUnwatched", [(f'serinus_rows_total{{{VERSION},serinus_role="stable"}}', "0+100x200"),
                              (f"serinus_monitor_rows_total{{{VERSION}}}", "0+100x30 3000x170")], "65m", "150m",
         "credit:2 answers, and no monitor"),
    Case("SerinusRolloutHeld", [(f'serinus_rollout_weight{{{VERSION},serinus_rollout_phase="canary"}}', "0.1x30 _x90"),
                                (f'serinus_rollout_weight{{{VERSION},serinus_rollout_phase="hold"}}', "_x30 0.1x90")],
         "60m", "100m", "The rollout of credit:2 waits"),
    Case("SerinusShadowDied", [(f"serinus_shadow_deaths_total{{{VERSION}}}", "_x10 3x30")], "9m", "14m",
         "The shadow's process died 3 times"),
    Case("SerinusAlert", [('serinus_alerts{serinus_model_name="credit",serinus_alert_state="firing"}', "0x10 2x10"),
                          ('serinus_alerts{serinus_model_name="credit",serinus_alert_state="pending"}', "1x20")],
         "10m", "12m", "Serinus itself has 2 alerts"),
    Case("SerinusProbed", [(f'serinus_signals_total{{{VERSION},serinus_signal="grid"}}', "_x10 1x30")], "9m", "15m",
         "A client may be probing credit:2"),
    Case("SerinusLogFailures", [(f"serinus_log_failures_total{{{SERVER}}}", "0x10 5x10")], "9m", "12m",
         "The prediction log of a:3000"),
    Case("SerinusSpansDropped", [(f"serinus_spans_dropped_total{{{SERVER}}}", "0x10 5x10")], "9m", "12m",
         "Spans of a:3000"),
    Case("SerinusMessagesLost", [
        ('serinus_notifications_total{serinus_notifier="ops",serinus_notification_outcome="given_up"}', "0x10 1x10"),
        ('serinus_notifications_total{serinus_notifier="ops",serinus_notification_outcome="delivered"}', "0+1x20")],
         "10m", "12m", "Messages by ops were given up"),
]


@pytest.fixture(scope="module")
def tool() -> str:
    return program("promtool", "prometheus")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as they are exported."""
    path = tmp_path_factory.mktemp("rules") / "serinus.rules.yaml"
    path.write_text(yaml.safe_dump(alert_rules(Limits())))
    return path


def written(file: Path) -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(file.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def run(tool: str, *words: str, folder: Path) -> str:
    done = subprocess.run([tool, *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_reads_every_rule(tool: str, file: Path) -> None:
    """And finds nothing to say against it."""
    assert f"SUCCESS: {len(written(file))} rules found" in run(tool, "check", "rules", file.name, folder=file.parent)


def test_every_rule_has_a_case_and_a_severity(file: Path) -> None:
    """A new rule needs a series for which it fires, and one for which it does not."""
    assert set(written(file)) == {case.rule for case in CASES}
    assert {rule["labels"]["severity"] for rule in written(file).values()} == {"info", "warning", "critical"}


def test_each_rule_fires_when_it_should_and_not_before(tool: str, file: Path, tmp_path: Path) -> None:
    """By promtool's own unit tests: the alert with its labels, and before that none."""
    (tmp_path / "rules.yaml").write_bytes(file.read_bytes())
    tests = [{"interval": "1m", "name": f"{case.rule} {number}", "input_series": [
        {"series": name, "values": values} for name, values in case.series + [WORKERS] * ("workers" not in str(case))],
        "alert_rule_test": [{"eval_time": case.quiet, "alertname": case.rule, "exp_alerts": []}]}
        for number, case in enumerate(CASES)]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    assert "SUCCESS" in run(tool, "test", "rules", "tests.yaml", folder=tmp_path)
    for test, case in zip(tests, CASES, strict=True):
        test["alert_rule_test"] = [{"eval_time": case.firing, "alertname": case.rule, "exp_alerts": []}]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    done = subprocess.run([tool, "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1
    for case in CASES:  # promtool says which alerts it got in place of none
        assert case.says in done.stdout + done.stderr, (case.rule, done.stdout + done.stderr)


def test_limits_are_the_callers() -> None:
    """What is too slow or too often is another thing for each service."""
    text = json.dumps(alert_rules(Limits(errors=0.01, refused=0.5, slow_s=0.2, novelty=0.1)))
    assert all(f"> {limit}" in text for limit in (0.01, 0.5, 0.2, 0.1))
