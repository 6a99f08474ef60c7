"""Telemetry: spans over OTLP, metrics from the boards, and the one page of names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serinus.serving.telemetry.trace import Marks, SpanContextIds, Trace, within
    from serinus.serving.telemetry.tracing import Tracing

__all__ = ["Marks", "SpanContextIds", "Trace", "Tracing", "within"]

_HOMES = {"Marks": "trace", "SpanContextIds": "trace", "Trace": "trace", "Tracing": "tracing", "within": "trace"}


def __getattr__(name: str) -> Any:
    """On demand: who wants the names or the variables only need not wait for what spans are made of."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
