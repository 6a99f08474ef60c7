"""What the Grafana dashboard shows, panel by panel: a title, a unit, and the queries that fill it.

The queries are made of the names in `telemetry/names.py`; Grafana's own variables are `$model` (the models chosen at
the top) and `$__rate_interval` (a window that fits the time range).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from serinus.serving.exports.promql import grouped, label, quantile, series
from serinus.serving.telemetry import names

__all__ = ["SECTIONS", "Panel", "Query"]

_WINDOW = "$__rate_interval"
_MODEL = f'{label(names.MODEL_NAME)}=~"$model"'
_VERSION = (names.MODEL_NAME, names.MODEL_VERSION)
_ARM = (*_VERSION, names.ROLE)
_FAILED = f'{label(names.ERROR_TYPE)}!=""'
_BROKEN = f'{label(names.HTTP_STATUS)}=~"5.."'
_REQUESTS = "http.server.request.duration"


class Query(NamedTuple):
    """A PromQL expression, and how its lines are called; Grafana fills `{{…}}` with a label."""

    expression: str
    legend: str = ""
    exemplar: bool = False


class Panel(NamedTuple):
    """One picture: `stat` is a number, `timeseries` lines over time. `width` is of Grafana's 24 columns."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    about: str = ""
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8


def _legend(attributes: Iterable[str], more: str = "") -> str:
    """The attributes' values; of a model and its version as a tag."""
    known = list(attributes)
    words = [f"{{{{{label(each)}}}}}" for each in known]
    if known[:2] == list(_VERSION):
        words[:2] = [":".join(words[:2])]
    return " ".join((*words, more)).strip()


def _rate(name: str, by: Iterable[str], *matchers: str, suffix: str = "") -> str:
    return grouped(f"rate({series(name, *matchers, suffix=suffix)}[{_WINDOW}])", by)


def _rates(name: str, *by: str, suffix: str = "", matchers: tuple[str, ...] = (_MODEL,)) -> tuple[Query, ...]:
    return (Query(_rate(name, by, *matchers, suffix=suffix), _legend(by)),)


def _quantiles(name: str, *shares: float, exemplar: bool = False) -> tuple[Query, ...]:
    return tuple(Query(quantile(share, name, _ARM, _WINDOW, _MODEL), _legend(_ARM, f"p{share * 100:g}"), exemplar)
                 for share in shares)


def _level(name: str, *by: str, how: str = "max", matchers: tuple[str, ...] = (_MODEL,)) -> tuple[Query, ...]:
    return (Query(grouped(series(name, *matchers), by, how=how), _legend(by)),)


def _share(part: str, whole: str, *by: str) -> tuple[Query, ...]:
    """How much of one rate another one is."""
    return (Query(f"{_rate(part, by, _MODEL)} / {_rate(whole, by, _MODEL)}", _legend(by)),)


def _lost(*counters: tuple[str, str]) -> tuple[Query, ...]:
    return tuple(Query(f"sum(increase({series(name)}[15m]))", word) for name, word in counters)


_ANSWERS = _rate(_REQUESTS, (), _MODEL, suffix="_count")
_BAD = _rate(_REQUESTS, (), _MODEL, _BROKEN, suffix="_count")
_OPEN = series("serinus.alerts", _MODEL, f'{label(names.ALERT_STATE)}="firing"')

SECTIONS: Mapping[str, tuple[Panel, ...]] = MappingProxyType({
    "At a glance": (
        Panel("Requests", (Query(_ANSWERS),), "reqps", kind="stat", width=4),
        Panel("Failed by our fault", (Query(f"({_BAD} or vector(0)) / {_ANSWERS}"),), "percentunit",
              "Answers with a status of 500 or more, of all.", "stat", 4),
        Panel("99 in 100 within", (Query(quantile(0.99, _REQUESTS, (), _WINDOW, _MODEL)),), "s", kind="stat", width=4),
        Panel("Workers ready", (Query(grouped(series("serinus.workers"), ())),), kind="stat", width=4),
        Panel("Alerts that fire", (Query(f"{grouped(_OPEN, ())} or vector(0)"),), kind="stat", width=4),
        Panel("Evidence of drift", _level("serinus.drift.evidence"), "percentunit",
              "The largest of all versions: 100 % is an alarm.", "stat", 4)),
    "Traffic": (
        Panel("Requests", _rates(_REQUESTS, *_ARM, suffix="_count"), "reqps"),
        Panel("Requests that failed, by kind",
              _rates(_REQUESTS, names.ERROR_TYPE, suffix="_count", matchers=(_FAILED,)), "reqps",
              "Those that reached no model too."),
        Panel("Rows answered", _rates("serinus.rows", *_ARM), "rowsps"),
        Panel("Time of a request, 50 and 99 in 100", _quantiles(_REQUESTS, 0.5, 0.99, exemplar=True), "s",
              "Each dot is a request; it leads to its trace."),
        Panel("Time of the model's call, 99 in 100", _quantiles("serinus.predict.duration", 0.99), "s"),
        Panel("Time of waiting for a shared call, 99 in 100", _quantiles("serinus.queue.duration", 0.99), "s"),
        Panel("Rows in a shared call, 99 in 100", _quantiles("serinus.batch.rows", 0.99)),
        Panel("Under way", (Query(grouped(series("http.server.active_requests"), ()), "requests"),
                            Query(grouped(series("serinus.in_flight"), ()), "predict calls"))),
        Panel("Signs of clients that probe a model", _rates("serinus.signals", *_VERSION, names.SIGNAL), "cps",
              "None is a proof.")),
    "Inputs and predictions": (
        Panel("Predictions by class", _rates("serinus.predictions", *_ARM, names.CLASS), "rowsps"),
        Panel("Predicted values, 10, 50 and 90 in 100", _quantiles("serinus.prediction.value", 0.1, 0.5, 0.9)),
        Panel("Violations by kind", _rates("serinus.violations", names.MODEL_NAME, names.VIOLATION_KIND), "cps"),
        Panel("Unusual rows", _share("serinus.novelty", "serinus.monitor.rows", *_VERSION), "percentunit",
              "Of honest rows about 1 %."),
        Panel("Marked for a person", _rates("serinus.referrals", *_VERSION, names.REFERRAL_REASON), "rowsps"),
        Panel("Answers rounded", _rates("serinus.rounded", *_VERSION), "reqps")),
    "Drift": (
        Panel("Evidence, 100 % is an alarm", _level("serinus.drift.evidence", *_VERSION), "percentunit"),
        Panel("Evidence of single features", _level("serinus.drift.feature.evidence", *_VERSION, names.FEATURE),
              "percentunit"),
        Panel("Alarms since the reference was chosen", _level("serinus.drift.alarms", *_VERSION)),
        Panel("Rows observed", _rates("serinus.monitor.rows", *_VERSION), "rowsps",
              "Monitors may look at a sample of the rows; nothing here means that nobody looks.")),
    "Performance": (
        Panel("What answers turned out to be worth", _level("serinus.performance.value", *_ARM, names.MEASURE),
              about="By measure, in the latest hour of which enough truths are known."),
        Panel("What they are estimated to be worth", _level("serinus.performance.estimate", *_ARM, names.MEASURE),
              about="Without truths; nothing while estimates are withdrawn."),
        Panel("Predictions that an event followed", _level("serinus.outcome.share", *_ARM, names.OUTCOME_NAME),
              "percentunit", "Of the last day: click, revenue, …"),
        Panel("Value of events for each prediction", _level("serinus.outcome.mean", *_ARM, names.OUTCOME_NAME)),
        Panel("Evidence of harm, 100 % is an alarm", _level("serinus.performance.harm", *_ARM), "percentunit")),
    "Rollouts and shadows": (
        Panel("Candidate's share of the traffic", _level("serinus.rollout.weight", *_VERSION, names.PHASE),
              "percentunit"),
        Panel("Share that is copied to a shadow", _level("serinus.shadow.share", *_VERSION), "percentunit"),
        Panel("Requests copied, and pairs that came of them",
              (Query(_rate("serinus.shadow.copies", _VERSION, _MODEL), _legend(_VERSION, "copied")),
               Query(_rate("serinus.shadow.pairs", _VERSION, _MODEL), _legend(_VERSION, "pairs"))), "reqps"),
        Panel("Pairs with different classes", _share("serinus.shadow.disagreements", "serinus.shadow.pairs", *_VERSION),
              "percentunit"),
        Panel("Pairs in which one version alone failed", _rates("serinus.shadow.failures", *_ARM), "cps"),
        Panel("Copies not compared, by reason", _rates("serinus.shadow.dropped", *_VERSION, names.SHADOW_DROPPED),
              "cps"),
        Panel("Deaths of the shadow's process", _level("serinus.shadow.deaths", *_VERSION))),
    "Alerts": (
        Panel("Open alerts", _level("serinus.alerts", names.MODEL_NAME, names.ALERT_STATE, how="sum")),
        Panel("Messages", _rates("serinus.notifications", names.NOTIFIER, names.OUTCOME, matchers=()), "cps")),
    "The server itself": (
        Panel("Workers ready", (Query(grouped(series("serinus.workers"), ()), "workers"),)),
        Panel("CPU of the workers", (Query(_rate("process.cpu.time", ()), "all"),), "percentunit",
              "100 % is one core."),
        Panel("Memory of the workers", (Query(grouped(series("process.memory.usage"), ()), "all"),), "bytes"),
        Panel("CPU by version", _rates("serinus.cpu.time", *_ARM), "percentunit"),
        Panel("Memory by version", _level("serinus.model.memory", *_VERSION, how="sum"), "bytes"),
        Panel("Cost of a thousand rows", _level("serinus.cost.per_thousand_rows", *_ARM),
              about="At telemetry.cost_per_cpu_hour."),
        Panel("Prediction log", (Query(_rate("serinus.log.frames", ()), "records a second"),)),
        Panel("Prediction log, bytes", (Query(_rate("serinus.log.bytes", ()), "written"),), "Bps"),
        Panel("Lost in 15 minutes", _lost(("serinus.log.failures", "records of the log"),
                                          ("serinus.spans.dropped", "spans"),
                                          ("serinus.events.dropped", "CloudEvents"))),
        Panel("CloudEvents delivered", (Query(_rate("serinus.events.sent", ()), "events"),), "cps"),
        Panel("Spans exported", (Query(_rate("serinus.spans.exported", ()), "spans"),), "cps"),
        Panel("Versions that could not be loaded, in 15 minutes", _lost(("serinus.load.failures", "versions"))),
        Panel("Time spent loading", _level("serinus.load.duration", *_VERSION), "s")),
})
"""The panels by section, in their order."""
