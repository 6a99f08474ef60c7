"""What doctor says of each signal; whether collectors answer is asked for real in `test_probe`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from serinus.serving.doctor.check import Check
from serinus.serving.doctor.telemetry import look_at_telemetry
from serinus.serving.settings import Settings, TelemetrySettings
from tests.serving.telemetry.receivers import Receiver


@pytest.fixture(autouse=True)
def environ() -> Iterator[None]:
    """No variable of OpenTelemetry's at first; what is set goes with the test."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("OTEL_", "SERINUS_TELEMETRY"))]:
        del os.environ[name]
    yield
    os.environ.clear()  # the exporters hold on to this very object
    os.environ.update(before)


def look(**telemetry: str) -> dict[str, Check]:
    return {check.subject: check for check in look_at_telemetry(Settings(telemetry=TelemetrySettings(
        **telemetry)))}  # type: ignore[arg-type]


def test_nothing_is_exported_unless_somebody_says_so() -> None:
    """And that is in order."""
    found = look()
    assert {check.state for check in found.values()} == {"ok"}
    assert found["traces"].says == "Not exported: no endpoint is set."
    assert found["logs"].says == "Not exported: OTEL_LOGS_EXPORTER is not set."


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_answers(protocol: str) -> None:
    """Each signal names the variable or the setting that won."""
    with Receiver(protocol) as receiver:
        endpoint = receiver.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
        os.environ |= {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "console",
                       "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        found = look(endpoint=endpoint)
    assert found["traces"].says == "To standard output, by OTEL_TRACES_EXPORTER."
    for signal in ("metrics", "logs"):
        assert found[signal] == Check(signal, "ok",
                                      f"To {endpoint} over {protocol}, by telemetry.endpoint; it answers.")
    assert len(receiver.requests) == 2


def test_a_dead_collector_is_a_problem() -> None:
    """The password that stands in an address is not shown."""
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://me:secret@127.0.0.1:9/v1/traces"
    found = look()
    assert found["traces"].state == "problem" and "connection refused" in found["traces"].says
    assert found["traces"].says.startswith("To http://…@127.0.0.1:9/v1/traces over http/protobuf, "
                                           "by OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;")
    assert found["metrics"].state == "ok"


def test_traces_may_be_off() -> None:
    """Then nobody is asked to take them."""
    os.environ |= {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}
    assert look(traces="off")["traces"] == Check("traces", "ok", "Off, by telemetry.traces.")


@pytest.mark.parametrize(("name", "value", "subject", "words"), [
    ("OTEL_TRACES_EXPORTER", "zipkin", "traces", "is not supported"),
    ("OTEL_TRACES_EXPORTER", "otlp", "traces", "no endpoint is set: nothing is exported"),
    ("OTEL_TRACES_SAMPLER", "sometimes", "sampler", "is not known"),
    ("OTEL_PROPAGATORS", "b3", "propagators", "heeded only under a TracerProvider of your own"),
])
def test_a_variable_that_does_not_do_what_it_says_is_a_warning(name: str, value: str, subject: str,
                                                              words: str) -> None:
    """Serving goes on; a person thought that something else would happen."""
    os.environ[name] = value
    told = [check for check in look_at_telemetry(Settings()) if check.state == "warning"]
    assert [check.subject for check in told] == [subject] and words in told[0].says


def test_a_share_that_is_none_is_a_warning() -> None:
    """And a good one is shown."""
    os.environ |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10%"}
    assert look()["sampler"].state == "warning"
    os.environ["OTEL_TRACES_SAMPLER_ARG"] = "0.1"
    assert look()["sampler"].says == "parentbased_traceidratio 0.1, by OTEL_TRACES_SAMPLER."
