"""Every name that leaves this program in telemetry, on one page.

OpenTelemetry's stable conventions where they exist (`http.*`, `url.*`, `error.type`, `feature_flag.*`), `serinus.*`
for what they do not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

# Span attributes
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"
PROTOCOL_VERSION = "network.protocol.version"
ERROR_TYPE = "error.type"
MODEL_NAME = "serinus.model.name"
MODEL_VERSION = "serinus.model.version"
ROLE = "serinus.role"
ROWS = "serinus.rows"
REQUEST_ID = "serinus.request.id"
PREDICTION_ID = "serinus.prediction.id"
PARSE_SECONDS = "serinus.parse.duration"
PREDICT_SECONDS = "serinus.predict.duration"
QUEUE_SECONDS = "serinus.queue.duration"
BATCH_ROWS = "serinus.batch.rows"
VIOLATIONS = "serinus.violations"
NOVELTY_P = "serinus.novelty.p"
DRIFT_STATE = "serinus.drift.state"
DETAIL = "serinus.detail"
SHADOW_DISAGREES = "serinus.shadow.disagrees"
FLAG_KEY = "feature_flag.key"
FLAG_VARIANT = "feature_flag.result.variant"
FLAG_REASON = "feature_flag.result.reason"
FLAG_CONTEXT = "feature_flag.context.id"
FLAG_PROVIDER = "feature_flag.provider.name"

# Children of the SERVER span besides `predict {model}`, in the order of the request line
STAGES = ("parse", "validate", "route", "queue", "render", "record", "respond")

# Events: log records with a name. `{kind}` is the journal entry's: start, promote, abort, …
ROLLOUT_EVENTS = "serinus.rollout"
FLAG_EVENT = "feature_flag.evaluation"
ALERT_EVENTS = "serinus.alert"
RETRAINING_EVENTS = "serinus.retraining"
ACTOR = "serinus.actor"
REASON = "serinus.reason"
ALERT_ID = "serinus.alert.id"
ALERT_KIND = "serinus.alert.kind"
ALERT_SEVERITY = "serinus.alert.severity"

# Attributes of metrics only
VIOLATION_KIND = "serinus.violation.kind"
FEATURE = "serinus.feature"
SHADOW_DROPPED = "serinus.shadow.drop.reason"
CLASS = "serinus.class"
REFERRAL_REASON = "serinus.referral.reason"
SIGNAL = "serinus.signal"
MEASURE = "serinus.measure"
OUTCOME_NAME = "serinus.outcome"
ALERT_STATE = "serinus.alert.state"
NOTIFIER = "serinus.notifier"
OUTCOME = "serinus.notification.outcome"
PHASE = "serinus.rollout.phase"
PROCESS_PID = "process.pid"

# Resource attributes
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

SCOPE = "serinus"
PROVIDER = "serinus"
DEFAULT_SERVICE_NAME = "serinus"



class Instrument(NamedTuple):
    """A metric: its kind, its unit (UCUM), and what it means."""

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    about: str


METRICS: Mapping[str, Instrument] = MappingProxyType({
    "http.server.request.duration": Instrument("histogram", "s", "Time from a request's arrival to its answer."),
    "http.server.active_requests": Instrument("gauge", "{request}", "Requests under way."),
    "serinus.predict.duration": Instrument("histogram", "s", "Time of the model's own call."),
    "serinus.queue.duration": Instrument("histogram", "s", "Time that a request waited for a call which it shared."),
    "serinus.batch.rows": Instrument("histogram", "{row}", "Rows of the call that a request shared."),
    "serinus.rows": Instrument("counter", "{row}", "Rows answered."),
    "serinus.predictions": Instrument("counter", "{row}", "Predictions of classifiers, by class."),
    "serinus.prediction.value": Instrument("histogram", "1", "Predictions of models that answer one number per row, "
                                                             "where they are finite."),
    "serinus.violations": Instrument("counter", "{violation}", "Values that broke an expectation, by kind."),
    "serinus.referrals": Instrument("counter", "{row}", "Rows marked for a person to decide, by reason."),
    "serinus.rounded": Instrument("counter", "{request}", "Answers whose probabilities were rounded."),
    "serinus.signals": Instrument("counter", "{signal}", "Signs that a client probes a model, by kind; none is a "
                                                         "proof."),
    "serinus.drift.evidence": Instrument("gauge", "1", "How far the evidence of drift is on its way to an alarm; 1 "
                                                       "while one is open."),
    "serinus.drift.alarms": Instrument("counter", "{alarm}", "Alarms of drift since the reference was chosen."),
    "serinus.drift.feature.evidence": Instrument("gauge", "1", "The same of single features, of the ten most "
                                                               "suspicious ones at most."),
    "serinus.monitor.rows": Instrument("counter", "{row}", "Rows that monitors observed, of those answered."),
    "serinus.novelty": Instrument("counter", "{row}", "Observed rows that at most 1 in 100 reference rows are as "
                                                "unusual as."),
    "serinus.performance.value": Instrument("gauge", "1", "What answers turned out to be worth, by measure, in the "
                                                          "latest hour of which enough truths are known."),
    "serinus.performance.estimate": Instrument("gauge", "1", "What the latest hour's answers are estimated to be "
                                                             "worth, by measure; nothing while that is withdrawn."),
    "serinus.outcome.share": Instrument("gauge", "1", "Share of the predictions of the last day that an event of this "
                                                      "name (click, revenue) followed."),
    "serinus.outcome.mean": Instrument("gauge", "1", "The events' values, for each prediction of the last day."),
    "serinus.performance.harm": Instrument("gauge", "1", "How far the evidence that answers are worse than was "
                                                         "promised at registration is on its way to an alarm; 1 "
                                                         "while it is open."),
    "serinus.rollout.weight": Instrument("gauge", "1", "The candidate's share of the traffic, 0 to 1, of a rollout "
                                                       "that runs."),
    "serinus.shadow.share": Instrument("gauge", "1", "Share of the requests that workers copy to a shadow, 0 to 1: "
                                                     "less than the plan's while there is too little room."),
    "serinus.shadow.copies": Instrument("counter", "{request}", "Requests chosen to be copied to a shadow."),
    "serinus.shadow.dropped": Instrument("counter", "{request}", "Chosen requests that were not compared, by reason: "
                                                                 "full, absent, large, cancelled, late."),
    "serinus.shadow.pairs": Instrument("counter", "{pair}", "Requests answered by stable and by a shadow."),
    "serinus.shadow.disagreements": Instrument("counter", "{pair}", "Pairs in which both gave different classes."),
    "serinus.shadow.failures": Instrument("counter", "{pair}", "Pairs in which one version alone failed, by role."),
    "serinus.shadow.deaths": Instrument("counter", "{process}", "How often the shadow's process died in a call of a "
                                                                "candidate, or was stopped in one that hung."),
    "serinus.in_flight": Instrument("gauge", "{call}", "Predict calls under way."),
    "serinus.workers": Instrument("gauge", "{process}", "Worker processes that are alive and ready."),
    "serinus.alerts": Instrument("gauge", "{alert}", "Open alerts, by model and state."),
    "serinus.notifications": Instrument("counter", "{message}", "Messages about alerts, by notifier: delivered, failed "
                                                                "attempts, given up."),
    "serinus.log.frames": Instrument("counter", "{record}", "Records in the prediction log."),
    "serinus.log.bytes": Instrument("counter", "By", "Bytes written to the prediction log."),
    "serinus.log.failures": Instrument("counter", "{record}", "Records that could not be written to it."),
    "serinus.events.sent": Instrument("counter", "{event}", "CloudEvents that the receiver took."),
    "serinus.events.dropped": Instrument("counter", "{event}", "CloudEvents that it refused, or was away for too long "
                                                               "to get."),
    "serinus.spans.exported": Instrument("counter", "{span}", "Spans handed to the OpenTelemetry backend."),
    "serinus.spans.dropped": Instrument("counter", "{span}",
                                        "Spans lost: the queue was full, or the backend did not take them."),
    "serinus.load.failures": Instrument("counter", "{version}", "Versions that a worker could not load."),
    "serinus.load.duration": Instrument("counter", "s", "Time spent loading and trying versions, over all workers."),
    "serinus.model.memory": Instrument("gauge", "By", "Resident memory by which living workers grew when they loaded a "
                                                      "version."),
    "serinus.cpu.time": Instrument("counter", "s", "CPU time of living workers, shared out among versions by the time "
                                                   "of their requests."),
    "serinus.cost.per_thousand_rows": Instrument("gauge", "{currency}", "CPU time at the rate that the settings name, "
                                                                        "for a thousand rows."),
    "process.cpu.time": Instrument("counter", "s", "CPU time of a living worker."),
    "process.memory.usage": Instrument("gauge", "By", "Resident memory of a living worker."),
})
"""Every metric. In Prometheus' spelling dots are underscores, seconds and bytes are named, and counters end in
`_total`."""
