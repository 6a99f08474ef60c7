"""The Grafana dashboard as far as it can be judged without Grafana; its queries are run in tests/integration."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.exports import dashboard
from serinus.serving.telemetry import names
from serinus.serving.telemetry.metrics import prometheus_name
from serinus.serving.telemetry.names import METRICS
from tests.integration.programs import program


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def asked(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_every_metric_is_shown(panels: list[dict[str, Any]]) -> None:
    """A new metric needs its place on the dashboard."""
    text = "\n".join(asked(panels))
    assert [name for name, instrument in METRICS.items()
            if not re.search(rf"\b{prometheus_name(name, instrument)}(_total|_bucket|_count)?\b", text)] == []


def test_labels_in_legends_and_groups_exist(panels: list[dict[str, Any]]) -> None:
    """Each is an attribute's name, and a legend names only what its query keeps."""
    known = {value.replace(".", "_") for value in vars(names).values() if isinstance(value, str)} | {"le"}
    for target in (target for panel in panels for target in panel.get("targets", ())):
        groups = re.findall(r"by \(([^)]*)\)", target["expr"])
        kept = set(groups[0].split(", ")) if groups else set()
        assert kept <= known
        assert set(re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))) <= kept, target


def test_prometheus_reads_every_query(panels: list[dict[str, Any]], tmp_path: Path) -> None:
    """As recording rules, with Grafana's variables filled in."""
    expressions = [query.replace("$model", ".*").replace("$__rate_interval", "1m") for query in asked(panels)]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([program("promtool", "prometheus"), "check", "rules", "rules.yaml"], cwd=tmp_path, text=True,
                          capture_output=True, timeout=30)
    assert (done.returncode, f"{len(rules)} rules found" in done.stdout) == (0, True), done.stdout + done.stderr


def test_panels_do_not_overlap(panels: list[dict[str, Any]]) -> None:
    """Within Grafana's 24 columns, each with an id of its own."""
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations(places, 2):
        apart = (one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                 or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"])
        assert apart, (one, other)


def test_models_are_chosen_at_the_top() -> None:
    """Of those that answered; the data source too, so that the file fits any Grafana."""
    source, model = dashboard()["templating"]["list"]
    assert source["type"] == "datasource" and source["query"] == "prometheus"
    assert model["definition"] == "label_values(serinus_rows_total, serinus_model_name)"
    sources = {panel["datasource"]["uid"] for panel in dashboard()["panels"] if panel["type"] != "row"}
    assert sources == {"${datasource}"}
