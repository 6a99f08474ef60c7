"""Control calls: `/api/…`. What needs the store is handed to the steward; a rollback needs neither of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import asdict
from math import inf, nan
from socket import gethostname
from typing import Any
from urllib.parse import parse_qsl

import orjson

from serinus import __version__
from serinus.models.registry import Registry
from serinus.serving.auth import authorise
from serinus.serving.errors import ControlRefused, RequestError, SerinusError
from serinus.serving.explainer import ADDRESS, Explainer
from serinus.serving.files import reachable
from serinus.serving.ground_truth import MEDIA_TYPES
from serinus.serving.ground_truth.inbox import Inbox
from serinus.serving.ground_truth.published import published as published_ground_truth
from serinus.serving.home import Home, RunFolder
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.performance.published import published as published_performance
from serinus.serving.predictions import look_up
from serinus.serving.protocols import STATUS as REQUEST_STATUS
from serinus.serving.published_alerts import published
from serinus.serving.rollback import live_boards, roll_back
from serinus.serving.router import Router
from serinus.serving.settings import Settings
from serinus.serving.snapshot import read_snapshot
from serinus.serving.traffic import published as published_traffic
from serinus.serving.veto import read_vetoes

__all__ = ["STATUS", "Control", "json_body"]

_log = logging.getLogger("serinus.control")
STATUS = {"forbidden": 403, "unauthorised": 401, "unsupported": 415, "not_found": 404, "refused": 409,
          "nothing_to_do": 409, "conflict": 409, "invalid": 400, "unavailable": 503}
"""What the kinds of `ControlRefused` are in HTTP."""
_STEWARD_VERBS = ("start", "promote", "approve", "pause", "resume", "freeze", "abort", "retry")
_VIEWS = ("journal", "analysis")
_GATES = {"no-harm": ("successful", "running", "inconclusive"), "advance": ("successful",), "rollback": ("failed",)}
"""With which verdicts a gate, which a webhook asks for, is open."""
_POSTED = (*_STEWARD_VERBS, "rollback")
_MAX_BODY = 1 << 20
_STEWARD_PATIENCE_S = 15.0


Reply = tuple[int, Any, *tuple[tuple[bytes, bytes], ...]]
"""Status, JSON document and further header lines."""


class Control:
    """The control plane as one worker offers it."""

    def __init__(self, settings: Settings, run: RunFolder, registry: Registry, obey: Callable[[], None],
                 router: Router | None = None) -> None:
        self._settings = settings
        self._home = Home(settings.home)
        self._run = run
        self._registry = registry
        self._obey = obey
        self._router = router
        self._inbox = Inbox(settings)
        self._explainer = None if router is None else Explainer(self._home, router, settings.limits)

    def seal(self) -> None:
        """End the file that is written, so that it can be erased from."""
        self._inbox.end_file()

    async def answer(self, scope: MutableMapping[str, Any],
                     receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> Reply:
        """What to answer to one call; errors are problem details (RFC 9457)."""
        method, parts = scope["method"], scope["path"].strip("/").split("/")[1:]
        if (wanted := _method_of(parts)) and method not in wanted.split(", "):
            problem = _problem(405, f"{scope['path']} takes {wanted}, got {method}.", "method_not_allowed")
            return *problem, (b"allow", wanted.encode())
        try:
            if (method, parts) == ("POST", ["ground-truth"]):
                return 202, await self._take_ground_truth(scope, receive)
            reads = method == "GET" or parts[2:] == ["analysis"] or parts[:1] == ["explain"]
            holder = authorise(self._settings, dict(scope["headers"]), method, scope="read" if reads else "operate",
                               server=scope.get("server"))
            body = await json_body(receive) if method == "POST" else _asked(scope)
            return await self._dispatch(method, parts, _signed(body, holder))
        except ControlRefused as error:
            return _problem(STATUS.get(error.kind, 409), str(error), error.kind)
        except SerinusError as error:
            return _problem(503, str(error), "unavailable")
        except Exception:
            _log.exception("Unexpected failure of a control call")
            return _problem(500, "The server failed unexpectedly; its log has the details.", "internal")

    async def explain(self, scope: MutableMapping[str, Any],
                      receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> Reply:
        """KServe V1's `:explain`; its errors are `{"error": sentence}`. It tells more than an answer does, so it needs
        what reading below `/api` needs."""
        asked, method = ADDRESS.fullmatch(scope["path"]), scope["method"]
        if method != "POST":
            return 405, {"error": f"{scope['path']} takes POST, got {method}."}, (b"allow", b"POST")
        if asked is None or self._explainer is None:
            return 404, {"error": f"There is no {scope['path']} here."}
        try:
            authorise(self._settings, dict(scope["headers"]), method, scope="read", untyped=True,
                      server=scope.get("server"))
            return 200, await self._explainer.of_rows(asked["model"], asked["version"], await _read_body(receive))
        except RequestError as error:
            return REQUEST_STATUS[error.kind], {"error": str(error)}
        except (ControlRefused, SerinusError) as error:
            kind = error.kind if isinstance(error, ControlRefused) else "unavailable"
            return STATUS.get(kind, 409), {"error": str(error)}
        except Exception:
            _log.exception("Unexpected failure of an explanation")
            return 500, {"error": "The server failed unexpectedly; its log has the details."}

    async def _dispatch(self, method: str, parts: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["models"]:
                return 200, await asyncio.to_thread(self._models)
            case "GET", ["ui"]:
                return 200, {"version": __version__, "host": gethostname(), "trace_url": self._settings.ui.trace_url}
            case "GET", ["traffic"]:
                return 200, await asyncio.to_thread(published_traffic, self._run.path, _time(body, "after"))
            case "GET", ["alerts"]:
                return 200, await asyncio.to_thread(published, self._home.run)
            case "GET", ["ground-truth", *names] if len(names) <= 1:
                return 200, await asyncio.to_thread(published_ground_truth, self._home.run, *names)
            case "GET", ["performance", model]:
                return 200, await asyncio.to_thread(published_performance, self._home.performance, model)
            case "GET", ["monitors", *names] if len(names) <= 1:
                return 200, await asyncio.to_thread(self._monitors, *names)
            case "GET", ["predictions", prediction_id]:
                return 200, await self._prediction(prediction_id, str(body.get("actor", "api")))
            case "GET", ["rollouts", model] | ["rollouts", model, "status"]:
                return 200, await asyncio.to_thread(self._rollout, model)
            case "GET", ["rollouts", model, view] if view in _VIEWS:
                return 200, await self._ask_steward({**body, "verb": view, "model": model})
            case "POST", ["explain", model] if self._explainer is not None:
                actor = str(body.get("actor", "api"))
                return 200, await self._explainer.of_prediction(model, _prediction_id(body), actor)
            case "POST", ["alerts", alert_id, "acknowledge"]:
                return 200, await self._ask_steward({**body, "verb": "acknowledge", "alert": alert_id})
            case "POST", ["rollouts", model, "analysis"]:
                return await self._gate(model, body)
            case "POST", ["rollouts", model, "rollback"]:
                return await self._roll_back(model, body)
            case "POST", ["rollouts", model, verb] if verb in _STEWARD_VERBS:
                return 202, await self._ask_steward({**body, "verb": verb, "model": model})
            case "POST", ["drain"]:
                self._run.draining.touch()
                return 202, {"draining": True}
        raise ControlRefused(f"There is no {method} /api/{'/'.join(parts)}; see GET /api/models and "
                             "GET /api/rollouts/MODEL.", "not_found")

    async def _take_ground_truth(self, scope: MutableMapping[str, Any],
                                 receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> dict[str, Any]:
        headers = dict(scope["headers"])
        authorise(self._settings, headers, "POST", scope="feedback", media_types=MEDIA_TYPES,
                  server=scope.get("server"))
        return await self._inbox.take(headers, receive)

    async def _prediction(self, prediction_id: str, actor: str) -> dict[str, Any]:
        """A prediction with what became of it, as far as the steward can tell now."""
        found = await asyncio.to_thread(look_up, self._home, prediction_id, actor)
        try:
            known = await self._ask_steward({"verb": "ground_truth", "prediction_id": prediction_id})
        except ControlRefused as error:
            known = {"ground_truth": {"state": "unknown", "reason": str(error)}}
        return {**found, **known}

    def _models(self) -> dict[str, Any]:
        records = read_snapshot(self._home.snapshot).records
        models = []
        for name in self._registry.names():
            record = records.get(name)
            models.append({"name": name, "versions": self._registry.versions(name),
                           "stable": record.stable if record else None,
                           "candidate": record.candidate if record and record.running else None,
                           "weight": record.weight if record else 0, "loaded": self._loaded(name)})
        return {"models": models}

    def _loaded(self, name: str) -> list[str]:
        """The versions of a model that this worker has in memory, and answers with."""
        route = self._router.routes.get(name) if self._router is not None else None
        return sorted({arm.version for arm in route.arms}, key=int) if route is not None else []

    def _monitors(self, model: str | None = None) -> dict[str, Any]:
        views = MonitorFiles(self._home.monitors).views(model)
        if model is not None and not views:
            known = sorted({view.model for view in MonitorFiles(self._home.monitors).views()})
            raise ControlRefused(f"No monitor watches {model!r} yet; watched: {', '.join(known) or 'no model'}.",
                                 "not_found")
        return {"versions": [dict(view.document) for view in views]}

    def _rollout(self, model: str) -> dict[str, Any]:
        snapshot = read_snapshot(self._home.snapshot)
        record = snapshot.records.get(model)
        if record is None:
            raise ControlRefused(f"Nothing is known of a rollout of {model!r}; known: "
                                 f"{', '.join(sorted(snapshot.records)) or 'no model'}.", "not_found")
        veto = read_vetoes(self._home.vetoes).by_model.get(model)
        workers = [{"pid": board.pid, "ready": board.ready, "follows": board.generation >= snapshot.generation}
                   for board in live_boards(self._home)]
        return {"record": record.to_dict(), "veto": asdict(veto) if veto else None, "workers": workers,
                "confirmed_seconds_ago": round(snapshot.age_s(), 3)}

    async def _roll_back(self, model: str, body: dict[str, Any]) -> tuple[int, Any]:
        actor, reason = str(body.get("actor", "api")), str(body.get("reason", "rollback by /api"))
        to = body.get("to")
        waiting = asyncio.create_task(asyncio.to_thread(
            roll_back, self._home, model, actor=actor, reason=reason, to=None if to is None else str(to)))
        while not waiting.done():  # this worker looks at once and often, not only at its next turn
            self._obey()
            await asyncio.sleep(0.002)
        done = await waiting
        return 200, {"model": model, "stable": done.veto.stable, "version": done.veto.version,
                     "complete": done.complete,
                     "workers": [{"pid": worker.pid, "seconds": worker.seconds} for worker in done.workers]}

    async def _gate(self, model: str, body: dict[str, Any]) -> tuple[int, Any]:
        """A webhook's question: 200 while the gate is open, else 409 with the reason."""
        metadata = body.get("metadata")
        gate = metadata.get("gate", "no-harm") if isinstance(metadata, dict) else "no-harm"
        if not isinstance(gate, str) or gate not in _GATES:
            raise ControlRefused(f"metadata.gate: expected {', '.join(_GATES)}, got {gate!r}.", "invalid")
        found = await self._ask_steward({"verb": "analysis", "model": model})
        if found["verdict"] in _GATES[gate]:
            return 200, found
        status, problem = _problem(409, f"Gate {gate} is closed, {found['verdict']}: {found['reason']}", "gate_closed")
        return status, {**found, **problem}

    async def _ask_steward(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_STEWARD_PATIENCE_S):
                with reachable(self._run.steward_socket) as path:
                    reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(orjson.dumps(request) + b"\n")
                    answer = orjson.loads(await reader.readline())
                finally:
                    writer.close()
        except (OSError, TimeoutError, orjson.JSONDecodeError):
            raise ControlRefused("The steward does not answer, so nothing was changed. It is restarted by itself: "
                                 "try again; a rollback works without it.", "unavailable") from None
        if "error" in answer:
            raise ControlRefused(answer["error"], answer.get("kind", "refused"))
        return dict(answer)


async def json_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> dict[str, Any]:
    """The JSON object in the body of a control call; an empty one without a body. Raises `ControlRefused`."""
    data = await _read_body(receive)
    if not data.strip():
        return {}
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ControlRefused(f"The body is not JSON: {error}.", "invalid") from None
    if not isinstance(document, dict):
        raise ControlRefused("The body: expected a JSON object.", "invalid")
    return document


async def _read_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    """The body of a control call. Raises `ControlRefused` for one that is too large."""
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if len(data) > _MAX_BODY:
            raise ControlRefused(f"The body is over the limit of {_MAX_BODY} bytes.", "invalid")
        if not message.get("more_body"):
            return bytes(data)


def _asked(scope: MutableMapping[str, Any]) -> dict[str, Any]:
    """What stands behind the question mark of an address."""
    return dict(parse_qsl(bytes(scope.get("query_string", b"")).decode("latin-1")))


def _prediction_id(body: Mapping[str, Any]) -> str:
    given = body.get("prediction_id")
    if not isinstance(given, str):
        raise ControlRefused(f'prediction_id: expected the id of a prediction, got {given!r}. Send {{"prediction_id": '
                             '"…"}.', "invalid")
    return given


def _time(body: Mapping[str, Any], name: str) -> float:
    """A Unix time of the address; 0 where there is none."""
    given = body.get(name, "0")
    try:
        found = float(given)
    except ValueError:
        found = nan
    if not 0 <= found < inf:
        raise ControlRefused(f"{name}: expected a Unix time, 0 or more, got {given!r}.", "invalid")
    return found


def _signed(body: dict[str, Any], holder: str) -> dict[str, Any]:
    """Who acts: the holder of the token, whoever he says that he is."""
    if not holder:
        return body
    said = body.get("actor")
    return {**body, "actor": f"{said} (token {holder})" if said and said != holder else holder}


def _method_of(parts: list[str]) -> str:
    """The methods that a path takes; empty where there is none."""
    match parts:
        case ["ground-truth"] | ["rollouts", _, "analysis"]:
            return "GET, POST"
        case ["ground-truth" | "performance", _] | ["predictions", _]:
            return "GET"
        case ["rollouts", _, "status" | "journal"]:
            return "GET"
        case ["models"] | ["alerts"] | ["traffic"] | ["ui"] | ["monitors"] | ["monitors", _] | ["rollouts", _]:
            return "GET"
        case ["drain"] | ["explain", _] | ["alerts", _, "acknowledge"]:
            return "POST"
        case ["rollouts", _, verb] if verb in _POSTED:
            return "POST"
    return ""


def _problem(status: int, detail: str, kind: str) -> tuple[int, Any]:
    return status, {"type": "about:blank", "title": kind.replace("_", " ").capitalize(), "status": status,
                    "detail": detail}
