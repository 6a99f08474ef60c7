"""BentoML's side of the seam: the service, whose worker hands our paths to our own application.

`to_asgi` is BentoML's hook for owning the application. Our dispatcher stands before BentoML's middlewares, which cost
ten times a bare route and build spans whatever the sampler says; everything else (`/livez`, `/readyz`,
`/schema.json`, life cycle, supervisor, `bentoml build`) stays BentoML's.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import bentoml

from serinus.serving.app import Inner
from serinus.serving.settings import Settings
from serinus.serving.worker import Worker, make_worker

__all__ = ["Predictor", "SerinusService", "service"]

_CHECK_DELAY_S = 1.0


class SerinusService(bentoml.Service[Any]):
    """A BentoML service that answers our paths itself."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """Our dispatcher around BentoML's application."""
        Predictor.worker = make_worker(_inner(super().to_asgi(is_main)))
        return Predictor.worker.app


class Predictor:
    """The service's inner class: BentoML's life-cycle hooks, and the typed door that its client looks for."""

    worker: ClassVar[Worker | None] = None

    @bentoml.on_deployment
    @staticmethod
    def in_supervisor() -> None:
        """Runs once in the supervisor, before it starts the workers."""
        _look_after_workers()

    @bentoml.on_startup
    async def start(self) -> None:
        """Runs in each worker before it accepts requests."""
        if self.worker is not None:
            await self.worker.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Runs in each worker after its last request."""
        if self.worker is not None:
            await self.worker.stop()

    async def __is_ready__(self) -> bool:
        """What `/readyz` says; a 503 carries the reason."""
        from starlette.exceptions import HTTPException

        ready, why = self.worker.app.readiness() if self.worker is not None else (False, "The worker is starting.")
        if not ready:
            raise HTTPException(503, why)
        return True

    @bentoml.api(route="/predict")
    async def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Predict for rows given as objects with one value per column. Answered by our own application."""
        raise NotImplementedError("the dispatcher answers /predict")


def _inner(app: Any) -> Inner:
    """BentoML's application with its exact paths: it counts requests by path, and anybody may invent these."""
    from bentoml._internal.context import server_context
    from starlette.routing import Mount

    server_context.service_routes = []  # else it tells of no requests to /predict, which are not its own
    mounts = [route for route in app.routes if isinstance(route, Mount)]
    paths = {route.path for route in app.routes if route not in mounts}
    for mount in mounts:
        files: Any = mount.app  # Starlette's StaticFiles
        root = Path(files.directory)
        paths |= {f"{mount.path}/{file.relative_to(root).as_posix()}" for file in root.rglob("*") if file.is_file()}
    return Inner(app, frozenset(paths), _metrics)


def _metrics() -> bytes:
    """What BentoML has counted in all workers."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    client: Any = BentoMLContainer.metrics_client.get()
    assert client.registry is not None  # made now: without one it fails as the process ends
    return bytes(client.generate_latest())


def _look_after_workers() -> None:
    """Have the supervisor look for dead workers every second (BentoML: ten), in containers too (BentoML: never)."""
    from circus.arbiter import Arbiter
    from circus.watcher import Watcher

    Arbiter.__init__ = _with(Arbiter.__init__, check_delay=_CHECK_DELAY_S)
    Watcher.__init__ = _with(Watcher.__init__, respawn=True)


def _with(function: Any, **fixed: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **given: Any) -> Any:
        return function(*args, **{**given, **fixed})

    return wrapped


_settings = Settings.handed_over()

service = bentoml.service(
    name="serinus_service",
    service_class=SerinusService,
    workers=_settings.server.workers,
    tracing={"excluded_urls": ".*"},  # its ASGI middleware records spans even at sample rate 0
    logging={"access": {"enabled": False}},
    metrics={"enabled": True},  # of its own paths; our /metrics holds them
)(Predictor)
