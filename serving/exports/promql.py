"""Our metrics and attributes as PromQL spells them, so that no query names one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from serinus.serving.telemetry.metrics import prometheus_name
from serinus.serving.telemetry.names import METRICS

__all__ = ["grouped", "label", "labels", "quantile", "series"]


def series(name: str, *matchers: str, suffix: str = "") -> str:
    """A selector of a metric's series, the metric by its OpenTelemetry name; KeyError where there is none.

    A collector's Prometheus exporter adds `_ratio` to gauges without a unit; both spellings are meant.

    >>> series("serinus.rows", 'serinus_role="stable"')
    'serinus_rows_total{serinus_role="stable"}'
    >>> series("serinus.drift.evidence")
    '{__name__=~"serinus_drift_evidence(_ratio)?"}'
    """
    instrument = METRICS[name]
    spelled = prometheus_name(name, instrument) + ("_total" if instrument.kind == "counter" else suffix)
    if instrument.kind == "gauge" and instrument.unit == "1":
        return "{" + ",".join((f'__name__=~"{spelled}(_ratio)?"', *matchers)) + "}"
    return f"{spelled}{{{','.join(matchers)}}}" if matchers else spelled


def label(attribute: str) -> str:
    """An attribute's name as a label."""
    return attribute.replace(".", "_")


def labels(attributes: Iterable[str]) -> str:
    """Attributes as a list of labels, as `by (…)` takes it."""
    return ", ".join(map(label, attributes))


def grouped(expression: str, by: Iterable[str], *, how: str = "sum") -> str:
    """The expression added up, or otherwise aggregated, by these attributes; over everything without any."""
    names = labels(by)
    return f"{how} by ({names}) ({expression})" if names else f"{how}({expression})"


def quantile(share: float, name: str, by: Iterable[str], window: str, *matchers: str) -> str:
    """A quantile of a histogram over a window of time."""
    rates = f"rate({series(name, *matchers, suffix='_bucket')}[{window}])"
    return f"histogram_quantile({share:g}, {grouped(rates, ('le', *by))})"
