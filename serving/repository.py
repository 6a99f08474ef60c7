"""The model repository extension of the Open Inference Protocol: what there is, and loading and unloading by hand.

A model that is loaded by hand is served like those that the settings name; its rollouts go on where they stood. With
the parameter `version` a further version is loaded besides, to be reached by its own address only. All of it holds
for this server, all of its workers, and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from serinus.models.errors import ModelError, ModelNotFound, VersionNotFound
from serinus.models.registry import Registry
from serinus.models.version import ModelVersion
from serinus.serving.auth import authorise
from serinus.serving.control import STATUS, json_body
from serinus.serving.errors import ControlRefused, SerinusError
from serinus.serving.home import Home, RunFolder
from serinus.serving.memory import Admissions, NotEnoughMemory
from serinus.serving.rollback import boards_of
from serinus.serving.router import Router
from serinus.serving.settings import Settings
from serinus.serving.snapshot import read_snapshot
from serinus.serving.wishes import make_wish

__all__ = ["PREFIX", "Repository"]

_log = logging.getLogger("serinus.repository")
PREFIX = "/v2/repository/"
_LOOK_S = 0.01
_PATIENCE_S = 50.0  # below the minute that clients wait for
_TELLS_NOTHING = "It could not be loaded; the server's log says why."

Reply = tuple[int, Any, *tuple[tuple[bytes, bytes], ...]]
"""HTTP status, JSON document and further header lines."""


class Repository:
    """The extension as one worker offers it. `index` is as open as the models' metadata are; `load` and `unload`
    change the server, so they need what every control call needs, but for a content type."""

    def __init__(self, settings: Settings, run: RunFolder, registry: Registry, router: Router,
                 admissions: Admissions) -> None:
        self._settings = settings
        self._run = run
        self._registry = registry
        self._router = router
        self._admissions = admissions

    async def answer(self, scope: MutableMapping[str, Any],
                     receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> Reply:
        """What to answer below `PREFIX`; errors are `{"error": …}`."""
        path, method = scope["path"], scope["method"]
        try:
            match path.removeprefix(PREFIX).rstrip("/").split("/"):
                case ["index"] if method == "POST":
                    known = self._is_allowed(scope)
                    return 200, await asyncio.to_thread(self._index, _ready_only(await json_body(receive)), known)
                case ["models", model, "load" | "unload" as verb] if method == "POST":
                    authorise(self._settings, dict(scope["headers"]), method, untyped=True,
                              server=scope.get("server"))
                    version = _parameters(await json_body(receive))
                    return await (self._load if verb == "load" else self._unload)(model, version)
                case ["index"] | ["models", _, "load" | "unload"]:
                    return 405, {"error": f"{path} takes POST, got {method}."}, (b"allow", b"POST")
            return 404, {"error": f"There is no {method} {path} here; see POST {PREFIX}index."}
        except ControlRefused as error:
            return STATUS.get(error.kind, 400), {"error": str(error)}
        except (ModelNotFound, VersionNotFound) as error:
            return 404, {"error": str(error)}
        except ModelError as error:
            return 400, {"error": str(error)}
        except SerinusError as error:
            return 503, {"error": str(error)}
        except Exception:
            _log.exception("Unexpected failure of a repository call")
            return 500, {"error": "The server failed unexpectedly; its log has the details."}

    def _index(self, ready_only: bool, tell: bool) -> list[dict[str, str]]:
        rows = [self._described(name, version, tell)
                for name in self._registry.names() for version in self._registry.versions(name)]
        return [row for row in rows if not ready_only or row["state"] == "READY"]

    def _described(self, name: str, version: str, tell: bool) -> dict[str, str]:
        state, why = self._router.state(name, version)
        if state == "unavailable":
            why = (why if tell else _TELLS_NOTHING) if why else "It is not loaded."
        return {"name": name, "version": version, "state": state.upper(), "reason": why}

    async def _load(self, model: str, version: str | None) -> Reply:
        found = await asyncio.to_thread(self._wanted, model, version)
        await asyncio.to_thread(self._admit, found)
        before = await asyncio.to_thread(self._failures)
        await self._follow(make_wish(self._run.wishes, model, load=True, version=version and found.version), model)
        state, why = self._router.state(model, found.version)
        if state != "ready":
            return 400, {"error": f"{found.tag} could not be loaded: {why or 'the log of the server says why.'}"}
        after = await asyncio.to_thread(self._failures)
        failed = [pid for pid, number in after.items() if number > before.get(pid, 0)]
        if failed:
            return 503, {"error": f"{found.tag} could not be loaded in every worker (processes "
                                  f"{', '.join(map(str, failed))}); the server's log says why."}
        return 200, {"name": model, "version": found.version, "load": True}

    async def _unload(self, model: str, version: str | None) -> Reply:
        found = await asyncio.to_thread(self._wanted, model, version)
        route = self._router.routes.get(model)
        if version and route and found.version in (route.stable.version, route.candidate and route.candidate.version):
            raise ControlRefused(f"{found.tag} answers requests of {model!r}, so it cannot be unloaded by itself: roll "
                                 "it back, or unload the model.")
        await self._follow(make_wish(self._run.wishes, model, load=False, version=version and found.version), model)
        return 200, {"name": model, "version": found.version, "unload": True} if version else {
            "name": model, "unload": True}

    def _wanted(self, model: str, version: str | None) -> ModelVersion:
        """The version that a call is about: the stable one where it names none."""
        if version is not None:
            return self._registry.get(*self._registry.resolve(f"{model}:{version}"))
        record = read_snapshot(Home(self._settings.home).snapshot).records.get(model)
        stable = record.stable if record is not None else None
        self._registry.get(model)  # raises when there is none
        return self._registry.get(model, stable or self._registry.versions(model)[0])

    def _admit(self, found: ModelVersion) -> None:
        if self._router.state(found.name, found.version)[0] == "ready":
            return
        try:
            self._admissions.ask(found, self._settings.server.workers, anew=True)
        except NotEnoughMemory as error:
            raise ControlRefused(str(error), "unavailable") from None

    async def _follow(self, sequence: int, model: str) -> None:
        """Wait until every live worker has done as the wishes say."""
        deadline = time.monotonic() + _PATIENCE_S
        while waiting := [board.pid for board in await asyncio.to_thread(boards_of, self._run)
                          if board.wish_sequence < sequence]:
            if time.monotonic() > deadline:
                raise ControlRefused(f"{model!r}: processes {', '.join(map(str, waiting))} have not followed within "
                                     f"{_PATIENCE_S:.0f} s, and go on; ask POST {PREFIX}index.", "unavailable")
            await asyncio.sleep(_LOOK_S)

    def _failures(self) -> dict[int, int]:
        return {board.pid: board.counters["load_failures"] for board in boards_of(self._run)}

    def _is_allowed(self, scope: Mapping[str, Any]) -> bool:
        try:
            authorise(self._settings, dict(scope["headers"]), "GET", server=scope.get("server"))
        except ControlRefused:
            return False
        return True


def _ready_only(body: Mapping[str, Any]) -> bool:
    wanted = body.get("ready", False)
    if not isinstance(wanted, bool):
        raise ControlRefused(f"ready: expected true or false, got {wanted!r}.", "invalid")
    return wanted


def _parameters(body: Mapping[str, Any]) -> str | None:
    """The version that is named. `unload_dependents` says nothing here: no model depends on another one."""
    parameters = body.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ControlRefused("parameters: expected a JSON object.", "invalid")
    unknown = sorted(set(parameters) - {"version", "unload_dependents"})
    if unknown:
        raise ControlRefused(f"Parameter {unknown[0]!r} is not known here: register the model with `serinus models "
                             "register`; the parameter 'version' names a version to load.", "invalid")
    version = parameters.get("version")
    if version is not None and not isinstance(version, str):
        raise ControlRefused(f"parameters.version: expected a string like \"2\", got {version!r}.", "invalid")
    return version
