"""The Compose example as far as it can be judged without containers: parsed, pinned, private, and of one piece."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serinus.serving.exports import dashboard


@pytest.fixture(scope="module")
def folder(checkout: Path) -> Path:
    return checkout / "examples" / "observability"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_every_file_can_be_parsed(folder: Path) -> None:
    """As YAML or JSON; nothing else lies there but the README."""
    for path in filter(Path.is_file, folder.rglob("*")):
        if path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.name != "README.md":
            assert path.suffix == ".yaml" and isinstance(read(path), dict), path


def test_images_are_pinned_and_ports_private(folder: Path) -> None:
    """A tag with a whole version, and published on loopback alone."""
    for name, service in read(folder / "compose.yaml")["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_what_is_mounted_is_there(folder: Path) -> None:
    """And only read."""
    for service in read(folder / "compose.yaml")["services"].values():
        for volume in service.get("volumes", ()):
            source, _, mode = volume.split(":")
            assert (folder / source).exists() and mode == "ro"


def test_the_collectors_pipelines_use_what_is_defined(folder: Path) -> None:
    """All three signals go somewhere, and every part is used."""
    config = read(folder / "collector.yaml")
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics", "logs"}
    for kind in ("receivers", "processors", "exporters"):
        assert {part for pipeline in pipelines.values() for part in pipeline[kind]} == set(config[kind])


def test_each_part_is_addressed_by_a_service_name(folder: Path) -> None:
    """Hosts in the configuration are services of the Compose file."""
    services = set(read(folder / "compose.yaml")["services"])
    collector = read(folder / "collector.yaml")["exporters"]["otlp/jaeger"]["endpoint"]
    (scrape,) = read(folder / "prometheus.yaml")["scrape_configs"]
    sources = read(folder / "grafana" / "datasources" / "datasources.yaml")["datasources"]
    targets = [collector, *scrape["static_configs"][0]["targets"], *(source["url"] for source in sources)]
    assert {re.sub(r"^http://", "", target).split(":")[0] for target in targets} <= services


def test_an_exemplar_leads_to_a_trace(folder: Path) -> None:
    """By the label that our exemplars carry, to a source that exists."""
    sources = {source["uid"]: source for source in
               read(folder / "grafana" / "datasources" / "datasources.yaml")["datasources"]}
    (link,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert link["name"] == "trace_id" and sources[link["datasourceUid"]]["type"] == "jaeger"
    dashboard = (folder / "grafana" / "dashboards" / "serinus.json").read_text("utf-8")
    assert '"exemplar": true' in dashboard


def test_the_dashboard_is_the_exported_one(folder: Path) -> None:
    """`serinus export grafana > grafana/dashboards/serinus.json` changes nothing."""
    kept = json.loads((folder / "grafana" / "dashboards" / "serinus.json").read_text("utf-8"))
    assert kept == dashboard()
