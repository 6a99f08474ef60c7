"""The pieces that every operation is made of: answers with their headers, parameters, references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serinus.serving.openapi.fields import Schema

__all__ = ["COMPONENTS", "HEADERS", "JSON", "MODELS", "PROBLEM", "answer", "errors", "json_body", "ref", "with_headers"]

JSON, PROBLEM = "application/json", "application/problem+json"
MODELS = "x-serinus-models"
"""Where the document says which versions are served, and why."""
_STRING: Schema = {"type": "string"}

HEADERS: Mapping[str, Schema] = {
    "RequestId": {"description": "The caller's own id where it is valid, else one of ours.", "required": True,
                  "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}},
    "ModelVersion": {"description": "The version that answered.", "required": True,
                     "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "ModelRole": {"description": "Why this version: it is stable, or a candidate on trial.", "required": True,
                  "schema": {"enum": ["stable", "candidate"]}},
    "PredictionId": {"description": "Row 3 of the answer has this id, `-` and 3.", "required": True,
                     "schema": _STRING},
    "Traceparent": {"description": "The request's W3C trace context, where requests are traced.", "required": False,
                    "schema": _STRING},
    "RetryAfter": {"description": "Seconds.", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "JsonLength": {"description": "Where the JSON ends and the tensors' bytes begin.", "required": True,
                   "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}
_NAMES = {"RequestId": "X-Request-ID", "ModelVersion": "X-Model-Version", "ModelRole": "X-Model-Role",
          "PredictionId": "X-Prediction-ID", "Traceparent": "traceparent", "RetryAfter": "Retry-After",
          "JsonLength": "Inference-Header-Content-Length"}

_VIOLATIONS: Schema = {"type": "array", "items": {"$ref": "#/components/schemas/Violation"}}
COMPONENTS: Mapping[str, Schema] = {
    "Violation": {"type": "object", "required": ["path", "kind", "wanted", "got"],
                  "description": "One value that breaks one expectation.",
                  "properties": {"path": _STRING, "kind": _STRING, "wanted": _STRING, "got": _STRING,
                                 "done": _STRING}},
    "Error": {"type": "object", "required": ["error"],
              "properties": {"error": _STRING, "violations": _VIOLATIONS}},
    "Problem": {"type": "object", "required": ["type", "title", "status", "detail"],
                "description": "Problem details (RFC 9457).",
                "properties": {"type": _STRING, "title": _STRING, "status": {"type": "integer"}, "detail": _STRING,
                               "request_id": _STRING, "violations": _VIOLATIONS}},
    "MlflowError": {"type": "object", "required": ["error_code", "message", "stack_trace"],
                    "properties": {"error_code": _STRING, "message": _STRING, "stack_trace": {"const": ""}}},
    "Ready": {"type": "object", "required": ["ready"],
              "properties": {"ready": {"type": "boolean"}, "error": _STRING}},
    "ModelReady": {"type": "object", "required": ["name", "ready"],
                   "properties": {"name": _STRING, "ready": {"const": True}}},
    "TensorMetadata": {"type": "object", "required": ["name", "datatype", "shape"],
                       "properties": {"name": _STRING, "datatype": _STRING,
                                      "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
                                      "parameters": {"type": "object"}}},
    "ModelMetadata": {"type": "object", "required": ["name", "versions", "platform", "inputs", "outputs"],
                      "properties": {"name": _STRING, "versions": {"type": "array", "items": _STRING},
                                     "platform": _STRING, "parameters": {"type": "object"},
                                     **{side: {"type": "array", "items": {
                                         "$ref": "#/components/schemas/TensorMetadata"}}
                                        for side in ("inputs", "outputs")}}},
}
"""What no model is needed for."""

_SAID = {400: "The body is not what the protocol says, or not what the model's signature says.",
         401: "The token is missing or wrong.", 403: "Control calls are closed to this caller.",
         404: "There is no such model or version here.", 405: "Another method is wanted; see Allow.",
         409: "Not possible in the present state.", 413: "The body or its rows are over a limit.",
         415: "The media type or content encoding is not understood.",
         422: "The inputs are not what the model's signature says, or not what the model can take.",
         429: "Too many requests are under way.", 499: "The client went away.",
         500: "The model raised an exception, or the server has a bug; its log has the details.",
         503: "Not ready, draining, or the prediction log cannot take the record.",
         504: "The model did not answer in time."}
_AGAIN = (429, 503)


def ref(name: str) -> Schema:
    """A reference to a schema among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def with_headers(*names: str) -> dict[str, Schema]:
    """Headers of an answer, by the names of `HEADERS`."""
    return {_NAMES[name]: {"$ref": f"#/components/headers/{name}"} for name in names}


def answer(description: str, schema: Schema, *headers: str, kind: str = JSON) -> Schema:
    """One answer of an operation."""
    return {"description": description, "content": {kind: {"schema": schema}},
            **({"headers": with_headers(*headers)} if headers else {})}


def errors(name: str, statuses: Iterable[int], *headers: str, kind: str = JSON, again: bool = False) -> dict[str, Any]:
    """Answers of failed requests, all of the schema `name`. `again`: some say when to try again."""
    return {str(status): answer(_SAID[status], ref(name), *headers,
                                *(("RetryAfter",) if again and status in _AGAIN else ()), kind=kind)
            for status in statuses}


def json_body(schema: Schema, example: Any = None, *, required: bool = True) -> Schema:
    """A JSON body."""
    return {"required": required, "content": {JSON: {"schema": schema,
                                                     **({"example": example} if example is not None else {})}}}
