"""The boards' counts in Prometheus' text form: correct over all workers, dead ones included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from serinus.serving.board import BOUNDS_NS, Labels, Reading, Series, read_all
from serinus.serving.telemetry.names import METRICS

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = [*(repr(ns / 1e9) for ns in BOUNDS_NS), "+Inf"]


def exposition(boards: Path) -> str:
    """All metrics of the server whose boards lie in this folder."""
    (counters, series), readings = read_all(boards)
    lines: list[str] = []
    for name, about in METRICS.items():
        kind = "histogram" if name.endswith("_seconds") else "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *_samples(name, counters, series, readings)]
    return "\n".join(lines) + "\n"


def _samples(name: str, counters: dict[str, int], series: dict[Labels, Series],
             readings: list[Reading]) -> Iterator[str]:
    if name == "http_server_request_duration_seconds":
        for labels, counts in sorted(series.items()):
            yield from _histogram(name, _http_labels(labels), counts.duration_buckets, counts.duration_ns)
    elif name == "serinus_predict_duration_seconds":
        for version, buckets, total in _by_version(series):
            yield from _histogram(name, version, buckets, total)
    elif name == "serinus_rows_total":
        for labels, counts in sorted(series.items()):
            if labels.model and labels.status == 200:
                yield f"{name}{{{_http_labels(labels)}}} {counts.rows}"
    elif name == "serinus_in_flight":
        yield f"{name} {sum(reading.in_flight for reading in readings)}"
    elif name == "serinus_workers":
        yield f"{name} {sum(reading.ready for reading in readings)}"
    else:
        yield f"{name} {counters.get(name.removeprefix('serinus_').removesuffix('_total'), 0)}"


def _by_version(series: dict[Labels, Series]) -> Iterator[tuple[str, tuple[int, ...], int]]:
    found: dict[str, tuple[tuple[int, ...], int]] = {}
    for labels, counts in sorted(series.items()):
        if counts.predicts:
            key = _pairs(serinus_model_name=labels.model, serinus_model_version=labels.version,
                         serinus_role=labels.role)
            buckets, total = found.get(key, ((0,) * len(counts.predict_buckets), 0))
            summed = tuple(a + b for a, b in zip(buckets, counts.predict_buckets, strict=True))
            found[key] = summed, total + counts.predict_ns
    yield from ((key, buckets, total) for key, (buckets, total) in found.items())


def _http_labels(labels: Labels) -> str:
    return _pairs(http_request_method=labels.method, http_route=labels.route,
                  http_response_status_code=str(labels.status), error_type=labels.error_type,
                  serinus_model_name=labels.model, serinus_model_version=labels.version, serinus_role=labels.role)


def _pairs(**labels: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items() if value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _histogram(name: str, labels: str, buckets: tuple[int, ...], total_ns: int) -> Iterator[str]:
    reached = 0
    for bound, number in zip(_BOUNDS, buckets, strict=True):
        reached += number
        yield f'{name}_bucket{{{labels},le="{bound}"}} {reached}'
    yield f"{name}_sum{{{labels}}} {total_ns / 1e9!r}"
    yield f"{name}_count{{{labels}}} {reached}"
