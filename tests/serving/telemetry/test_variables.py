"""Which variable wins, and that nothing is sent where nobody said so."""

from __future__ import annotations

import os

import pytest

from serinus.serving.settings import Settings, TelemetrySettings
from serinus.serving.telemetry.variables import adopt, destination

HERE, THERE = "http://127.0.0.1:4318", "http://127.0.0.1:9999"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("OTEL_") or name == "SERINUS_TELEMETRY_SOURCE":
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what `adopt` adds goes with the test
    return monkeypatch


@pytest.mark.parametrize(("variables", "exporter", "endpoint", "source"), [
    ({}, "none", "", "no endpoint is set"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, "otlp", HERE, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": THERE}, "otlp", THERE,
     "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_TRACES_EXPORTER": "none"}, "none", "", "OTEL_TRACES_EXPORTER"),
    ({"OTEL_TRACES_EXPORTER": "console"}, "console", "", "OTEL_TRACES_EXPORTER"),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "none", "", "OTEL_TRACES_EXPORTER"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_SDK_DISABLED": "true"}, "none", "", "OTEL_SDK_DISABLED"),
])
def test_the_signals_own_variable_goes_first(environ: pytest.MonkeyPatch, variables: dict[str, str], exporter: str,
                                             endpoint: str, source: str) -> None:
    """Then the general one; an exporter without an endpoint sends nothing."""
    os.environ.update(variables)
    found = destination("traces")
    assert (found.exporter, found.endpoint, found.source, found.problem) == (exporter, endpoint, source, "")


def test_our_settings_stand_where_no_variable_does() -> None:
    """And say that they did; a variable that is set stays."""
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    adopt(TelemetrySettings(endpoint=THERE, protocol="grpc"))
    found = destination("traces")
    assert (found.endpoint, found.source, found.protocol) == (THERE, "telemetry.endpoint", "http/protobuf")
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = HERE
    assert destination("traces").endpoint == HERE


def test_a_child_reads_its_settings_as_before() -> None:
    """What is handed down to it is no setting of its own."""
    adopt(TelemetrySettings(endpoint=THERE))
    assert Settings.resolve(environ=os.environ).telemetry.endpoint is None
    assert destination("traces").source == "telemetry.endpoint"


def test_logs_are_sent_only_when_asked_for() -> None:
    """Traces and metrics go wherever an endpoint is; log lines do not."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = HERE
    assert [destination(signal).exporter for signal in ("traces", "metrics", "logs")] == ["otlp", "otlp", "none"]
    os.environ["OTEL_LOGS_EXPORTER"] = "otlp"
    assert destination("logs").exporter == "otlp"
    os.environ["OTEL_METRICS_EXPORTER"] = "prometheus"
    assert (destination("metrics").exporter, destination("metrics").problem) == ("none", "")


@pytest.mark.parametrize(("name", "value", "words"), [
    ("OTEL_TRACES_EXPORTER", "jaeger", "OTEL_TRACES_EXPORTER=jaeger is not supported"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json is not supported"),
])
def test_what_is_not_understood_is_said(name: str, value: str, words: str) -> None:
    """In one sentence that names the variable."""
    os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, name: value}
    assert words in destination("traces").problem
