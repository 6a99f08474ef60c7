"""Rows: `POST /predict[/{model}[/versions/{version}]]` with `{"rows": [{"column": value, …}, …]}`.

The same as columns, `{"columns": {"name": [value, …]}}`, as CSV and as Parquet.
"""

from __future__ import annotations

from typing import Any

import orjson

from serinus.models.signature import Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError
from serinus.serving.inputs import prediction_keys, routing_key
from serinus.serving.protocols import STATUS, ErrorAnswer, Headers, Rendered
from serinus.serving.protocols.csv_tables import write_csv
from serinus.serving.protocols.documents import dumps
from serinus.serving.protocols.media_types import FILES, media_type, wants_csv
from serinus.serving.protocols.predictions import by_row, csv_columns, is_row_wise, novelty, refer, remarked, wholes
from serinus.serving.protocols.tables import (
    Table,
    from_columns,
    from_instances,
    from_objects,
    json_object,
    remarks,
    same_form,
    to_request,
    whole_answer,
)
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings

__all__ = ["Rows"]

_STATUS = STATUS | {"invalid_input": 422}
_TITLES = {"invalid_input": "Invalid input", "invalid_request": "Invalid request", "not_found": "Not found"}
_WANTED = '{"rows": [{"column": value, …}, …]}'
_JSON = b"application/json"
_WHOLE, _CSV = "whole", "csv"


class Rows:
    """The form that a person would write by hand; errors are problem details (RFC 9457)."""

    name = "rows"
    routes: tuple[str, ...] = ("/predict", "/predict/{model}", "/predict/{model}/versions/{version}")

    def __init__(self, limits: LimitSettings | None = None) -> None:
        self._limits = limits or LimitSettings()

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """See `Protocol.parse`."""
        reply = _WHOLE if whole_answer(signature) else None
        if headers.get(b"content-type", _JSON) != _JSON and (read := FILES.get(media_type(headers)[0])) is not None:
            reply = _CSV if reply is None and wants_csv(headers) else reply
            return to_request(read(body, signature, self._limits), signature, self._limits, reply=reply)
        document = json_object(body, _WANTED)
        table = _table(document, signature, plain=b"true" not in body and b"false" not in body)
        key = document.get("routing_key")
        client_id = document.get("id")
        return InferenceRequest(
            table.inputs, table.rows, None, client_id if isinstance(client_id, str) else None,
            routing_key(key, "$.routing_key"), remarks(table, signature, self._limits), reply, table.where, table.block,
            prediction_keys=prediction_keys(document.get("prediction_key"), "$.prediction_key"))

    def render(self, answer: Answer) -> Rendered:
        """See `Protocol.render`."""
        request, outputs = answer.request, answer.outputs
        ids = [f"{answer.prediction}-{row}" for row in range(request.rows)]
        row_wise = request.reply != _WHOLE and is_row_wise(outputs, request.rows)
        if row_wise and request.reply == _CSV:
            names, columns = zip(("prediction_id", ids), *csv_columns(outputs), strict=True)
            return Rendered(write_csv(names, columns), b"text/csv; charset=utf-8")
        return Rendered(dumps(
            {"predictions": by_row(outputs) if row_wise else [wholes(outputs)],
             "model": answer.model, "version": answer.version, "role": answer.role,
             "request_id": answer.request_id, "prediction_ids": ids,
             "violations": [], **remarked(request), **refer(answer), **novelty(answer)}))

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """See `Protocol.error`."""
        status = _STATUS[error.kind]
        body: dict[str, Any] = {"type": "about:blank", "title": _TITLES.get(error.kind, "Request failed"),
                                "status": status, "detail": str(error), "request_id": request_id,
                                "violations": [violation.as_json() for violation in error.violations]}
        return ErrorAnswer(status, b"application/problem+json", orjson.dumps(body))


def _table(document: dict[str, Any], signature: Signature, *, plain: bool) -> Table:
    rows, columns = document.get("rows"), document.get("columns")
    if isinstance(columns, dict) and rows is None:
        return from_columns(columns, signature, "$.columns")
    if not isinstance(rows, list) or columns is not None:
        raise InvalidRequest(f'The body has no list "rows" (or an object "columns", not both). Send {_WANTED}.')
    if same_form(rows, "$.rows") is dict:
        return from_objects(rows, signature, "$.rows", plain=plain)
    if len(signature.inputs) != 1:
        raise InvalidInput("$.rows[0]: expected an object with one value per column, got a list.")
    return from_instances(rows, signature, "$.rows")
