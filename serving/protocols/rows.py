"""Rows: `POST /predict[/{model}[/versions/{version}]]` with `{"rows": [{"column": value, …}, …]}`."""

from __future__ import annotations

from typing import Any

import orjson
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError, Violation
from serinus.serving.inputs import fit, routing_key, say, to_array
from serinus.serving.protocols import STATUS, ErrorAnswer, Headers, Rendered
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings

__all__ = ["Rows"]

_STATUS = STATUS | {"invalid_input": 422}
_TITLES = {"invalid_input": "Invalid input", "invalid_request": "Invalid request", "not_found": "Not found"}


class Rows:
    """The form that a person would write by hand; errors are problem details (RFC 9457)."""

    name = "rows"
    routes = ("/predict", "/predict/{model}", "/predict/{model}/versions/{version}")

    def __init__(self, limits: LimitSettings | None = None) -> None:
        self._limits = limits or LimitSettings()

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """See `Protocol.parse`."""
        document = _load(body)
        rows = document["rows"]
        inputs: dict[str, NDArray[Any]] = {}
        if rows and isinstance(rows[0], list) and len(signature.inputs) == 1:
            field = signature.inputs[0]
            inputs[field.name] = fit(to_array(rows, field, "$.rows"), field, "$.rows")
        else:
            for field in signature.inputs:
                values = _column(rows, field)
                if values is not None:
                    inputs[field.name] = fit(to_array(values, field, f"$.rows[*].{field.name}"), field,
                                             f"$.rows[*].{field.name}")
        key = document.get("routing_key")
        client_id = document.get("id")
        return InferenceRequest(inputs, len(rows), None, client_id if isinstance(client_id, str) else None,
                                routing_key(key, "$.routing_key"), _remarks(rows, signature))

    def render(self, answer: Answer) -> Rendered:
        """See `Protocol.render`."""
        names = list(answer.outputs)
        columns = [list(array) if array.dtype.kind == "f" else array.tolist() for array in answer.outputs.values()]
        return Rendered(orjson.dumps(
            {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)],
             "model": answer.model, "version": answer.version, "role": answer.role,
             "request_id": answer.request_id,
             "prediction_ids": [f"{answer.prediction}-{row}" for row in range(answer.request.rows)],
             "violations": [violation._asdict() for violation in answer.request.violations]},
            option=orjson.OPT_SERIALIZE_NUMPY))

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """See `Protocol.error`."""
        status = _STATUS[error.kind]
        body: dict[str, Any] = {"type": "about:blank", "title": _TITLES.get(error.kind, "Request failed"),
                                "status": status, "detail": str(error), "request_id": request_id,
                                "violations": [violation._asdict() for violation in error.violations]}
        return ErrorAnswer(status, b"application/problem+json", orjson.dumps(body))


def _load(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}. Send {{\"rows\": [{{…}}]}}.") from None
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise InvalidRequest('The body has no list "rows". Send {"rows": [{"column": value, …}, …]}.')
    if not rows:
        raise InvalidInput("$.rows is empty. Send at least one row.")
    kind = type(rows[0])
    if kind not in (dict, list):
        raise InvalidInput(f"$.rows[0]: expected an object with one value per column, got {say(rows[0])}.")
    for index, row in enumerate(rows):
        if type(row) is not kind:
            raise InvalidInput(f"$.rows[{index}]: expected the same form as $.rows[0], got {say(row)}.")
    return document  # type: ignore[no-any-return]


def _column(rows: list[Any], field: Field) -> list[Any] | None:
    name = field.name
    if isinstance(rows[0], list):
        raise InvalidInput("$.rows[0]: expected an object with one value per column, got a list.")
    try:
        return [row[name] for row in rows]
    except KeyError:
        pass
    if not field.optional:
        index = next(i for i, row in enumerate(rows) if name not in row)
        raise InvalidInput(f"Field {name!r} at $.rows[{index}]: expected {field.datatype}, got nothing. "
                           "Send every field by its name.",
                           (Violation(f"$.rows[{index}].{name}", "missing_field", field.datatype, "nothing"),))
    values = [row.get(name) for row in rows]
    return values if any(value is not None for value in values) or field.dtype.kind in "fO" else None


def _remarks(rows: list[Any], signature: Signature) -> tuple[Violation, ...]:
    if not isinstance(rows[0], dict) or len(rows[0]) <= len(signature.inputs):
        return ()
    known = {field.name for field in signature.inputs}
    return tuple(Violation(f"$.rows[*].{name}", "unexpected_field", "absent", "ignored")
                 for name in rows[0] if name not in known)
