"""Every name that leaves this program in telemetry, on one page.

OpenTelemetry's stable conventions where they exist (`http.*`, `url.*`, `error.type`, `feature_flag.*`), `serinus.*`
for what they do not have.
"""

from __future__ import annotations

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
DETAIL = "serinus.detail"
FLAG_KEY = "feature_flag.key"
FLAG_VARIANT = "feature_flag.result.variant"
FLAG_REASON = "feature_flag.result.reason"
FLAG_PROVIDER = "feature_flag.provider.name"

# Children of the SERVER span besides `predict {model}`, in the order of the request line
STAGES = ("parse", "validate", "route", "queue", "render", "record", "respond")

# Events: log records with a name. `{kind}` is the journal entry's: start, promote, abort, …
ROLLOUT_EVENTS = "serinus.rollout"
ACTOR = "serinus.actor"
REASON = "serinus.reason"

# Resource attributes
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

SCOPE = "serinus"
PROVIDER = "serinus"
DEFAULT_SERVICE_NAME = "serinus"

# Metrics, as Prometheus spells them
METRICS = {
    "http_server_request_duration_seconds": "Time from a request's arrival to its answer.",
    "serinus_predict_duration_seconds": "Time of the model's own call.",
    "serinus_rows_total": "Rows answered.",
    "serinus_in_flight": "Predict calls under way.",
    "serinus_workers": "Worker processes that are alive and ready.",
    "serinus_log_frames_total": "Records in the prediction log.",
    "serinus_log_bytes_total": "Bytes written to the prediction log.",
    "serinus_log_failures_total": "Records that could not be written to the prediction log.",
    "serinus_spans_exported_total": "Spans handed to the OpenTelemetry backend.",
    "serinus_spans_dropped_total": "Spans lost: the queue was full, or the backend did not take them.",
    "serinus_load_failures_total": "Versions that a worker could not load.",
}
