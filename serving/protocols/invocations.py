"""Invocations: `POST /invocations[/{model}[/versions/{version}]]`, as MLflow and SageMaker call a model.

The body is a JSON object with exactly one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, or CSV,
or Parquet. The answer is `{"predictions": …}` with the values of the model's first output, as a model's `predict`
would give them; `{"params": {"outputs": [...]}}` asks for others by name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from serinus.models.signature import Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError, UnsupportedEncoding
from serinus.serving.inputs import prediction_keys, routing_key, say
from serinus.serving.protocols import STATUS, ErrorAnswer, Headers, Rendered
from serinus.serving.protocols.csv_tables import write_csv
from serinus.serving.protocols.documents import dumps
from serinus.serving.protocols.media_types import CSV, FILES, JSON, media_type, wants_csv
from serinus.serving.protocols.predictions import (
    chosen,
    csv_columns,
    is_row_wise,
    prediction_head,
    remarked,
    unnamed,
)
from serinus.serving.protocols.tables import (
    Table,
    from_instances,
    from_named,
    from_objects,
    json_object,
    output_names,
    same_form,
    to_request,
    whole_answer,
)
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings

__all__ = ["Invocations"]

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_WANTED = '{"dataframe_records": [{"column": value, …}, …]}'
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_LONG_ATTRIBUTES = 1024
# Names that MLflow's clients know.
_CODES = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 404: "RESOURCE_DOES_NOT_EXIST", 413: "BAD_REQUEST",
          415: "BAD_REQUEST", 429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


class Form(NamedTuple):
    """How a request wants its answer. `attributes` are SageMaker's custom ones, to be echoed."""

    whole: bool
    csv: bool
    attributes: bytes


class Invocations:
    """The form that MLflow and SageMaker share; errors have MLflow's three fields, the stack trace always empty."""

    name = "invocations"
    routes: tuple[str, ...] = ("/invocations", "/invocations/{model}", "/invocations/{model}/versions/{version}")

    def __init__(self, limits: LimitSettings | None = None) -> None:
        self._limits = limits or LimitSettings()

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """See `Protocol.parse`."""
        kind = _kind(headers)
        form = Form(whole_answer(signature), wants_csv(headers), _attributes(headers))
        if (read := FILES.get(kind)) is not None:
            return to_request(read(body, signature, self._limits), signature, self._limits, reply=form)
        document = json_object(body, _WANTED)
        table = _table(document, signature, plain=b"true" not in body and b"false" not in body)
        params = document.get("params")
        if params is not None and not isinstance(params, dict):
            raise InvalidRequest(f"$.params: expected an object, got {say(params)}.")
        params = params or {}
        return to_request(
            table, signature, self._limits, outputs=output_names(params.get("outputs"), "$.params.outputs"),
            routing_key=routing_key(params.get("routing_key"), "$.params.routing_key"),
            prediction_keys=prediction_keys(params.get("prediction_key"), "$.params.prediction_key"), reply=form)

    def render(self, answer: Answer) -> Rendered:
        """See `Protocol.render`."""
        form: Form = answer.request.reply
        head = prediction_head(answer)
        if form.attributes:
            head += b"%b: %b\r\n" % (_ATTRIBUTES, form.attributes)
        if form.csv and not form.whole and is_row_wise(outputs := chosen(answer), answer.request.rows):
            columns = [cells for _, cells in csv_columns(outputs)]
            return Rendered(write_csv(None, columns), b"text/csv; charset=utf-8", head)
        document = {"predictions": unnamed(answer, whole=form.whole), **remarked(answer.request)}
        return Rendered(dumps(document), head=head)

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """See `Protocol.error`."""
        status = STATUS[error.kind]
        return ErrorAnswer(status, b"application/json", orjson.dumps(
            {"error_code": _CODES.get(status, "INTERNAL_ERROR"), "message": str(error), "stack_trace": ""}))


def _kind(headers: Headers) -> str:
    kind, parameters = media_type(headers)
    if kind not in ("", JSON, *FILES):
        raise UnsupportedEncoding(f"Content-Type {kind[:60]!r} is not understood; send {JSON}, {CSV} or "
                                  "application/vnd.apache.parquet.")
    if parameters:
        raise UnsupportedEncoding(f"Content-Type parameter {parameters[0][:60]!r} is not understood; only charset is.")
    return kind


def _attributes(headers: Headers) -> bytes:
    attributes = headers.get(_ATTRIBUTES, b"")
    if len(attributes) > _LONG_ATTRIBUTES or any(not 32 <= byte < 127 for byte in attributes):
        raise InvalidRequest(f"The header X-Amzn-SageMaker-Custom-Attributes: expected at most {_LONG_ATTRIBUTES} "
                             "printable ASCII characters, got others or more.")
    return attributes


def _table(document: dict[str, Any], signature: Signature, *, plain: bool) -> Table:
    given = [form for form in _FORMS if form in document]
    if len(given) != 1:
        raise InvalidRequest(f"The body: expected exactly one of {', '.join(_FORMS)}, got "
                             f"{' and '.join(given) or 'none of them'}. Send {_WANTED}.")
    value, path = document[given[0]], f"$.{given[0]}"
    if given[0] == "dataframe_split":
        return _split(value, signature, path)
    if given[0] == "dataframe_records":
        if not isinstance(value, list):
            raise InvalidRequest(f"{path}: expected a list with one object per row, got {say(value)}.")
        if same_form(value, path) is not dict:
            raise InvalidInput(f"{path}[0]: expected an object with one value per column, got a list.")
        return from_objects(value, signature, path, plain=plain)
    return from_instances(value, signature, path, plain=plain)


def _split(frame: Any, signature: Signature, path: str) -> Table:
    """What `DataFrame.to_dict(orient="split")` gives; a data frame's index means nothing to a model."""
    if not isinstance(frame, dict):
        raise InvalidRequest(f"{path}: expected an object with columns and data, got {say(frame)}.")
    names, rows = frame.get("columns"), frame.get("data")
    if not isinstance(names, list) or not all(type(name) in (str, int) for name in names):
        raise InvalidRequest(f"{path}.columns: expected a list of names, got {say(names)}.")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise InvalidRequest(f"{path}.data: expected a list with one list per row, got {say(rows)}.")
    if not rows:
        raise InvalidInput(f"{path}.data is empty. Send at least one row.")
    for index, row in enumerate(rows):
        if len(row) != len(names):
            raise InvalidInput(f"{path}.data[{index}]: expected {len(names)} values as in columns, got {len(row)}.")
    return from_named([str(name) for name in names], lambda place: [row[place] for row in rows], len(rows), signature,
                      f"{path}.data")
