"""KServe V1 (TensorFlow Serving, Vertex AI): `POST /v1/models/{model}[/versions/{version}]:predict`.

`{"instances": [...]}` or `{"inputs": …}` is answered `{"predictions": [...]}` with the values of the model's first
output; `{"parameters": {"outputs": [...]}}` asks for others by name.
"""

from __future__ import annotations

from typing import Any

import orjson

from serinus.models.signature import Signature
from serinus.serving.errors import InvalidRequest, RequestError
from serinus.serving.inputs import prediction_keys, routing_key, say
from serinus.serving.protocols import STATUS, ErrorAnswer, Headers, Rendered
from serinus.serving.protocols.documents import dumps
from serinus.serving.protocols.predictions import prediction_head, remarked, unnamed
from serinus.serving.protocols.tables import from_instances, json_object, output_names, to_request, whole_answer
from serinus.serving.request import Answer, InferenceRequest
from serinus.serving.settings import LimitSettings

__all__ = ["KServeV1"]

_WANTED = '{"instances": [...]}'


class KServeV1:
    """The protocol before the Open Inference Protocol; errors are `{"error": string}`."""

    name = "kserve_v1"
    routes: tuple[str, ...] = ("/v1/models/{model}:predict", "/v1/models/{model}/versions/{version}:predict")

    def __init__(self, limits: LimitSettings | None = None) -> None:
        self._limits = limits or LimitSettings()

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """See `Protocol.parse`."""
        document = json_object(body, _WANTED)
        given = [key for key in ("instances", "inputs") if key in document]
        if len(given) != 1:
            raise InvalidRequest(f'The body: expected "instances" or "inputs", got {"both" if given else "neither"}. '
                                 f"Send {_WANTED}.")
        table = from_instances(document[given[0]], signature, f"$.{given[0]}",
                               plain=b"true" not in body and b"false" not in body)
        parameters = document.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise InvalidRequest(f"$.parameters: expected an object, got {say(parameters)}.")
        parameters = parameters or {}
        client_id = document.get("id")
        return to_request(
            table, signature, self._limits,
            outputs=output_names(parameters.get("outputs"), "$.parameters.outputs"),
            request_id=client_id if isinstance(client_id, str) else None,
            routing_key=routing_key(parameters.get("routing_key"), "$.parameters.routing_key"),
            prediction_keys=prediction_keys(parameters.get("prediction_key"), "$.parameters.prediction_key"),
            reply=whole_answer(signature))

    def render(self, answer: Answer) -> Rendered:
        """See `Protocol.render`."""
        document = {"predictions": unnamed(answer, whole=answer.request.reply), **remarked(answer.request)}
        return Rendered(dumps(document), head=prediction_head(answer))

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """See `Protocol.error`."""
        body: dict[str, Any] = {"error": str(error)}
        if error.violations:
            body["violations"] = [violation.as_json() for violation in error.violations]
        return ErrorAnswer(STATUS[error.kind], b"application/json", orjson.dumps(body))
