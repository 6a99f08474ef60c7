"""Alerting rules for Prometheus: what deserves a person's attention, in the words that he will read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from serinus.serving.exports.promql import grouped, label, quantile, series
from serinus.serving.telemetry import names

__all__ = ["Limits", "Rule", "alert_rules", "rules"]

_REQUESTS = "http.server.request.duration"
_MODEL = (names.MODEL_NAME,)
_VERSION = (names.MODEL_NAME, names.MODEL_VERSION)
_STATUS = label(names.HTTP_STATUS)
_NAMED = f'{label(names.MODEL_NAME)}!=""'
_THIS_MODEL = f"{{{{ $labels.{label(names.MODEL_NAME)} }}}}"
_THIS = f"{_THIS_MODEL}:{{{{ $labels.{label(names.MODEL_VERSION)} }}}}"
_SHARE = "{{ $value | humanizePercentage }}"
_NUMBER = "{{ $value | humanize }}"


class Limits(NamedTuple):
    """Where attention begins: shares of requests or rows, and seconds."""

    errors: float = 0.05
    """Answers with a status of 500 or more."""
    refused: float = 0.2
    """Answers with a status of 400 to 499."""
    slow_s: float = 1.0
    """The time within which 99 in 100 requests of a model are answered."""
    novelty: float = 0.05
    """Rows that at most 1 in 100 reference rows are as unusual as."""


class Rule(NamedTuple):
    """`summary` says what is wrong, `advice` what to do; both may name labels of the alert."""

    name: str
    expression: str
    lasts: str
    severity: Literal["info", "warning", "critical"]
    summary: str
    advice: str


def alert_rules(limits: Limits) -> dict[str, Any]:
    """The rules as Prometheus reads them from a file."""
    return {"groups": [{"name": "serinus", "rules": [_written(rule) for rule in rules(limits)]}]}


def rules(limits: Limits) -> Iterator[Rule]:
    """Every rule: the server, its answers, its models, its own book-keeping."""
    yield from _of_servers()
    yield from _of_answers(limits)
    yield from _of_models(limits)
    yield from _of_records()


def _of_servers() -> Iterator[Rule]:
    yield Rule("SerinusAbsent", f"absent({series('serinus.workers')})", "5m", "critical",
               "No Serinus server is scraped.",
               "Look whether one runs, and whether Prometheus reaches its /metrics: until then nothing here is known.")
    yield Rule("SerinusNoWorkers", f"{series('serinus.workers')} == 0", "2m", "critical",
               "No worker of {{ $labels.instance }} is ready: it answers nobody.",
               "Read the server's own log; run `serinus doctor` there.")
    yield Rule("SerinusLoadFailures", _grown("serinus.load.failures", "15m"), "0m", "warning",
               "Workers of {{ $labels.instance }} could not load a version.",
               "The server's own log says which and why; `serinus doctor` tries each.")


def _of_answers(limits: Limits) -> Iterator[Rule]:
    yield Rule("SerinusErrors", f'{_answered("5..", "5m")} > {limits.errors:g}', "5m", "critical",
               f"{_SHARE} of the requests for {_THIS_MODEL} fail by the server's fault.",
               f"If a rollout has just begun or ended: `serinus rollback {_THIS_MODEL}`. The traces of failed requests "
               "tell where.")
    yield Rule("SerinusRefusals", f'{_answered("4..", "15m")} > {limits.refused:g}', "15m", "warning",
               f"{_SHARE} of the requests for {_THIS_MODEL} are refused.",
               "A caller sends what the model does not take, or more than is taken: the answers' `errors` and the "
               "violations by kind say what.")
    yield Rule("SerinusSlow",
               f"{quantile(0.99, _REQUESTS, _MODEL, '10m', _NAMED)} > {limits.slow_s:g}", "10m", "warning",
               f"1 in 100 requests for {_THIS_MODEL} takes longer than {{{{ $value | humanizeDuration }}}}.",
               "Compare the time of the model's call with that of waiting; more workers help against the latter.")


def _of_models(limits: Limits) -> Iterator[Rule]:
    observed = grouped(f"rate({series('serinus.monitor.rows')}[30m])", _VERSION)
    unusual = grouped(f"rate({series('serinus.novelty')}[30m])", _VERSION)
    answered = grouped(f"rate({series('serinus.rows', _role('stable'))}[30m])", _VERSION)
    yield Rule("SerinusDrift", f"{grouped(series('serinus.drift.evidence'), _VERSION, how='max')} >= 1", "1m",
               "warning", f"What {_THIS} is asked or answers no longer looks like its reference.",
               f"`serinus monitor explain {_THIS}` says what moved, since when, and what to do.")
    yield Rule("SerinusUnusualRows", f"{unusual} / {observed} > {limits.novelty:g}", "30m", "warning",
               f"{_SHARE} of the rows for {_THIS} are unlike the reference; 1 % is usual.",
               f"Look at them: `serinus monitor explain {_THIS}`.")
    yield Rule("SerinusUnwatched", f"{answered} > 0 unless {observed} > 0", "1h", "info",
               f"{_THIS} answers, and no monitor looks at its rows.",
               f"Drift would not be seen. `serinus monitor status {_THIS}` says why; `serinus monitor reference` gives "
               "it rows to compare with.")
    yield Rule("SerinusRolloutHeld", f"{grouped(series('serinus.rollout.weight', _phase()), _VERSION, how='max')} >= 0",
               "1h", "warning", f"The rollout of {_THIS} waits for a person.",
               f"`serinus rollout explain {_THIS_MODEL}` says why; then resume, promote or abort it.")
    yield Rule("SerinusShadowDied", _came("serinus.shadow.deaths", "15m", _VERSION), "0m", "warning",
               f"The shadow's process died {_NUMBER} times in calls of {_THIS}.",
               "The candidate crashes or hangs; no caller met it. Abort its rollout, and look at its dependencies.")
    yield Rule("SerinusAlert", f"{grouped(series('serinus.alerts', _state('firing')), _MODEL, how='max')} > 0", "0m",
               "warning", f"Serinus itself has {_NUMBER} alerts that fire about {_THIS_MODEL}.",
               "`serinus alerts list` says which; `serinus alerts ack ID` says that you look after one.")
    yield Rule("SerinusProbed", _came("serinus.signals", "1h", _VERSION), "0m", "info",
               f"A client may be probing {_THIS} ({_NUMBER} signals in an hour); none is a proof.",
               "The server's own log names the client; `security.requests_per_second` limits all of them.")


def _of_records() -> Iterator[Rule]:
    yield Rule("SerinusLogFailures", _grown("serinus.log.failures", "5m"), "0m", "critical",
               "The prediction log of {{ $labels.instance }} cannot be written.",
               "Look at the disk and the folder's permissions. Until then predictions are refused, or given without a "
               "record (`log.on_error`).")
    yield Rule("SerinusSpansDropped", _grown("serinus.spans.dropped", "15m"), "0m", "info",
               "Spans of {{ $labels.instance }} are lost; answers are not affected.",
               "The collector is away or too slow: `serinus doctor` there says which endpoint is meant.")
    notifier = f"{{{{ $labels.{label(names.NOTIFIER)} }}}}"
    yield Rule("SerinusMessagesLost", _came("serinus.notifications", "1h", (names.NOTIFIER,), _outcome("given_up")),
               "0m", "critical", f"Messages by {notifier} were given up: somebody was not told of an alert.",
               f"`serinus alerts test {notifier}` says what is wrong with it.")


def _answered(statuses: str, window: str) -> str:
    """The share of a model's requests that were answered with such a status."""
    these = f'{_STATUS}=~"{statuses}"'
    some = f"rate({series(_REQUESTS, _NAMED, these, suffix='_count')}[{window}])"
    every = f"rate({series(_REQUESTS, _NAMED, suffix='_count')}[{window}])"
    return f"{grouped(some, _MODEL)} / {grouped(every, _MODEL)}"


def _grown(name: str, window: str) -> str:
    """That a counter which is there from the beginning grew, by scraped server."""
    return f"sum by (instance) (increase({series(name)}[{window}])) > 0"


def _came(name: str, window: str, by: tuple[str, ...], *matchers: str) -> str:
    """That something was counted, also for the first time: `increase` does not see a series begin."""
    counter = series(name, *matchers)
    began = f"{grouped(counter, by)} > 0 unless {grouped(f'{counter} offset {window}', by)}"
    return f"{grouped(f'increase({counter}[{window}])', by)} > 0 or ({began})"


def _role(role: str) -> str:
    return f'{label(names.ROLE)}="{role}"'


def _phase() -> str:
    return f'{label(names.PHASE)}=~"hold|frozen"'


def _state(state: str) -> str:
    return f'{label(names.ALERT_STATE)}="{state}"'


def _outcome(outcome: str) -> str:
    return f'{label(names.OUTCOME)}="{outcome}"'


def _written(rule: Rule) -> dict[str, Any]:
    return {"alert": rule.name, "expr": rule.expression, **({"for": rule.lasts} if rule.lasts != "0m" else {}),
            "labels": {"severity": rule.severity},
            "annotations": {"summary": rule.summary, "description": rule.advice}}
