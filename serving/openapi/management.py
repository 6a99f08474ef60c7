"""The operations that give no predictions: health, metadata, metrics, the model repository, control, documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serinus.serving.ground_truth import KINDS, MEDIA_TYPES
from serinus.serving.openapi.fields import Schema
from serinus.serving.openapi.parts import PROBLEM, answer, errors, json_body, ref

__all__ = ["control", "of_model", "repository", "server"]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_HTML: Schema = {"text/html": {"schema": _TEXT}}
_VERBS = ("start", "promote", "approve", "pause", "resume", "freeze", "abort", "retry", "rollback")
_VERDICTS = ("successful", "failed", "running", "inconclusive", "error")
_MODEL_NAME = "^[a-z0-9][a-z0-9._-]{0,62}$"


def server() -> dict[str, Schema]:
    """What every server answers, by path."""
    alive = answer("The process answers.", _object(status={"const": "alive"}))
    alive["content"].update(_HTML)
    ready = {"200": answer("Requests can be answered.", ref("Ready")),
             "503": answer("They cannot; the sentence says why.", ref("Ready"))}
    listed = _object(models=_TEXTS)
    about = _object(name=_TEXT, version=_TEXT, extensions=_TEXTS)
    metrics = {"description": "The counts of all workers.", "content": {
        "text/plain": {"schema": _TEXT}, "application/openmetrics-text": {"schema": _TEXT}}}
    document = answer("This document.", {"type": "object"})
    document["headers"] = {"ETag": {"required": True, "schema": _TEXT}}
    page = {"description": "The page for people.", "content": _HTML}
    return {
        "/": _get("alive", "Whether the process answers; a browser gets the page", {"200": alive}),
        "/ping": _get("ping", "Whether requests can be answered", ready),
        "/v2": _get("about", "Name, version and extensions", {"200": answer("The server.", about)}),
        "/v2/health/live": _get("live", "Whether the process answers",
                                {"200": answer("It does.", _object(live={"const": True}))}),
        "/v2/health/ready": _get("ready", "Whether requests can be answered", ready),
        "/v1/models": _get("models", "Names of the served models", {"200": answer("The names.", listed)}),
        "/metrics": _get("metrics", "Metrics, for Prometheus", {"200": metrics}),
        "/openapi.json": _get("openapi", "What can be asked, as OpenAPI", {
            "200": document, "304": {"description": "If-None-Match names the document as it is."}}),
        "/docs": _get("docs", "What can be asked, for people", {"200": page}),
    }


def of_model(model: str, versions: Iterable[str]) -> dict[str, Schema]:
    """Metadata and readiness of a served model, by path."""
    gone = errors("Error", (404, 503))
    described = {"200": answer("Inputs and outputs.", ref("ModelMetadata")), **gone}
    ready = {"200": answer("It is loaded.", ref("ModelReady")), **gone}
    paths = {f"/v2/models/{model}": _get(f"metadata.{model}", "Inputs and outputs", described, model),
             f"/v2/models/{model}/ready": _get(f"ready.{model}", "Whether it is loaded", ready, model),
             f"/v1/models/{model}": _get(f"ready_v1.{model}", "Whether it is loaded", ready, model)}
    for version in versions:
        path = f"/v2/models/{model}/versions/{version}"
        paths[path] = _get(f"metadata.{model}:{version}", "Inputs and outputs", described, model)
        paths[f"{path}/ready"] = _get(f"ready.{model}:{version}", "Whether it is loaded", ready, model)
    return paths


def repository(secured: dict[str, Any]) -> dict[str, Schema]:
    """The model repository extension of the Open Inference Protocol. `secured`: what operations with a token say."""
    states = {"type": "array", "items": _object(
        name=_TEXT, version=_TEXT, state={"enum": ["READY", "LOADING", "UNAVAILABLE"]}, reason=_TEXT)}
    wanted = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    paths: dict[str, Schema] = {"/v2/repository/index": {"post": {
        "operationId": "index", "tags": ["repository"], "summary": "All registered versions and their state",
        "requestBody": json_body(wanted, {"ready": True}, required=False),
        "responses": {"200": answer("The versions.", states), **errors("Error", (400, 500, 503))}}}}
    for verb in ("load", "unload"):
        done = _object(name=_TEXT, **{verb: {"const": True}})
        paths[f"/v2/repository/models/{{model}}/{verb}"] = {"parameters": [_model()], "post": {
            "operationId": verb, "tags": ["repository"], "summary": f"{verb.capitalize()} a model in every worker",
            "requestBody": json_body({"type": "object", "properties": {"parameters": {
                "type": "object", "additionalProperties": False,
                "properties": {"version": {"type": ["string", "null"]}, "unload_dependents": {}}}}}, required=False),
            "responses": {"200": answer("Done, in every worker.", done),
                          **errors("Error", (400, 401, 403, 404, 409, 415, 500, 503))}, **secured}}
    return paths


def control(secured: dict[str, Any]) -> dict[str, Schema]:
    """Models and rollouts, below `/api`. `secured`: what operations with a token say."""
    failed = errors("Problem", (401, 403, 404, 500, 503), kind=PROBLEM)
    changed = {**failed, **errors("Problem", (400, 409, 415), kind=PROBLEM)}
    nullable: Schema = {"type": ["string", "null"]}
    model = _object(name=_TEXT, versions=_TEXTS, stable=nullable, candidate=nullable, weight={"type": "integer"})
    rollout = _object(record={"type": "object"}, veto={"type": ["object", "null"]},
                      workers={"type": "array", "items": {"type": "object"}})
    paths: dict[str, Schema] = {"/api/models": {"get": {
        "operationId": "registered", "tags": ["control"], "summary": "Registered models and how they are served",
        "responses": {"200": answer("The models.", _object(models={"type": "array", "items": model})), **failed},
        **secured}}, "/api/rollouts/{model}": {"parameters": [_model()], "get": {
            "operationId": "rollout", "tags": ["control"], "summary": "How a model's rollout stands",
            "responses": {"200": answer("The rollout.", rollout), **failed}, **secured}}}
    paths |= _watched(failed, changed, secured)
    paths["/api/predictions/{prediction_id}"] = _prediction(failed, secured)
    paths |= _dashboard(failed, secured)
    paths |= _ground_truth(failed, changed, secured)
    paths["/api/performance/{model}"] = {"parameters": [_model()], "get": {
        "operationId": "performance", "tags": ["control"], "summary": "What a model's answers turned out to be worth",
        "responses": {"200": answer("By version and hour: realised and estimated measures, calibration, slices, harm.",
                                    _object(model=_TEXT, verdict=_TEXT, versions=_OBJECTS)), **failed}, **secured}}
    paths |= _views(rollout, failed, changed, secured)
    for verb in _VERBS:
        good = "200" if verb == "rollback" else "202"
        paths[f"/api/rollouts/{{model}}/{verb}"] = {"parameters": [_model()], "post": {
            "operationId": f"rollout.{verb}", "tags": ["control"], "summary": f"Rollout: {verb}",
            "requestBody": json_body({"type": "object"}, required=False),
            "responses": {good: answer("Done." if verb == "rollback" else "Taken.", {"type": "object"}), **changed},
            **secured}}
    paths["/api/drain"] = {"post": {
        "operationId": "drain", "tags": ["control"], "summary": "Be no longer ready, and end what is under way",
        "requestBody": json_body({"type": "object"}, required=False),
        "responses": {"202": answer("The server drains.", _object(draining={"const": True})), **changed}, **secured}}
    return paths


def _watched(failed: dict[str, Schema], changed: dict[str, Schema], secured: dict[str, Any]) -> dict[str, Schema]:
    """Alerts and monitors."""
    counts: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    told = _object(alerts=_OBJECTS, silences=_OBJECTS, counts=counts, notifications={"type": "object"})
    paths: dict[str, Schema] = {"/api/alerts": {"get": {
        "operationId": "alerts", "tags": ["control"], "summary": "What is wrong and lasts, and who was told",
        "responses": {"200": answer("Alerts, silences, and how many messages arrived.", told), **failed}, **secured}}}
    alert: Schema = {"name": "alert", "in": "path", "required": True, "schema": _TEXT}
    paths["/api/alerts/{alert}/acknowledge"] = {"parameters": [alert], "post": {
        "operationId": "alert.acknowledge", "tags": ["control"],
        "summary": "Somebody looks after an alert: it is not repeated, unless it gets worse",
        "requestBody": json_body({"type": "object", "properties": {"actor": _TEXT}}, required=False),
        "responses": {"200": answer("The alert, and who has it.", _object(alert={"type": "object"})), **changed},
        **secured}}
    watched = {"200": answer("One document for each version that is watched.", _object(versions=_OBJECTS)), **failed}
    paths["/api/monitors"] = {"get": {
        "operationId": "monitors", "tags": ["control"], "summary": "What the monitors see in all versions",
        "responses": watched, **secured}}
    paths["/api/monitors/{model}"] = {"parameters": [_model()], "get": {
        "operationId": "monitor", "tags": ["control"], "summary": "What the monitors see in a model's versions",
        "responses": watched, **secured}}
    return paths


def _dashboard(failed: dict[str, Schema], secured: dict[str, Any]) -> dict[str, Schema]:
    """What the page at /ui asks for besides."""
    facts = _object(version=_TEXT, host=_TEXT, trace_url={"type": ["string", "null"]})
    numbers: Schema = {"type": "array", "items": {"type": "number"}}
    rows_of: Schema = {"type": "array", "items": {"type": "array"}}
    points: Schema = {"type": "array", "items": _object(
        time={"type": "number"}, seconds={"type": "number"}, served=rows_of, predicted=rows_of, values=rows_of,
        violated=rows_of)}
    after = {"name": "after", "in": "query", "required": False, "schema": {"type": "number", "minimum": 0}}
    contribution = _object(feature=_TEXT, contribution={"type": ["number", "null"]}, value={}, usual={})
    number: Schema = {"type": ["number", "null"]}
    explanation: dict[str, Schema] = {
        "output": _TEXT, "label": {}, "score": number, "usual_score": number,
        "contributions": {"type": "array", "items": contribution}, "left_out": _TEXTS, "text": _TEXT}
    explained = errors("Problem", (400, 409, 415), kind=PROBLEM)
    instances: Schema = {"type": "array", "minItems": 1}
    rows = json_body({"type": "object", "properties": {"instances": instances}}, {"instances": [{}]})
    told = _object(model_name=_TEXT, model_version=_TEXT, explanations={
        "type": "array", "items": _object(**explanation)})
    wanted = {"type": "object", "required": ["prediction_id"], "properties": {"prediction_id": _TEXT}}
    return {
        "/api/explain/{model}": {"parameters": [_model()], "post": {
            "operationId": "explain", "tags": ["control"], "summary": "Why a prediction of the log is as it is",
            "requestBody": json_body(wanted, {"prediction_id": "0190a6b2-7c3e-7000-8000-000000000000-0"}),
            "responses": {"200": answer("The largest contributions.", _object(
                prediction_id=_TEXT, model=_TEXT, version=_TEXT, **explanation)), **failed, **explained}, **secured}},
        "/v1/models/{model}:explain": {"parameters": [_model()], "post": {
            "operationId": "explain_v1", "tags": ["control"], "summary": "Why rows are answered as they are",
            "requestBody": rows, "responses": {"200": answer("An explanation for each row.", told), **errors(
                "Error", (400, 401, 403, 404, 409, 413, 415, 500, 503))}, **secured}},
        "/api/ui": {"get": {
            "operationId": "ui", "tags": ["control"], "summary": "This server's facts, for the dashboard",
            "responses": {"200": answer("The facts.", facts), **failed}, **secured}},
        "/api/traffic": {"get": {
            "operationId": "traffic", "tags": ["control"], "summary": "The last quarter of an hour, every five seconds",
            "parameters": [after],
            "responses": {"200": answer("Points behind the Unix time `after`, by version and role.", _object(
                points=points, bounds_ms=numbers, value_bounds=numbers)), **failed,
                **errors("Problem", (400,), kind=PROBLEM)}, **secured}},
    }


def _views(rollout: Schema, failed: dict[str, Schema], changed: dict[str, Schema],
           secured: dict[str, Any]) -> dict[str, Schema]:
    """What there is to see of a rollout."""
    analysis = {"type": "object", "required": ["model", "verdict", "reason", "phase", "checks"], "properties": {
        "model": _TEXT, "verdict": {"enum": list(_VERDICTS)}, "reason": _TEXT, "phase": _TEXT,
        "checks": {"type": "array", "items": {"type": "object"}}}}
    journal = _object(entries={"type": "array", "items": {"type": "object"}})
    whole: Schema = {"type": "integer", "minimum": 0, "maximum": 10**9}
    pages = [{"name": name, "in": "query", "required": False, "schema": whole} for name in ("after", "limit")]
    gate = {"type": "object", "properties": {"metadata": {"type": "object", "properties": {
        "gate": {"enum": ["no-harm", "advance", "rollback"]}}}}}
    return {
        "/api/rollouts/{model}/status": {"parameters": [_model()], "get": {
            "operationId": "rollout.status", "tags": ["control"], "summary": "How a model's rollout stands",
            "responses": {"200": answer("The rollout.", rollout), **failed}, **secured}},
        "/api/rollouts/{model}/journal": {"parameters": [_model()], "get": {
            "operationId": "rollout.journal", "tags": ["control"], "summary": "Every event, oldest first",
            "parameters": pages,
            "responses": {"200": answer("Entries behind the one numbered `after`.", journal), **failed,
                          **errors("Problem", (400,), kind=PROBLEM)}, **secured}},
        "/api/rollouts/{model}/analysis": {"parameters": [_model()], "get": {
            "operationId": "rollout.analysis", "tags": ["control"], "summary": "The latest verdict and its checks",
            "responses": {"200": answer("The analysis.", analysis), **failed}, **secured}, "post": {
            "operationId": "rollout.gate", "tags": ["control"],
            "summary": "The same for a webhook: 200 while the gate is open",
            "requestBody": json_body(gate, {"metadata": {"gate": "advance"}}, required=False),
            "responses": {"200": answer("The gate is open.", analysis), **changed}, **secured}},
    }


def _prediction(failed: dict[str, Schema], secured: dict[str, Any]) -> Schema:
    values: Schema = {"type": "object"}
    known: Schema = {"type": ["object", "null"], "required": ["state"], "properties": {"state": _TEXT}}
    found = _object(
        prediction_id=_TEXT, request_id=_TEXT, time=_TEXT, model=_TEXT, version=_TEXT, role=_TEXT, inputs=values,
        outputs=values, violations={"type": "object", "additionalProperties": {"type": "integer"}},
        novelty={"type": ["number", "null"]},
        trace_id={"type": ["string", "null"]}, ground_truth=known)
    name: Schema = {"name": "prediction_id", "in": "path", "required": True, "schema": _TEXT}
    return {"parameters": [name], "get": {
        "operationId": "prediction", "tags": ["control"],
        "summary": "One logged prediction, and what became of it; who looks is taken down",
        "responses": {"200": answer("As the log has it: personal values as they were written.", found), **failed},
        **secured}}


def _ground_truth(failed: dict[str, Schema], changed: dict[str, Schema], secured: dict[str, Any]) -> dict[str, Schema]:
    number: Schema = {"type": "integer", "minimum": 0}
    rejected = {"type": "array", "maxItems": 20, "items": _object(row=number, reason=_TEXT)}
    taken = answer("Kept; it is joined to its predictions soon.",
                   _object(accepted=number, rejected=rejected, rejected_count=number))
    known = {"200": answer("By model: delays of truths, and hours with what became of their predictions.", _object(
        received=number, waiting_bytes=number, orphans=number, unlogged=number, forgotten=number,
        models={"type": "object"})), **failed}
    value: Schema = {"type": ["string", "number", "boolean", "null"]}
    outcome: Schema = {
        "type": "object", "oneOf": [{"required": ["prediction_id"]}, {"required": ["key"]}],
        "additionalProperties": False, "properties": {
            "prediction_id": _TEXT, "key": {"type": ["string", "integer"]}, "value": value,
            "kind": {"enum": list(KINDS)}, "name": _TEXT, "source": _TEXT,
            "event_time": {"type": ["string", "number", "null"]},
            "weight": {"type": "number", "exclusiveMinimum": 0}}}
    body = json_body({"oneOf": [outcome, {"type": "array", "items": outcome}]},
                     {"prediction_id": "0190a6b2-7c3e-7000-8000-000000000000-0", "value": "bad"})
    body["content"] |= {kind: {"schema": _TEXT} for kind in MEDIA_TYPES if kind not in body["content"]}
    return {
        "/api/ground-truth": {
            "get": {"operationId": "ground_truth", "tags": ["control"], "summary": "What became of all predictions",
                    "responses": known, **secured},
            "post": {"operationId": "feedback", "tags": ["control"], "summary": "Tell what became of predictions",
                     "requestBody": body, "responses": {"202": taken, **changed}, **secured}},
        "/api/ground-truth/{model}": {"parameters": [_model()], "get": {
            "operationId": "ground_truth_of", "tags": ["control"], "summary": "What became of a model's predictions",
            "responses": known, **secured}}}


def _get(name: str, summary: str, answers: dict[str, Schema], tag: str = "server") -> Schema:
    return {"get": {"operationId": name, "tags": [tag], "summary": summary, "responses": answers}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _model() -> Schema:
    return {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "pattern": _MODEL_NAME}}


