"""Telemetry: spans over OTLP, metrics from the boards, and the one page of names."""

from serinus.serving.telemetry.tracing import Marks, SpanContextIds, Trace, Tracing

__all__ = ["Marks", "SpanContextIds", "Trace", "Tracing"]
