"""The request line as a plain ASGI application, for tests and for mounting into an application of one's own."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serinus.models.adapters import adapter_of
from serinus.models.loading import load
from serinus.models.model import Model
from serinus.models.signature import Signature
from serinus.models.trust import Trust
from serinus.models.version import check_name
from serinus.serving.answering import Answering
from serinus.serving.app import App, Receive, Scope, Send
from serinus.serving.board import Board
from serinus.serving.caller_keys import CallerKeys
from serinus.serving.callers import Callers
from serinus.serving.errors import SerinusError
from serinus.serving.expectations import declared, guard_for, guard_of
from serinus.serving.home import Home, RunFolder
from serinus.serving.pipeline import Pipeline
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.router import Loaded, Router, Target
from serinus.serving.served_models import open_registry
from serinus.serving.settings import LogSettings, Settings
from serinus.serving.telemetry import Tracing
from serinus.serving.telemetry.metrics import collect
from serinus.serving.telemetry.sdk_metrics import SdkMetrics, users_meters
from serinus.serving.worker import prepared

__all__ = ["EmbeddedApp", "create_app"]

UNREGISTERED = "0"
"""The version of a model that lives in memory only."""


def create_app(models: Mapping[str, object], settings: Settings | None = None) -> EmbeddedApp:
    """An ASGI application with the endpoints of a server: the protocols, metadata, `/metrics`.

    One process, no steward and no store: what is served is served until the end, control calls are 404, and nothing is
    compared with a reference. For that run `serinus serve`, or a `DriftMonitor` beside the application.

    Args:
        models: by name, what answers: a fitted estimator, an ONNX model in memory, a `Model`, the path of an
            artifact, or the tag of a registered version. What has no version in the registry is version "0".
        settings: limits, home, log …; without them nothing is written: the prediction log is off.

    Raises:
        ModelError: something among `models` cannot be served; the sentence says what and why.
    """
    resolved = settings or Settings(log=LogSettings(enabled=False))
    found = {check_name(name): _loaded(model, resolved) for name, model in models.items()}
    return EmbeddedApp(found, resolved)


class EmbeddedApp:
    """What `create_app` gives. It is ready at once; its lifespan only closes it, and so does `close`."""

    def __init__(self, models: Mapping[str, tuple[str, Loaded]], settings: Settings) -> None:
        folder = tempfile.TemporaryDirectory(prefix="serinus-")  # for the counts that /metrics gives
        run = RunFolder(Path(folder.name))
        self._board = Board(run.boards)
        self._router = Router(lambda name, _: models[name][1])
        self._pipeline = Pipeline(self._router, self._board, settings.limits, settings.log.on_error)
        self._pipeline.callers = Callers.wanted(settings.routing)
        self._pipeline.answering = Answering.wanted(settings.referral, settings.security, self._board)
        if settings.log.enabled:
            self._pipeline.log = SegmentWriter(Home(settings.home).log, self._pipeline.writer,
                                               settings.log.segment_bytes)
            self._pipeline.log_share = settings.log.sample_share
            self._pipeline.keys = CallerKeys.wanted(settings.log, Home(settings.home), self._pipeline.writer)
        self._tracing = Tracing({}, enabled=settings.telemetry.traces == "on", on_counts=self._board.span_counts)
        for name, (version, _) in models.items():
            self._router.load(name, version)
            self._router.flip(name, Target(version, None, 0, "", ()))
        self._app = App(settings, self._router, self._pipeline, self._board, self._tracing, run.boards)
        self._app.ready = True
        meters = users_meters()
        told = None if meters is None else SdkMetrics(
            meters, lambda: collect(run.boards, None, settings.telemetry.cost_per_cpu_hour))
        self._end = weakref.finalize(self, _close, told, self._pipeline, self._tracing, self._router, self._board,
                                     folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    def close(self) -> None:
        """End the log's segment, send the last spans and let the models go. Requests are not answered any more."""
        self._app.draining = True
        self._end()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def _close(told: SdkMetrics | None, pipeline: Pipeline, tracing: Tracing, router: Router, board: Board,
           folder: tempfile.TemporaryDirectory[str]) -> None:
    pipeline.close()
    if told is not None:
        told.freeze()
    tracing.close()
    router.close()
    board.close()
    folder.cleanup()


def _loaded(model: object, settings: Settings) -> tuple[str, Loaded]:
    """Version and model of whatever was given."""
    if isinstance(model, str | Path):
        return _from_home(model, settings)
    if isinstance(getattr(model, "signature", None), Signature):
        ready: Any = model
        return UNREGISTERED, _guarded(prepared(ready, "function"), settings)
    adapter = adapter_of(model)
    return UNREGISTERED, _guarded(prepared(adapter.wrap(model), adapter.name), settings)


def _guarded(loaded: Loaded, settings: Settings) -> Loaded:
    """With what the signature itself declares of the values."""
    signature = loaded.model.signature
    guard = guard_for(declared(signature), signature, settings.home, settings.validation.mode)
    return loaded._replace(guard=guard)


def _from_home(source: str | Path, settings: Settings) -> tuple[str, Loaded]:
    trust = Trust(settings.home)
    if Path(source).exists():
        return UNREGISTERED, _guarded(prepared(load(source, trust=trust), _kind(Path(source))), settings)
    if isinstance(source, Path):
        raise SerinusError(f"{source} does not exist; give the path of a model's artifact, or a tag NAME:VERSION.")
    registry = open_registry(settings)
    found = registry.get(*registry.resolve(source))
    model: Model = registry.load(found, trust=trust)
    guard = guard_of(found, registry, settings.validation.mode)
    return found.version, prepared(model, found.adapter)._replace(guard=guard)


def _kind(path: Path) -> str:
    from serinus.models.adapters import adapter_for, find_artifact

    return adapter_for(find_artifact(path)).name
