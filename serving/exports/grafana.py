"""The Grafana dashboard, as the JSON that Grafana imports."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from string import ascii_uppercase
from typing import Any

from serinus.serving.exports.panels import SECTIONS, Panel
from serinus.serving.exports.promql import label, series
from serinus.serving.telemetry import names

__all__ = ["dashboard"]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_HEIGHTS = {"stat": 4, "timeseries": 8}


def dashboard() -> dict[str, Any]:
    """For Grafana 10 or later: pick the Prometheus data source and the models at the top."""
    return {"title": "Serinus", "uid": "serinus", "schemaVersion": 39, "editable": True, "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"}, "tags": ["serinus"], "annotations": {"list": []},
            "templating": {"list": [_sources(), _models()]}, "panels": list(_placed())}


def _sources() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _models() -> dict[str, Any]:
    query = f"label_values({series('serinus.rows')}, {label(names.MODEL_NAME)})"
    return {"name": "model", "label": "Model", "type": "query", "datasource": _SOURCE, "definition": query,
            "query": {"query": query, "refId": "models"}, "refresh": 2, "sort": 1, "includeAll": True, "multi": True,
            "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}


def _placed() -> Iterator[dict[str, Any]]:
    """Section by section, from left to right and then below."""
    numbers, top = count(1), 0
    for title, panels in SECTIONS.items():
        yield {"id": next(numbers), "type": "row", "title": title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1}}
        left, top = 0, top + 1
        height = _HEIGHTS[panels[0].kind]
        for panel in panels:
            if left + panel.width > _COLUMNS:
                left, top = 0, top + height
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            yield {"id": next(numbers), "gridPos": place, **_drawn(panel)}
            left += panel.width
        top += height


def _drawn(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": panel.title, "type": panel.kind, "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [{"refId": reference, "datasource": _SOURCE, "expr": query.expression,
                     **({"legendFormat": query.legend} if query.legend else {}),
                     **({"exemplar": True} if query.exemplar else {})}
                    for reference, query in zip(ascii_uppercase, panel.queries, strict=False)]}
    return found | ({"description": panel.about} if panel.about else {})
