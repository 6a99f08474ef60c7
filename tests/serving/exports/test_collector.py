"""The collector's configuration as far as it can be judged without one: of a piece, and by its documented names."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.serving.exports import Sampling, collector
from serinus.serving.telemetry import names

FIELDS = {"status_code": {"status_codes"}, "numeric_attribute": {"key", "min_value", "max_value"},
          "latency": {"threshold_ms"}, "ottl_condition": {"error_mode", "span"}, "string_attribute": {"key", "values"},
          "boolean_attribute": {"key", "value"}, "probabilistic": {"sampling_percentage"}}
"""Of the tail sampling processor's policies, as its schema names them."""


@pytest.fixture(scope="module")
def policies() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = collector(Sampling())["processors"]["tail_sampling"]["policies"]
    return found


def test_pipelines_use_what_is_defined() -> None:
    """All three signals go through, and every part is used; memory is limited first, batches are made last."""
    config = collector(Sampling())
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics", "logs"}
    for kind in ("receivers", "processors", "exporters"):
        assert {part for pipeline in pipelines.values() for part in pipeline[kind]} == set(config[kind])
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    for pipeline in pipelines.values():
        assert pipeline["processors"][0] == "memory_limiter" and pipeline["processors"][-1] == "batch"
    assert [name for name, pipeline in pipelines.items() if "tail_sampling" in pipeline["processors"]] == ["traces"]


def test_policies_have_the_fields_of_their_type(policies: list[dict[str, Any]]) -> None:
    """A misspelt one would keep nothing, or stop the collector."""
    for policy in policies:
        assert set(policy) == {"name", "type", policy["type"]}
        assert set(policy[policy["type"]]) == FIELDS[policy["type"]]
    assert len({policy["name"] for policy in policies}) == len(policies)


def test_attributes_are_those_of_our_spans(policies: list[dict[str, Any]]) -> None:
    """What decides is on the spans under this very name."""
    known = {value for value in vars(names).values() if isinstance(value, str)}
    keys = {policy[policy["type"]]["key"] for policy in policies if "key" in policy[policy["type"]]}
    assert keys and keys <= known
    (condition,) = next(policy for policy in policies if policy["name"] == "novelty")["ottl_condition"]["span"]
    assert f'attributes["{names.NOVELTY_P}"] <= 0.01' in condition


def test_what_is_worth_keeping_is_kept(policies: list[dict[str, Any]]) -> None:
    """Errors, slow ones, violations, novelty, candidates, disagreements; of the rest the share that was asked for."""
    assert [policy["name"] for policy in policies] == [
        "errors", "refused", "slow", "violations", "novelty", "candidates", "disagreements", "interesting", "the rest"]
    chosen = collector(Sampling("tempo:4317", share=0.001, slow_s=0.25))
    by_name = {policy["name"]: policy for policy in chosen["processors"]["tail_sampling"]["policies"]}
    assert by_name["slow"]["latency"]["threshold_ms"] == 250
    assert by_name["the rest"]["probabilistic"]["sampling_percentage"] == 0.1
    assert chosen["exporters"]["otlp"]["endpoint"] == "tempo:4317"
