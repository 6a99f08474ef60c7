"""The edge: an ASGI application that answers our own paths and hands every other one on.

The paths of inference are looked up in a table that is rebuilt when the served versions change, so a hot request
costs one dictionary access before its protocol's parser runs.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from time import time_ns
from typing import Any, NamedTuple

import orjson

from serinus import __version__
from serinus.serving.board import Board, Labels
from serinus.serving.control import Control
from serinus.serving.errors import (
    InvalidRequest,
    ModelUnavailable,
    NotServed,
    Overloaded,
    RequestError,
    RequestTooLarge,
    UnsupportedEncoding,
)
from serinus.serving.pipeline import Call, Pipeline
from serinus.serving.protocols import Protocol
from serinus.serving.protocols.open_inference import OpenInference
from serinus.serving.protocols.rows import Rows
from serinus.serving.request import is_request_id
from serinus.serving.router import Router
from serinus.serving.settings import Settings
from serinus.serving.telemetry import Trace, Tracing
from serinus.serving.transport import send_whole

__all__ = ["App"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("serinus.app")
_PREFIXES = ("/v2", "/predict", "/api", "/metrics")
_JSON = (b"content-type", b"application/json")
_SIZE_DIGITS = 18
_TRY_AGAIN = (429, 503)


class Endpoint(NamedTuple):
    """What a path of inference means. `model` None: the only model, or the default one."""

    protocol: Protocol
    route: str
    model: str | None
    version: str | None


class Reply(NamedTuple):
    """What goes back to the caller. `error_type` is empty on success."""

    status: int
    content_type: bytes
    body: bytes
    error_type: str


class App:
    """All of our paths. `inner` answers the rest (BentoML's own); without it they are 404."""

    def __init__(self, settings: Settings, router: Router, pipeline: Pipeline, board: Board, tracing: Tracing,
                 control: Control, inner: ASGIApp | None = None) -> None:
        self.ready = False
        self.draining = False
        self._settings = settings
        self._router = router
        self._pipeline = pipeline
        self._board = board
        self._tracing = tracing
        self._control = control
        self._inner = inner
        self._under_way = 0
        self._concurrency = settings.limits.concurrency
        self._body_bytes = settings.limits.body_bytes
        self._key_header = settings.routing.key_header.lower().encode()
        self._protocols = (OpenInference(), Rows())
        self._endpoints: dict[str, Endpoint] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Look the served versions up again, after the router changed."""
        infer, rows = self._protocols
        table = {"/predict": Endpoint(rows, "/predict", None, None)}
        for name, route in self._router.routes.items():
            table[f"/v2/models/{name}/infer"] = Endpoint(infer, "/v2/models/{model}/infer", name, None)
            table[f"/predict/{name}"] = Endpoint(rows, "/predict/{model}", name, None)
            for arm in (route.stable, route.candidate, *route.others.values()):
                if arm is not None:
                    version = arm.version
                    table[f"/v2/models/{name}/versions/{version}/infer"] = Endpoint(
                        infer, "/v2/models/{model}/versions/{version}/infer", name, version)
                    table[f"/predict/{name}/versions/{version}"] = Endpoint(
                        rows, "/predict/{model}/versions/{version}", name, version)
        self._endpoints = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            if self._inner is not None:
                await self._inner(scope, receive, send)
            return
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is not None and scope["method"] == "POST":
            await self._infer(endpoint, scope, receive, send)
        else:
            await self._other(scope, receive, send)

    async def _infer(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        started = time_ns()
        headers = dict(scope["headers"])
        key, request_id = headers.get(self._key_header), headers.get(b"x-request-id")
        call = Call(endpoint.protocol, endpoint.model or "", endpoint.version, b"",
                    "" if request_id is None else _valid_id(request_id), None if key is None else key.decode("latin-1"),
                    self._tracing.begin(headers.get(b"traceparent"), endpoint.route), started)
        self._under_way += 1
        try:
            if self._under_way > self._concurrency:
                raise Overloaded(f"{self._concurrency} requests are under way in this worker. Try again.")
            if endpoint.model is None:
                call.model = self._only_model()
            message = await receive()
            body = message.get("body", b"")
            if message.get("more_body") or len(body) > self._body_bytes or b"content-encoding" in headers or not body:
                body = await self._read(message, headers, receive)
            call.body = body
            answer = Reply(200, b"application/json", await self._pipeline.answer(call), "")
        except RequestError as error:
            answer = self._refusal(call, error)
        except Exception:  # a bug of ours: the caller gets a sentence, the log the trace
            _log.exception("Unexpected failure")
            answer = self._refusal(call, RequestError("The server failed unexpectedly; its log has the details."))
        finally:
            self._under_way -= 1
        await self._respond(call, endpoint, scope, send, answer)

    def _refusal(self, call: Call, error: RequestError) -> Reply:
        call.request_id = call.request_id or call.prediction or self._pipeline.fresh_id()
        status, content_type, body = call.protocol.error(error, call.request_id)
        return Reply(status, content_type, body, error.kind)

    async def _respond(self, call: Call, endpoint: Endpoint, scope: Scope, send: Send, answer: Reply) -> None:
        status, content_type, body, error_type = answer
        choice, ids = call.choice, call.ids
        head = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
            content_type, len(body), call.request_id.encode())
        if choice is not None:
            head += choice.arm.head
        if ids is not None:
            head += b"traceparent: %b\r\n" % ids.traceparent.encode()
        if status in _TRY_AGAIN:
            head += b"retry-after: 1\r\n"
        self._count(call, endpoint, status, error_type)  # before the answer: whoever got one was counted
        await send_whole(send, status, head, body)
        if ids is not None and ids.sampled and self._tracing.exporting:
            arm = choice.arm if choice is not None else None
            model = call.model if call.model in self._router.routes else ""  # an address may name anything
            self._tracing.end(Trace(
                ids, "POST", scope["path"], endpoint.route, scope["http_version"], status, error_type,
                arm.name if arm else model, arm.version if arm else "", arm.role if arm else "",
                choice.reason if choice else "", call.request_id, call.prediction, call.rows, call.started_ns,
                call.parsed_ns, call.predict_started_ns, call.predict_ended_ns, time_ns()))

    def _count(self, call: Call, endpoint: Endpoint, status: int, error_type: str) -> None:
        choice, board = call.choice, self._board
        base = None
        if choice is None:
            base = board.base(Labels("", "", "", endpoint.route, "POST", status, error_type))
        elif not error_type:
            base = choice.arm.series.get(endpoint.route)
        if base is None and choice is not None:
            arm = choice.arm
            base = board.base(Labels(arm.name, arm.version, arm.role, endpoint.route, "POST", status, error_type))
            if not error_type:
                arm.series[endpoint.route] = base
        predicted = call.predict_ended_ns - call.predict_started_ns if call.predict_ended_ns else -1
        board.count(base or 0, time_ns() - call.started_ns, call.rows, predicted)

    def _only_model(self) -> str:
        names = list(self._router.routes)
        default = self._settings.server.default_model
        if default is None and len(names) == 1:
            return names[0]
        if default in self._router.routes:
            return default
        if not names:
            raise ModelUnavailable("No model is served. Register one: `serinus models register NAME PATH`.")
        if default is not None:
            raise NotServed(f"server.default_model {default!r} is not served here; served: {', '.join(sorted(names))}.")
        raise InvalidRequest(f"Several models are served ({', '.join(sorted(names))}): post to /predict/NAME, "
                             "or set server.default_model.")

    async def _read(self, message: MutableMapping[str, Any], headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The body of a request that came in parts, is large, encoded or empty."""
        limit = self._body_bytes
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and (len(announced) > _SIZE_DIGITS or int(announced) > limit):
            raise _too_large(limit)
        body = await _read_on(message, receive, limit)
        encoding = headers.get(b"content-encoding")
        return body if encoding is None else _decoded(body, encoding, limit)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if method == "POST" and (endpoint := self._unserved(path)) is not None:
            await self._infer(endpoint, scope, receive, send)
            return
        if self._inner is not None and path != "/" and not path.startswith(_PREFIXES):
            await self._inner(scope, receive, send)
            return
        if path.startswith("/api/"):
            status, document = await self._control.answer(scope, receive)
            await _send_json(send, status, document)
            return
        if path == "/metrics" and method == "GET":
            text = await self._control.metrics()
            await _send(send, 200, (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), text)
            return
        status, document = self._look_up(path, method)
        await _send_json(send, status, document)

    def _look_up(self, path: str, method: str) -> tuple[int, Any]:
        """Health and metadata, and every path that is not there."""
        parts = tuple(path.strip("/").split("/"))
        if method not in ("GET", "HEAD"):
            allowed = path in self._endpoints
            return _no_such(path, method) if not allowed else (405, {"error": f"{path} takes POST."})
        match parts:
            case ("",):
                return 200, {"status": "alive"}
            case ("v2",):
                return 200, {"name": "serinus", "version": __version__, "extensions": []}
            case ("v2", "health", "live"):
                return 200, {"live": True}
            case ("v2", "health", "ready"):
                ready, why = self.readiness()
                return (200, {"ready": True}) if ready else (503, {"ready": False, "error": why})
            case ("v2", "models", model, *rest):
                return self._model(model, rest, path, method)
        if path in self._endpoints:
            return 405, {"error": f"{path} takes POST, got {method}."}
        return _no_such(path, method)

    def readiness(self) -> tuple[bool, str]:
        """Whether requests can be answered, and else why not."""
        if self.draining:
            return False, "The server is draining."
        if not self._router.routes:
            return False, "No model is served. Register one: `serinus models register NAME PATH`."
        return (True, "") if self.ready else (False, "Models are being loaded.")

    def _model(self, model: str, rest: list[str], path: str, method: str) -> tuple[int, Any]:
        match rest:
            case []:
                version, question = None, ""
            case ["ready"]:
                version, question = None, "ready"
            case ["versions", version]:
                question = ""
            case ["versions", version, "ready"]:
                question = "ready"
            case _:
                return _no_such(path, method)
        try:
            arm = self._router.choose(model, version, None if version else "").arm
        except RequestError as error:
            return (404 if isinstance(error, NotServed) else 503), {"error": str(error)}
        if question == "ready":
            return 200, {"name": model, "ready": True}
        route = self._router.routes[model]
        loaded = {a.version for a in (route.stable, route.candidate, *route.others.values()) if a is not None}
        shown = arm if version else route.stable
        return 200, {"name": model, "versions": sorted(loaded, key=int), "platform": shown.platform,
                     "inputs": [_tensor(field) for field in shown.signature.inputs],
                     "outputs": [_tensor(field) for field in shown.signature.outputs]}

    def _unserved(self, path: str) -> Endpoint | None:
        """What an address of inference means whose model or version is not served: it is answered, counted and
        traced like any other, as not found."""
        infer, rows = self._protocols
        match path.strip("/").split("/"):
            case ["v2", "models", model, "infer"]:
                return Endpoint(infer, "/v2/models/{model}/infer", model, None)
            case ["v2", "models", model, "versions", version, "infer"]:
                return Endpoint(infer, "/v2/models/{model}/versions/{version}/infer", model, version)
            case ["predict", model]:
                return Endpoint(rows, "/predict/{model}", model, None)
            case ["predict", model, "versions", version]:
                return Endpoint(rows, "/predict/{model}/versions/{version}", model, version)
        return None


def _no_such(path: str, method: str) -> tuple[int, Any]:
    return 404, {"error": f"There is no {method} {path} here; see GET /v2 and GET /api/models."}


def _tensor(field: Any) -> dict[str, Any]:
    described = {"name": field.name, "datatype": field.datatype, "shape": list(field.shape)}
    parameters: dict[str, bool | str] = {}
    if field.optional:
        parameters["optional"] = True
    if field.labels:
        parameters["labels"] = orjson.dumps(list(field.labels)).decode()
    return described | ({"parameters": parameters} if parameters else {})


def _valid_id(header: bytes) -> str:
    text = header.decode("latin-1")
    return text if is_request_id(text) else ""


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is over the limit of {limit} bytes. Send fewer rows at a time.")


async def _read_on(message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The client went away before its body was whole.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _decoded(body: bytes, encoding: bytes, limit: int) -> bytes:
    name = encoding.decode("latin-1").strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "deflate"):
        raise UnsupportedEncoding(f"Content-Encoding {name!r} is not understood; send gzip, deflate or none.")
    engine = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by their first bytes
    try:
        data = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"The body is not valid {name}: {error}.") from None
    if len(data) > limit:
        raise _too_large(limit)
    if not engine.eof:
        raise InvalidRequest(f"The {name} body ends early.")
    if engine.unused_data:
        raise InvalidRequest(f"The {name} body goes on after its end. Send one compressed document.")
    return data


async def _send_json(send: Send, status: int, document: Any) -> None:
    await _send(send, status, _JSON, orjson.dumps(document))


async def _send(send: Send, status: int, content_type: tuple[bytes, bytes], body: bytes) -> None:
    headers = [content_type, (b"content-length", b"%d" % len(body))]
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
