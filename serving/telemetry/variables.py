"""Where each signal goes, by the standard `OTEL_*` variables and, below them, our own settings.

The order, first wins: the variable of the signal (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), the general variable
(`OTEL_EXPORTER_OTLP_ENDPOINT`), `telemetry.endpoint` and `telemetry.protocol` of our settings, nothing. Without an
endpoint nothing is sent, whatever else is said, except to the console.
"""

from __future__ import annotations

import os
from typing import Literal, NamedTuple, get_args

from serinus.serving.settings import TelemetrySettings

__all__ = ["SIGNALS", "Destination", "Signal", "adopt", "destination", "variable"]

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)

_EXPORTERS = {"otlp", "console", "none"}
_DEFAULT_EXPORTER = {"traces": "otlp", "metrics": "otlp", "logs": "none"}
_PROTOCOLS = {"grpc", "http/protobuf"}
_OURS = "SERINUS_TELEMETRY_SOURCE"  # which of the general variables stand for our own settings


class Destination(NamedTuple):
    """Where a signal goes. `exporter` is otlp, console or none; `source` names what decided; `problem` is a sentence
    about a value that is not understood."""

    exporter: str
    endpoint: str
    protocol: str
    source: str
    problem: str


def adopt(settings: TelemetrySettings) -> None:
    """Let our settings stand where no standard variable says otherwise, for this process and its children."""
    for name, value in (("ENDPOINT", settings.endpoint), ("PROTOCOL", settings.protocol)):
        if value and not os.environ.get(f"OTEL_EXPORTER_OTLP_{name}"):
            os.environ[f"OTEL_EXPORTER_OTLP_{name}"] = value
            os.environ[_OURS] = f"{os.environ.get(_OURS, '')} {name}".strip()


def variable(signal: Signal, name: str) -> tuple[str, str]:
    """The value of an exporter's variable for a signal and what gave it; two empty texts when nothing does."""
    for full in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        value = os.environ.get(full, "").strip()
        if value:
            ours = full == f"OTEL_EXPORTER_OTLP_{name}" and name in os.environ.get(_OURS, "").split()
            return value, f"telemetry.{name.lower()}" if ours else full
    return "", ""


def destination(signal: Signal) -> Destination:
    """Where this process sends a signal."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Destination("none", "", "", "OTEL_SDK_DISABLED", "")
    name = f"OTEL_{signal.upper()}_EXPORTER"
    wanted = os.environ.get(name, "").strip().lower()
    problem = ""
    chosen = next((part for part in map(str.strip, wanted.split(",")) if part in _EXPORTERS), "none")
    if not wanted or (signal == "metrics" and wanted == "prometheus"):
        chosen = "none" if wanted else _DEFAULT_EXPORTER[signal]
    elif chosen == "none" and "none" not in wanted.split(","):
        problem = f"{name}={wanted} is not supported, only otlp, console and none: no {signal} are exported."
    if chosen == "none" and not wanted:
        return Destination("none", "", "", f"{name} is not set", problem)
    endpoint, gave_endpoint = variable(signal, "ENDPOINT")
    protocol, gave_protocol = variable(signal, "PROTOCOL")
    if protocol and protocol not in _PROTOCOLS:
        problem = problem or (f"{gave_protocol}={protocol} is not supported, only grpc and http/protobuf: taken for "
                              "the latter.")
    if chosen == "otlp" and not endpoint:
        return Destination("none", "", "", name if wanted else "no endpoint is set", problem)
    return Destination(chosen, endpoint if chosen == "otlp" else "", "grpc" if protocol == "grpc" else "http/protobuf",
                       name if wanted and chosen != "otlp" else gave_endpoint, problem)
