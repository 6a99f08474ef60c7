"""What the boards count, as metrics: exact over all workers, dead ones included.

A `Family` is one metric with its points; `exposition` writes families for Prometheus, `serinus.serving.telemetry.push`
hands them to OpenTelemetry's exporter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.serving.board import (
    BATCH_BOUNDS,
    BOUNDS_NS,
    QUEUE_BOUNDS_NS,
    VALUE_BOUNDS,
    VALUES,
    Exemplar,
    Labels,
    Reading,
    Series,
    merge,
    read_all,
    start_ticks,
)
from serinus.serving.cloud_events import published as published_events
from serinus.serving.ground_truth.published import published as published_ground_truth
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.performance.published import documents
from serinus.serving.published_alerts import published
from serinus.serving.rollout.state import FULL_WEIGHT, RolloutRecord
from serinus.serving.shadow.pairs import PairCounts
from serinus.serving.shadow.published import ShadowFiles
from serinus.serving.snapshot import read_snapshot
from serinus.serving.telemetry import names
from serinus.serving.telemetry.names import METRICS, Instrument

__all__ = ["BOUNDS", "CONTENT_TYPE", "OPENMETRICS", "Family", "Histogram", "Point", "collect", "exposition",
           "prometheus_name", "request_attributes", "version_attributes"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

_SECONDS = tuple(ns / 1e9 for ns in BOUNDS_NS)
_QUEUE_SECONDS = tuple(ns / 1e9 for ns in QUEUE_BOUNDS_NS)
_BATCH_ROWS = tuple(map(float, BATCH_BOUNDS))
BOUNDS: Mapping[str, tuple[float, ...]] = {
    "http.server.request.duration": _SECONDS, "serinus.predict.duration": _SECONDS,
    "serinus.queue.duration": _QUEUE_SECONDS, "serinus.batch.rows": _BATCH_ROWS}
"""The buckets of the histograms that a request adds one value to."""
_TICKS = os.sysconf("SC_CLK_TCK")
_FEATURES = 10
_OUTCOMES = 20
"""Names of events of a model that are told."""
_HOURS = 24
_PAGE = os.sysconf("SC_PAGE_SIZE")

Attributes = Mapping[str, str | int]


class Histogram(NamedTuple):
    """Counts between bounds (one more than there are bounds, not cumulative), and the values' sum, None where they may
    be negative."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float | None
    exemplar: Exemplar | None = None


class Point(NamedTuple):
    """One value of a metric."""

    attributes: Attributes
    value: float | Histogram


class Family(NamedTuple):
    """A metric and its points."""

    name: str
    instrument: Instrument
    points: list[Point]


class Counted(NamedTuple):
    """What all boards of a server say, as the metrics below look at it."""

    counters: Mapping[str, int]
    series: Mapping[Labels, Series]
    living: list[Reading]
    rollouts: Iterable[RolloutRecord]
    cost_per_cpu_hour: float
    monitors: Sequence[Mapping[str, Any]]
    """What the steward published of them, by version."""
    alerts: Mapping[str, Any]
    """What the steward published of them; empty where there is no steward."""
    pairs: Sequence[PairCounts] = ()
    """What shadows answered."""
    deaths: Sequence[Mapping[str, Any]] = ()
    """What their process died of."""
    performance: Sequence[Mapping[str, Any]] = ()
    """What the steward published of it, by model."""
    ground_truth: Mapping[str, Any] = {}
    """What the steward published of it, by model."""
    events: Mapping[str, int] = {}
    """How many CloudEvents were sent and dropped; empty where none are."""

    def tallies(self, name: str, *labels: str) -> Iterator[Point]:
        """The rare counters of a name, with these names for their label values."""
        return _tallies(self.counters, name, labels)

    def levels(self, name: str, *labels: str) -> Iterator[Point]:
        """The same of living workers only: what a dead one held is free."""
        living, _ = merge((reading.counters, {}) for reading in self.living)
        return _tallies(living, name, labels)


def _tallies(counters: Mapping[str, int], name: str, labels: tuple[str, ...]) -> Iterator[Point]:
    for key, value in counters.items():
        if key.startswith("["):
            found, *values = orjson.loads(key)
            if found == name:
                yield Point(dict(zip(labels, values, strict=True)), value)


def collect(boards: Path, snapshot: Path | None = None, cost_per_cpu_hour: float = 0.0) -> list[Family]:
    """All metrics of the server whose boards lie in this folder and whose workers follow this snapshot."""
    (counters, series), readings = read_all(boards)
    rollouts = read_snapshot(snapshot).records.values() if snapshot is not None else ()
    living = [reading for reading in readings if start_ticks(reading.pid) == reading.start_ticks]
    alerts = published(snapshot.parent) if snapshot is not None else {}
    views = MonitorFiles(snapshot.parent / "monitors").views() if snapshot is not None else ()
    monitors = [view.document for view in views if view.document["drift"] is not None]
    shadow = ShadowFiles(boards.parent / "shadow")
    counted = Counted(counters, dict(sorted(series.items())), living, rollouts, cost_per_cpu_hour, monitors, alerts,
                      list(shadow.pairs().values()), list(shadow.deaths().values()),
                      documents(snapshot.parent / "performance") if snapshot is not None else (),
                      published_ground_truth(snapshot.parent)["models"] if snapshot is not None else {},
                      published_events(snapshot.parent) if snapshot is not None else {})
    return [Family(name, instrument, list(_POINTS[name](counted))) for name, instrument in METRICS.items()]


def _requests(counted: Counted) -> Iterator[Point]:
    for labels, counts in counted.series.items():
        exemplar = counts.exemplar if counts.exemplar.time_ns else None
        yield Point(request_attributes(labels), Histogram(_SECONDS, counts.duration_buckets, counts.duration_ns / 1e9,
                                                          exemplar))


def _predicts(counted: Counted) -> Iterator[Point]:
    for version, counts in _by_version(counted):
        if counts.predicts:
            yield Point(version, Histogram(_SECONDS, counts.predict_buckets, counts.predict_ns / 1e9))


def _queue(counted: Counted) -> Iterator[Point]:
    for version, counts in _by_version(counted):
        if any(counts.queue_buckets):
            yield Point(version, Histogram(_QUEUE_SECONDS, counts.queue_buckets, counts.queue_ns / 1e9))


def _batches(counted: Counted) -> Iterator[Point]:
    for version, counts in _by_version(counted):
        if any(counts.batch_buckets):
            yield Point(version, Histogram(_BATCH_ROWS, counts.batch_buckets, float(counts.batch_rows)))


def _rows(counted: Counted) -> Iterator[Point]:
    for labels, counts in counted.series.items():
        if labels.model and labels.status == 200:
            yield Point(request_attributes(labels), counts.rows)


def _predictions(counted: Counted) -> Iterator[Point]:
    return counted.tallies("predictions", names.MODEL_NAME, names.MODEL_VERSION, names.ROLE, names.CLASS)


def _values(counted: Counted) -> Iterator[Point]:
    by_version: dict[tuple[str, ...], list[int]] = {}
    for key, value in counted.counters.items():
        if key.startswith(f'["{VALUES}",'):
            _, *version, bucket = orjson.loads(key)
            by_version.setdefault(tuple(version), [0] * (len(VALUE_BOUNDS) + 1))[int(bucket)] = value
    for version, counts in sorted(by_version.items()):
        labels = dict(zip((names.MODEL_NAME, names.MODEL_VERSION, names.ROLE), version, strict=True))
        yield Point(labels, Histogram(VALUE_BOUNDS, tuple(counts), None))


def _weights(counted: Counted) -> Iterator[Point]:
    for record in counted.rollouts:
        if record.running and record.candidate is not None:
            yield Point({names.MODEL_NAME: record.model, names.MODEL_VERSION: record.candidate,
                         names.PHASE: record.phase.value}, record.weight / FULL_WEIGHT)


def _of_drift(value: Callable[[Mapping[str, Any]], float]) -> Callable[[Counted], Iterator[Point]]:
    """A number of each version that is compared with a reference."""
    return lambda counted: (Point(_watched(view), value(view)) for view in counted.monitors)


def _watched(view: Mapping[str, Any]) -> dict[str, str | int]:
    return {names.MODEL_NAME: view["model"], names.MODEL_VERSION: view["version"]}


def _feature_evidence(counted: Counted) -> Iterator[Point]:
    for view in counted.monitors:
        for feature in view["drift"]["features"][:_FEATURES]:
            yield Point(_watched(view) | {names.FEATURE: feature["name"]}, feature["evidence"])


def _of_performance(part: str) -> Callable[[Counted], Iterator[Point]]:
    """Every measure of the latest hour that has this part."""

    def points(counted: Counted) -> Iterator[Point]:
        for attributes, version in _performing(counted):
            found = (window[part] for window in reversed(version["windows"]) if window[part])
            latest: Mapping[str, Any] = next(found, {})
            yield from (Point({**attributes, names.MEASURE: name}, measure["value"])
                        for name, measure in latest.items() if measure["value"] is not None)

    return points


def _harm(counted: Counted) -> Iterator[Point]:
    return (Point(attributes, version["harm"]["evidence"]) for attributes, version in _performing(counted)
            if version["harm"] is not None)


def _performing(counted: Counted) -> Iterator[tuple[dict[str, str | int], Mapping[str, Any]]]:
    for document in counted.performance:
        for version in document["versions"]:
            yield {names.MODEL_NAME: document["model"], names.MODEL_VERSION: version["version"],
                   names.ROLE: version["role"]}, version


def _of_outcomes(value: Callable[[float, float], float]) -> Callable[[Counted], Iterator[Point]]:
    """By version and name of an event, from predictions with such an event and the sum of its values."""

    def points(counted: Counted) -> Iterator[Point]:
        for model, told in counted.ground_truth.items():
            for attributes, predictions, events in _outcomes(model, told["windows"]):
                for name, (number, total) in sorted(events.items(), key=lambda each: -each[1][0])[:_OUTCOMES]:
                    yield Point({**attributes, names.OUTCOME_NAME: name}, value(number, total) / predictions)

    return points


def _outcomes(model: str, windows: Sequence[Mapping[str, Any]]) -> Iterator[
        tuple[dict[str, str | int], int, dict[str, tuple[float, float]]]]:
    """For each version and role the predictions of the last day, and how many had which event, with its values' sum."""
    last = sorted({window["window"] for window in windows})[-_HOURS:]
    found: dict[tuple[str, str], tuple[int, dict[str, tuple[float, float]]]] = {}
    for window in windows:
        if window["window"] in last:
            predictions, events = found.get((window["version"], window["role"]), (0, {}))
            for name, (number, _, total) in window["events"].items():
                before = events.get(name, (0, 0.0))
                events[name] = before[0] + number, before[1] + total
            found[window["version"], window["role"]] = predictions + window["predictions"], events
    for (version, role), (predictions, events) in found.items():
        if predictions and events:
            yield ({names.MODEL_NAME: model, names.MODEL_VERSION: version, names.ROLE: role}, predictions, events)


def _alerts(counted: Counted) -> Iterator[Point]:
    """Of each model that has any, those that are pending and those that fire."""
    found = [(alert["model"], alert["state"]) for alert in counted.alerts.get("alerts", ())]
    for model in sorted({model for model, state in found if state != "resolved"}):
        for state in ("pending", "firing"):
            yield Point({names.MODEL_NAME: model, names.ALERT_STATE: state}, found.count((model, state)))


def _of_events(word: str) -> Callable[[Counted], Iterator[Point]]:
    def points(counted: Counted) -> Iterator[Point]:
        if word in counted.events:
            yield Point({}, counted.events[word])

    return points


def _notifications(counted: Counted) -> Iterator[Point]:
    for notifier, counts in counted.alerts.get("notifications", {}).items():
        for word, outcome in (("delivered", "delivered"), ("failures", "failed"), ("given_up", "given_up")):
            yield Point({names.NOTIFIER: notifier, names.OUTCOME: outcome}, counts[word])


def _shadow_share(counted: Counted) -> Iterator[Point]:
    """The mean of the workers."""
    for point in counted.levels("shadow_share", names.MODEL_NAME, names.MODEL_VERSION):
        assert not isinstance(point.value, Histogram)
        if point.value:
            yield Point(point.attributes, point.value / FULL_WEIGHT / len(counted.living))


def _shadow_copies(counted: Counted) -> Iterator[Point]:
    return counted.tallies("shadow_copies", names.MODEL_NAME, names.MODEL_VERSION)


def _shadow_dropped(counted: Counted) -> Iterator[Point]:
    yield from counted.tallies("shadow_dropped", names.MODEL_NAME, names.MODEL_VERSION, names.SHADOW_DROPPED)
    late: dict[str, str | int] = {names.SHADOW_DROPPED: "late"}
    yield from _added_up((_shadowed(each) | late, each.late) for each in counted.pairs)


def _of_pairs(value: Callable[[PairCounts], int]) -> Callable[[Counted], Iterator[Point]]:
    """A number of each rollout's pairs."""
    return lambda counted: _added_up((_shadowed(each), value(each)) for each in counted.pairs)


def _shadow_failures(counted: Counted) -> Iterator[Point]:
    for role in ("shadow", "stable"):
        yield from _added_up((_shadowed(each) | {names.ROLE: role},
                              each.candidate_failed if role == "shadow" else each.stable_failed)
                             for each in counted.pairs)


def _shadow_deaths(counted: Counted) -> Iterator[Point]:
    return _added_up(({names.MODEL_NAME: death["model"], names.MODEL_VERSION: death["version"]}, death["number"])
                     for death in counted.deaths)


def _added_up(parts: Iterable[tuple[dict[str, str | int], int]]) -> Iterator[Point]:
    """One point for each version, however many rollouts of it there were."""
    found: dict[tuple[tuple[str, str | int], ...], int] = {}
    for attributes, number in parts:
        key = tuple(attributes.items())
        found[key] = found.get(key, 0) + number
    return (Point(dict(key), number) for key, number in found.items())


def _shadowed(counts: PairCounts) -> dict[str, str | int]:
    return {names.MODEL_NAME: counts.model, names.MODEL_VERSION: counts.candidate}


def _violations(counted: Counted) -> Iterator[Point]:
    return counted.tallies("violations", names.MODEL_NAME, names.VIOLATION_KIND)


def _referrals(counted: Counted) -> Iterator[Point]:
    return counted.tallies("referred", names.MODEL_NAME, names.MODEL_VERSION, names.REFERRAL_REASON)


def _rounded(counted: Counted) -> Iterator[Point]:
    return counted.tallies("rounded", names.MODEL_NAME, names.MODEL_VERSION)


def _signals(counted: Counted) -> Iterator[Point]:
    return counted.tallies("signals", names.MODEL_NAME, names.MODEL_VERSION, names.SIGNAL)


def _load_seconds(counted: Counted) -> Iterator[Point]:
    for point in counted.tallies("load_ns", names.MODEL_NAME, names.MODEL_VERSION):
        assert not isinstance(point.value, Histogram)
        yield Point(point.attributes, point.value / 1e9)


def _memory(counted: Counted) -> Iterator[Point]:
    return (point for point in counted.levels("memory", names.MODEL_NAME, names.MODEL_VERSION) if point.value)


def _cpu_by_version(counted: Counted) -> Iterator[Point]:
    whole = sum(counts.duration_ns for counts in counted.series.values())
    seconds = sum(_cpu_seconds(reading.pid) for reading in counted.living)
    for version, counts in _by_version(counted):
        yield Point(version, seconds * counts.duration_ns / whole if whole else 0.0)


def _cost(counted: Counted) -> Iterator[Point]:
    rows = {tuple(version.items()): counts.rows for version, counts in _by_version(counted)}
    for version, seconds in _cpu_by_version(counted) if counted.cost_per_cpu_hour else ():
        assert not isinstance(seconds, Histogram)
        if answered := rows[tuple(version.items())]:
            yield Point(version, seconds / 3600 * counted.cost_per_cpu_hour * 1000 / answered)


def _counter(name: str) -> Callable[[Counted], Iterator[Point]]:
    return lambda counted: iter([Point({}, counted.counters.get(name, 0))])


def _sum_of(number: Callable[[Reading], int]) -> Callable[[Counted], Iterator[Point]]:
    return lambda counted: iter([Point({}, sum(map(number, counted.living)))])


def _of_process(number: Callable[[int], float]) -> Callable[[Counted], Iterator[Point]]:
    return lambda counted: (Point({names.PROCESS_PID: reading.pid}, number(reading.pid))
                            for reading in counted.living)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except OSError:
        return 0.0


def _resident_bytes(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0.0


_POINTS: Mapping[str, Callable[[Counted], Iterable[Point]]] = {
    "http.server.request.duration": _requests,
    "http.server.active_requests": _sum_of(lambda reading: reading.active),
    "serinus.predict.duration": _predicts,
    "serinus.queue.duration": _queue,
    "serinus.batch.rows": _batches,
    "serinus.rows": _rows,
    "serinus.predictions": _predictions,
    "serinus.prediction.value": _values,
    "serinus.violations": _violations,
    "serinus.referrals": _referrals,
    "serinus.rounded": _rounded,
    "serinus.signals": _signals,
    "serinus.drift.evidence": _of_drift(lambda view: view["drift"]["evidence"]),
    "serinus.drift.alarms": _of_drift(lambda view: view["drift"]["alarms"]),
    "serinus.drift.feature.evidence": _feature_evidence,
    "serinus.monitor.rows": _of_drift(lambda view: view["rows"]),
    "serinus.novelty": _of_drift(lambda view: view["novelty"]["unusual"]),
    "serinus.performance.value": _of_performance("measures"),
    "serinus.performance.estimate": _of_performance("estimate"),
    "serinus.outcome.share": _of_outcomes(lambda number, _: number),
    "serinus.outcome.mean": _of_outcomes(lambda _, total: total),
    "serinus.performance.harm": _harm,
    "serinus.rollout.weight": _weights,
    "serinus.shadow.share": _shadow_share,
    "serinus.shadow.copies": _shadow_copies,
    "serinus.shadow.dropped": _shadow_dropped,
    "serinus.shadow.pairs": _of_pairs(lambda counts: counts.pairs),
    "serinus.shadow.disagreements": _of_pairs(lambda counts: counts.disagreements),
    "serinus.shadow.failures": _shadow_failures,
    "serinus.shadow.deaths": _shadow_deaths,
    "serinus.in_flight": _sum_of(lambda reading: reading.in_flight),
    "serinus.workers": _sum_of(lambda reading: reading.ready),
    "serinus.alerts": _alerts,
    "serinus.notifications": _notifications,
    "serinus.log.frames": _counter("log_frames"),
    "serinus.log.bytes": _counter("log_bytes"),
    "serinus.log.failures": _counter("log_failures"),
    "serinus.events.sent": _of_events("sent"),
    "serinus.events.dropped": _of_events("dropped"),
    "serinus.spans.exported": _counter("spans_exported"),
    "serinus.spans.dropped": _counter("spans_dropped"),
    "serinus.load.failures": _counter("load_failures"),
    "serinus.load.duration": _load_seconds,
    "serinus.model.memory": _memory,
    "serinus.cpu.time": _cpu_by_version,
    "serinus.cost.per_thousand_rows": _cost,
    "process.cpu.time": _of_process(_cpu_seconds),
    "process.memory.usage": _of_process(_resident_bytes),
}


def _by_version(counted: Counted) -> Iterator[tuple[Attributes, Series]]:
    """The series of each version in each role, added up."""
    labels = {key: Labels(key.model, key.version, key.role, "", "", 0, "") for key in counted.series if key.model}
    (_, found) = merge([({}, {short: counted.series[key]}) for key, short in labels.items()])
    for short, counts in found.items():
        yield version_attributes(short), counts


def version_attributes(labels: Labels) -> Attributes:
    """Which version answered, in which role."""
    return {names.MODEL_NAME: labels.model, names.MODEL_VERSION: labels.version, names.ROLE: labels.role}


def request_attributes(labels: Labels) -> Attributes:
    """All that a series of requests is about; what is empty is left out."""
    found = {names.HTTP_METHOD: labels.method, names.HTTP_ROUTE: labels.route,
             names.HTTP_STATUS: str(labels.status), names.ERROR_TYPE: labels.error_type,
             **version_attributes(labels)}
    return {name: value for name, value in found.items() if value}


# Prometheus


def prometheus_name(name: str, instrument: Instrument) -> str:
    """A metric's name as Prometheus spells it, without a counter's `_total`."""
    unit = {"s": "_seconds", "By": "_bytes"}.get(instrument.unit, "")
    plain = name.replace(".", "_")
    return plain if plain.endswith(unit) else plain + unit


def exposition(families: Iterable[Family], *, openmetrics: bool = False) -> bytes:
    """The page that Prometheus scrapes, in its text form or in OpenMetrics' with exemplars."""
    lines: list[str] = []
    for name, instrument, points in families:
        spelled = prometheus_name(name, instrument)
        samples = f"{spelled}_total" if instrument.kind == "counter" else spelled
        head = spelled if openmetrics else samples
        lines += [f"# HELP {head} {instrument.about}", f"# TYPE {head} {instrument.kind}"]
        if openmetrics and spelled.endswith(("_seconds", "_bytes")):
            lines.append(f"# UNIT {head} {spelled.rpartition('_')[2]}")
        for attributes, value in points:
            labels = _pairs(attributes)
            if isinstance(value, Histogram):
                lines += _buckets(samples, labels, value, openmetrics)
            else:
                lines.append(f"{samples}{{{labels}}} {value!r}" if labels else f"{samples} {value!r}")
    return ("\n".join([*lines, "# EOF"] if openmetrics else lines) + "\n").encode()


def _buckets(name: str, labels: str, histogram: Histogram, openmetrics: bool) -> Iterator[str]:
    reached, told = 0, False
    for bound, number in zip((*histogram.bounds, None), histogram.counts, strict=True):
        reached += number
        line = f'{name}_bucket{{{labels},le="{"+Inf" if bound is None else repr(bound)}"}} {reached}'
        example = histogram.exemplar
        if openmetrics and example and not told and (bound is None or example.duration_ns / 1e9 <= bound):
            told = True
            line += (f' # {{trace_id="{example.trace_id:032x}",span_id="{example.span_id:016x}"}} '
                     f"{example.duration_ns / 1e9!r} {example.time_ns / 1e9:.3f}")
        yield line
    if histogram.total is not None:
        yield f"{name}_sum{{{labels}}} {histogram.total!r}"
    if histogram.total is not None or not openmetrics:  # there, one does not come without the other
        yield f"{name}_count{{{labels}}} {reached}"


def _pairs(attributes: Attributes) -> str:
    return ",".join(f'{name.replace(".", "_")}="{_escaped(str(value))}"' for name, value in attributes.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
