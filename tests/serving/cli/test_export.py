"""`serinus export`: to the terminal, or into files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml


def test_each_prints_what_its_program_reads(cli: Any) -> None:
    """JSON for Grafana, YAML for the others; nothing else stands on standard output."""
    assert json.loads(cli("export", "grafana").out)["title"] == "Serinus"
    assert yaml.safe_load(cli("export", "alerts").out)["groups"][0]["name"] == "serinus"
    assert set(yaml.safe_load(cli("export", "collector").out)) >= {"receivers", "exporters", "service"}
    kinds = {each["kind"] for each in yaml.safe_load_all(cli("export", "kubernetes").out)}
    assert "Deployment" in kinds and "Kustomization" not in kinds  # which is no resource


def test_files_are_written_where_they_should(cli: Any, tmp_path: Path) -> None:
    """Folders are made; what was chosen is in them."""
    said = cli("export", "kubernetes", "--name", "churn", "--image", "churn:7", "--max-replicas", 3, "--out",
               tmp_path / "deploy" / "base")
    assert said.code == 0 and said.out == "" and "kubectl apply -k" in said.err
    deployment = yaml.safe_load((tmp_path / "deploy" / "base" / "deployment.yaml").read_text())
    assert deployment["metadata"]["name"] == "churn"
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "churn:7"
    assert cli("export", "alerts", "--slow", "0.25", "--out", tmp_path / "rules.yaml").code == 0
    assert "> 0.25" in (tmp_path / "rules.yaml").read_text()


@pytest.mark.parametrize("words", [
    ("kubernetes", "--name", "Churn!"), ("kubernetes", "--storage", "much"), ("alerts", "--errors", "7"),
    ("kubernetes", "--min-replicas", "3", "--max-replicas", "2"), ("collector", "--slow", "0"),
    ("kubernetes", "--log-url", "bucket"), ("kubernetes", "--log-url", "s3://key:secret@bucket/log")])
def test_what_cannot_be_is_wrong_usage(words: tuple[str, ...], cli: Any) -> None:
    """With what was wanted and what came."""
    said = cli("export", *words)
    assert said.code == 2 and said.out == "" and "Error: " in said.err


def test_a_place_that_cannot_be_written_to_is_a_sentence(cli: Any, tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").touch()
    said = cli("export", "grafana", "--out", tmp_path / "file" / "x.json")
    assert said.code == 1 and said.err.startswith("serinus: ") and "give another --out" in said.err
