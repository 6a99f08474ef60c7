"""Telemetry: spans over OTLP, metrics from the boards, and the one page of names."""

from serinus.serving.telemetry.trace import Marks, SpanContextIds, Trace, within
from serinus.serving.telemetry.tracing import Tracing

__all__ = ["Marks", "SpanContextIds", "Trace", "Tracing", "within"]
