"""The edge: an ASGI application that answers our own paths and hands every other one on.

The paths of inference are looked up in a table that is rebuilt when the served versions change, so a hot request
costs one dictionary access before its protocol's parser runs.
"""

from __future__ import annotations

import asyncio
import logging
import re
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from math import ceil
from pathlib import Path
from random import random
from time import time_ns
from typing import Any, NamedTuple

import orjson

from serinus.serving.board import Board, Labels
from serinus.serving.control import Control
from serinus.serving.errors import (
    InvalidRequest,
    ModelUnavailable,
    NotServed,
    Overloaded,
    RateLimited,
    RequestError,
    RequestTooLarge,
    Unauthorised,
    UnsupportedEncoding,
)
from serinus.serving.home import Home
from serinus.serving.metadata import Metadata
from serinus.serving.openapi import Documentation, Parts
from serinus.serving.pipeline import Call, Pipeline
from serinus.serving.protocols import Protocol
from serinus.serving.protocols.invocations import Invocations
from serinus.serving.protocols.kserve_v1 import KServeV1
from serinus.serving.protocols.open_inference import OpenInference
from serinus.serving.protocols.rows import Rows
from serinus.serving.repository import PREFIX, Repository
from serinus.serving.request import is_request_id
from serinus.serving.router import STABLE, Arm, Router
from serinus.serving.security import Security
from serinus.serving.settings import LimitSettings, Settings
from serinus.serving.telemetry import SpanContextIds, Trace, Tracing
from serinus.serving.telemetry.logs import flag_evaluated
from serinus.serving.telemetry.metrics import CONTENT_TYPE, OPENMETRICS, collect, exposition
from serinus.serving.telemetry.sdk_metrics import SdkHistograms, users_meters
from serinus.serving.tokens import Tokens, tokens_of
from serinus.serving.transport import send_whole
from serinus.serving.ui import Page

__all__ = ["App", "Inner"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("serinus.app")
_OURS = frozenset({"", "v1", "v2", "predict", "invocations", "ping", "api", "ui", "metrics", "openapi.json", "docs"})
_PROTOCOLS: tuple[Callable[[LimitSettings], Protocol], ...] = (
    lambda _: OpenInference(), Rows, Invocations, KServeV1)
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_SIZE_DIGITS = 18
_EXEMPLAR_EVERY_NS = 5_000_000
_TRY_AGAIN = (429, 503)
_NOVEL = 0.001
"""Chance of a request of usual rows below which its stages are told."""


class Endpoint(NamedTuple):
    """What a path of inference means. `model` None: the only model, or the default one."""

    protocol: Protocol
    route: str
    model: str | None
    version: str | None


class Address(NamedTuple):
    """A route with the pattern that its paths have."""

    protocol: Protocol
    route: str
    pattern: re.Pattern[str]


class Inner(NamedTuple):
    """The application that answers paths which are not ours: exactly which ones, since it counts each by its name, and
    the metrics that it counts, in Prometheus' text form."""

    app: ASGIApp
    paths: frozenset[str]
    metrics: Callable[[], bytes]


class Reply(NamedTuple):
    """What goes back to the caller. `head` holds further header lines; `error_type` is empty on success."""

    status: int
    content_type: bytes
    body: bytes
    error_type: str
    head: bytes = b""


class App:
    """All of our paths. `inner` answers the rest (BentoML's own); without it they are 404, as are control calls
    without `control`. The counts of all workers lie in the folder `boards`."""

    def __init__(self, settings: Settings, router: Router, pipeline: Pipeline, board: Board, tracing: Tracing,
                 boards: Path, control: Control | None = None, inner: Inner | None = None) -> None:
        self.ready = False
        self.draining = False
        self._settings = settings
        self._router = router
        self._pipeline = pipeline
        self._board = board
        self._tracing = tracing
        self._boards = boards
        self.repository: Repository | None = None
        """Loads and unloads by hand; without it these calls are 404."""
        self.security: Security | None = None
        """Knows one client from another; without it all may ask as they like."""
        self._control = control
        self._page = Page()
        self._inner = inner
        self.under_way = 0
        """Requests that wait for their answer."""
        self._next_exemplar_ns = 0
        meters = users_meters()
        self._histograms = None if meters is None else SdkHistograms(meters)
        self._concurrency = settings.limits.concurrency
        self._body_bytes = settings.limits.body_bytes
        self._key_header = settings.routing.key_header.lower().encode()
        tokens = tokens_of(settings.control)
        self._tokens = tokens if tokens.guard_inference else None
        self._flag_events = settings.telemetry.flag_events
        self._detail_share = settings.telemetry.detail_share
        self._metadata = Metadata(router, self.readiness, lambda: self.repository is not None)
        protocols = [protocol(settings.limits) for protocol in _PROTOCOLS]
        self._documentation = Documentation(settings, router, protocols)
        self._addresses = _addresses(protocols)
        self._endpoints: dict[str, Endpoint] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Look the served versions up again, after the router changed."""
        table = {}
        for protocol, route, _ in self._addresses:
            if "{model}" not in route:
                table[route] = Endpoint(protocol, route, None, None)
            for name, served in self._router.routes.items() if "{model}" in route else ():
                for version in {arm.version for arm in served.arms} if "{version}" in route else (None,):
                    path = route.replace("{model}", name).replace("{version}", version or "")
                    table[path] = Endpoint(protocol, route, name, version)
        self._endpoints = table
        self._documentation.forget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None and scope.get("root_path"):
            scope = _below_mount(scope)
            endpoint = self._endpoints.get(scope["path"])
        if endpoint is not None and scope["method"] == "POST":
            await self._infer(endpoint, scope, receive, send)
        else:
            await self._other(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the inner application live and end with the server; there are no websockets."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        elif self._inner is not None:
            await self._inner.app(scope, receive, send)

    async def _infer(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        started = time_ns()
        headers = dict(scope["headers"])
        key, request_id = headers.get(self._key_header), headers.get(b"x-request-id")
        call = Call(endpoint.protocol, endpoint.model or "", endpoint.version, headers, receive,
                    "" if request_id is None else _valid_id(request_id), None if key is None else key.decode("latin-1"),
                    self._tracing.begin(headers, endpoint.route, started), started)
        self.under_way += 1
        try:
            if self.under_way > self._concurrency:
                raise Overloaded(f"{self._concurrency} requests are under way in this worker. Try again.")
            if self._tokens is not None:
                _admit(self._tokens, headers)
            if endpoint.model is None:
                call.model = self._only_model(endpoint.route)
            if self.security is not None:
                call.client = self.security.admit(scope, headers)
            message = await receive()
            body = message.get("body", b"")
            if message.get("more_body") or len(body) > self._body_bytes or b"content-encoding" in headers or not body:
                body = await self._read(message, headers, receive)
            call.body = body
            body, content_type, head = await self._pipeline.answer(call)
            answer = Reply(200, content_type, body, "", head)
        except RequestError as error:
            answer = self._refusal(call, error)
        except Exception:  # a bug of ours: the caller gets a sentence, the log the trace
            _log.exception("Unexpected failure")
            answer = self._refusal(call, RequestError("The server failed unexpectedly; its log has the details."))
        finally:
            self.under_way -= 1
        await self._respond(call, endpoint, scope, send, answer)

    def _refusal(self, call: Call, error: RequestError) -> Reply:
        call.violations, call.counts = error.violations, error.counts
        call.request_id = call.request_id or call.prediction or self._pipeline.fresh_id()
        status, content_type, body = call.protocol.error(error, call.request_id)
        wait = b"retry-after: %d\r\n" % ceil(error.wait_s) if isinstance(error, RateLimited) else b""
        return Reply(status, content_type, body, error.kind, wait)

    async def _respond(self, call: Call, endpoint: Endpoint, scope: Scope, send: Send, answer: Reply) -> None:
        status, content_type, body, error_type, head = answer
        choice, ids = call.choice, call.ids
        head += b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
            content_type, len(body), call.request_id.encode())
        if choice is not None:
            head += choice.arm.head
        if call.violations:
            head += b"x-violations: %d\r\n" % call.violation_count
        if ids is not None:
            head += b"traceparent: %b\r\n" % ids.traceparent.encode()
        if status in _TRY_AGAIN and b"retry-after" not in answer.head:
            head += b"retry-after: 1\r\n"
        self._count(call, endpoint, status, error_type)  # before the answer: whoever got one was counted
        await send_whole(send, status, head, body)
        if self._histograms is not None:
            self._measure(self._histograms, call, endpoint, status, error_type)
        if self._flag_events and choice is not None and choice.reason == "split":
            flag_evaluated(choice.arm.name, choice.arm.version, choice.reason, choice.key_hash, ids)
        if ids is not None and ids.sampled and self._tracing.exporting:
            self._tell(call, ids, endpoint, scope, status, error_type)

    def _measure(self, histograms: SdkHistograms, call: Call, endpoint: Endpoint, status: int, error_type: str) -> None:
        """Record the request under the user's own MeterProvider."""
        arm = call.choice.arm if call.choice is not None else None
        of_version = (arm.name, arm.version, arm.role) if arm is not None else ("", "", "")
        labels = Labels(*of_version, endpoint.route, "POST", status, error_type)
        predicted = call.predict_ended_ns - call.predict_started_ns if call.predict_ended_ns else -1
        histograms.record(labels, call.ids, time_ns() - call.started_ns, predicted)
        if call.batch_rows:
            histograms.record_shared(labels, call.ids, max(0, call.predict_started_ns - call.routed_ns),
                                     call.batch_rows)

    def _tell(self, call: Call, ids: SpanContextIds, endpoint: Endpoint, scope: Scope, status: int,
              error_type: str) -> None:
        """Hand what the request left behind to tracing."""
        choice, ended = call.choice, time_ns()
        arm = choice.arm if choice is not None else None
        model = call.model if call.model in self._router.routes else ""  # an address may name anything
        self._tracing.end(Trace(
            ids, "POST", scope["path"], endpoint.route, scope["http_version"], status, error_type,
            arm.name if arm else model, arm.version if arm else "", arm.role if arm else "",
            choice.reason if choice else "", call.request_id, call.prediction, call.rows, call.batch_rows,
            call.violation_count, self._detail(call, arm, ended, error_type), call.marks, ended, call.steps,
            call.novelty_p, call.drift))

    def _detail(self, call: Call, arm: Arm | None, ended_ns: int, error_type: str) -> str:
        """Why a request is interesting enough to tell its stages one by one; empty when it is not."""
        slow = arm is not None and arm.pace.is_slow(ended_ns - call.started_ns)
        if error_type:
            return "error"
        if call.violations:
            return "violation"
        if arm is not None and arm.role != STABLE:
            return arm.role
        if call.novelty_p is not None and call.novelty_p * call.rows <= _NOVEL:
            return "novelty"
        if slow:
            return "slow"
        return "sample" if random() < self._detail_share else ""

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
        now = time_ns()
        board.count(base or 0, now - call.started_ns, call.rows, predicted)
        if call.batch_rows:
            board.count_shared(base or 0, max(0, call.predict_started_ns - call.routed_ns), call.batch_rows)
        if call.trial is not None and choice is not None:
            call.trial.settle(call.assigned, choice, error_type, now - call.started_ns)
        if call.copy is not None and choice is not None:
            call.copy.settle(error_type, call.request_id, choice, call.ids, call.started_ns, predicted)
        for kind, number in _by_kind(call).items() if call.violations else ():
            model = call.model if call.model in self._router.routes else ""
            board.tally("violations", model, kind, amount=number)
        if call.ids is not None and call.ids.sampled and (error_type or now >= self._next_exemplar_ns):
            self._next_exemplar_ns = now + _EXEMPLAR_EVERY_NS
            board.exemplify(base or 0, call.ids.trace_id, call.ids.span_id, now - call.started_ns, now)

    def _only_model(self, route: str) -> str:
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
        raise InvalidRequest(f"Several models are served ({', '.join(sorted(names))}): post to {route}/NAME, "
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
        if method == "POST" and (endpoint := self._address(path)) is not None:
            await self._infer(endpoint, scope, receive, send)
            return
        if self._inner is not None and path in self._inner.paths and path.split("/", 2)[1] not in _OURS:
            await self._inner.app(scope, receive, send)
            return
        if path.startswith(PREFIX) and self.repository is not None:
            await _send_json(send, *await self.repository.answer(scope, receive))
            return
        if path.startswith("/api/") and self._control is not None:
            status, document, *head = await self._control.answer(scope, receive)
            await _send(send, status, _JSON if status < 400 else _PROBLEM, orjson.dumps(document), *head)
            return
        if self._control is not None and path.startswith("/v1/models/") and path.endswith(":explain"):
            status, document, *head = await self._control.explain(scope, receive)
            await _send_json(send, status, document, *head)
            return
        if self._control is not None and self._page.is_asked(scope):
            await self._page.answer(scope, send)
            return
        if path == "/metrics" and method in ("GET", "HEAD"):
            await self._metrics(dict(scope["headers"]), send)
            return
        if self._documentation.is_asked(scope):
            await self._documentation.answer(scope, send, Parts(self.repository is not None, self._control is not None))
            return
        await self._look_up(path, method, send)

    async def _metrics(self, headers: Mapping[bytes, bytes], send: Send) -> None:
        openmetrics = b"application/openmetrics-text" in headers.get(b"accept", b"")
        snapshot = Home(self._settings.home).snapshot if self._control is not None else None
        families = await asyncio.to_thread(collect, self._boards, snapshot, self._settings.telemetry.cost_per_cpu_hour)
        page = exposition(families, openmetrics=openmetrics)
        if self._inner is not None and not openmetrics:
            page += await asyncio.to_thread(self._inner.metrics)
        await _send(send, 200, (b"content-type", OPENMETRICS if openmetrics else CONTENT_TYPE), page)

    async def _look_up(self, path: str, method: str, send: Send) -> None:
        """Health and metadata, and every path that is not there."""
        if self._address(path) is not None:
            await _send_json(send, 405, {"error": f"{path} takes POST, got {method}."}, (b"allow", b"POST"))
            return
        found = self._metadata.look_up(path)
        if found is None and path != "/metrics":
            await _send_json(send, 404, {"error": f"There is no {method} {path} here; see GET /v2 and "
                                                  "GET /api/models."})
        elif found is None or method not in ("GET", "HEAD"):
            await _send_json(send, 405, {"error": f"{path} takes GET, got {method}."}, (b"allow", b"GET, HEAD"))
        else:
            await _send_json(send, *found)

    def readiness(self) -> tuple[bool, str]:
        """Whether requests can be answered, and else why not."""
        if self.draining:
            return False, "The server is draining."
        if not self._router.routes:
            return False, "No model is served. Register one: `serinus models register NAME PATH`."
        stuck = next((why for route in self._router.routes.values() if (why := route.stable.why_unready)), "")
        return (self.ready and not stuck, stuck if self.ready else "Models are being loaded.")

    def _address(self, path: str) -> Endpoint | None:
        """What an address of inference means whose model or version is not served: it is answered, counted and
        traced like any other, as not found."""
        for protocol, route, pattern in self._addresses:
            if found := pattern.fullmatch(path):
                return Endpoint(protocol, route, found.groupdict().get("model"), found.groupdict().get("version"))
        return None


def _pattern(route: str) -> re.Pattern[str]:
    names = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(route))
    return re.compile(f"{names}/?")


def _addresses(protocols: Iterable[Protocol]) -> tuple[Address, ...]:
    return tuple(Address(protocol, route, _pattern(route)) for protocol in protocols for route in protocol.routes)


def _below_mount(scope: Scope) -> Scope:
    """The scope with the path as seen from where this application is mounted."""
    path, root = scope["path"], scope["root_path"].rstrip("/")
    return {**scope, "path": path.removeprefix(root) or "/"} if path.startswith(f"{root}/") or path == root else scope


def _by_kind(call: Call) -> Mapping[str, int]:
    """How many violations a call has of each kind, listed or not."""
    return call.counts or Counter(violation.kind for violation in call.violations)


def _valid_id(header: bytes) -> str:
    text = header.decode("latin-1")
    return text if is_request_id(text) else ""


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is over the limit of {limit} bytes. Send fewer rows at a time.")


def _admit(tokens: Tokens, headers: Mapping[bytes, bytes]) -> None:
    holder = tokens.holder(headers.get(b"authorization", b""))
    if holder is None or "infer" not in holder.scopes:
        raise Unauthorised("Predictions need a token with the scope infer: send Authorization: Bearer TOKEN.")


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


async def _send_json(send: Send, status: int, document: Any, *further: tuple[bytes, bytes]) -> None:
    await _send(send, status, _JSON, orjson.dumps(document), *further)


async def _send(send: Send, status: int, content_type: tuple[bytes, bytes], body: bytes,
                *further: tuple[bytes, bytes]) -> None:
    headers = [content_type, (b"content-length", b"%d" % len(body)), *further]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
