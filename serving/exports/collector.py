"""A configuration for the OpenTelemetry Collector (contrib) that keeps the traces worth keeping.

Tail sampling decides on whole traces: all that failed, were slow, held a violation or an unusual row, met a candidate,
or in which a shadow disagreed; of the rest a share. All spans of a trace must reach the same collector.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serinus.serving.telemetry import names

__all__ = ["Sampling", "collector"]


class Sampling(NamedTuple):
    """What is kept: requests slower than `slow_s`, and of the unremarkable ones `share`."""

    endpoint: str = "${env:TRACES_ENDPOINT}"
    share: float = 0.05
    slow_s: float = 1.0
    novelty_p: float = 0.01


def collector(chosen: Sampling) -> dict[str, Any]:
    """OTLP in; sampled traces, all metrics and all log lines on to another OTLP endpoint."""
    guard = ["memory_limiter"]
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "0.0.0.0:4317"},
                                             "http": {"endpoint": "0.0.0.0:4318"}}}},
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_percentage": 80, "spike_limit_percentage": 20},
            "tail_sampling": {"decision_wait": "10s", "num_traces": 50_000, "policies": _policies(chosen)},
            "batch": {}},
        "exporters": {"otlp": {"endpoint": chosen.endpoint}},
        "extensions": {"health_check": {"endpoint": "0.0.0.0:13133"}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "processors": [*guard, "tail_sampling", "batch"],
                           "exporters": ["otlp"]},
                "metrics": {"receivers": ["otlp"], "processors": [*guard, "batch"], "exporters": ["otlp"]},
                "logs": {"receivers": ["otlp"], "processors": [*guard, "batch"], "exporters": ["otlp"]}}}}


def _policies(chosen: Sampling) -> list[dict[str, Any]]:
    """A trace is kept as soon as one of them wants it."""
    return [
        {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
        {"name": "refused", "type": "numeric_attribute",
         "numeric_attribute": {"key": names.HTTP_STATUS, "min_value": 400, "max_value": 599}},
        {"name": "slow", "type": "latency", "latency": {"threshold_ms": round(chosen.slow_s * 1000)}},
        {"name": "violations", "type": "numeric_attribute",
         "numeric_attribute": {"key": names.VIOLATIONS, "min_value": 1, "max_value": 2**62}},
        {"name": "novelty", "type": "ottl_condition", "ottl_condition": {
            "error_mode": "ignore",
            "span": [f'attributes["{names.NOVELTY_P}"] != nil and attributes["{names.NOVELTY_P}"] <= '
                     f"{chosen.novelty_p:g}"]}},
        {"name": "candidates", "type": "string_attribute",
         "string_attribute": {"key": names.ROLE, "values": ["candidate"]}},
        {"name": "disagreements", "type": "boolean_attribute",
         "boolean_attribute": {"key": names.SHADOW_DISAGREES, "value": True}},
        {"name": "interesting", "type": "string_attribute",
         "string_attribute": {"key": names.DETAIL,
                              "values": ["error", "violation", "candidate", "novelty", "slow"]}},
        {"name": "the rest", "type": "probabilistic",
         "probabilistic": {"sampling_percentage": round(chosen.share * 100, 4)}}]
