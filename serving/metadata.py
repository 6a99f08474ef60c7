"""What the server says about itself and its models: health and metadata of the Open Inference Protocol and of V1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from serinus import __version__
from serinus.models.signature import Field
from serinus.serving.errors import ModelUnavailable, NotServed, RequestError
from serinus.serving.router import Arm, Router

__all__ = ["Metadata"]

Found = tuple[int, Any]
"""HTTP status and JSON document."""

_EXTENSIONS = ("binary_tensor_data", "model_repository")


class Metadata:
    """Looks up what can be asked by GET. `readiness` says whether requests can be answered, and else why not;
    `loads_by_hand` whether the repository calls are answered."""

    def __init__(self, router: Router, readiness: Callable[[], tuple[bool, str]],
                 loads_by_hand: Callable[[], bool]) -> None:
        self._router = router
        self._loads_by_hand = loads_by_hand
        self._readiness = readiness

    def look_up(self, path: str) -> Found | None:
        """Status and document of a path; None where there is nothing of this kind."""
        match path.strip("/").split("/"):
            case [""]:
                return 200, {"status": "alive"}
            case ["v2"]:
                extensions = _EXTENSIONS if self._loads_by_hand() else _EXTENSIONS[:1]
                return 200, {"name": "serinus", "version": __version__, "extensions": list(extensions)}
            case ["v2", "health", "live"]:
                return 200, {"live": True}
            case ["v2", "health", "ready"] | ["ping"]:
                ready, why = self._readiness()
                return (200, {"ready": True}) if ready else (503, {"ready": False, "error": why})
            case ["v2", "models", model, *rest] if rest != ["infer"]:
                return self._model(model, rest)
            case ["v1", "models"]:
                return 200, {"models": sorted(self._router.routes)}
            case ["v1", "models", model] if ":" not in model:
                return self._of(model, None, _ready)
        return None

    def _model(self, model: str, rest: list[str]) -> Found | None:
        match rest:
            case []:
                return self._of(model, None, self._described)
            case ["ready"]:
                return self._of(model, None, _ready)
            case ["versions", version]:
                return self._of(model, version, self._described)
            case ["versions", version, "ready"]:
                return self._of(model, version, _ready)
        return None

    def _of(self, model: str, version: str | None, say: Callable[[Arm], Any]) -> Found:
        try:
            return 200, say(self._router.arm(model, version))
        except RequestError as error:
            return (404 if isinstance(error, NotServed) else 503), {"error": str(error)}

    def _described(self, arm: Arm) -> dict[str, Any]:
        versions = [other.version for other in self._router.routes[arm.name].arms]
        return {"name": arm.name, "versions": sorted(set(versions), key=int), "platform": arm.platform,
                "inputs": [_tensor(field) for field in arm.signature.inputs],
                "outputs": [_tensor(field) for field in arm.signature.outputs],
                "parameters": {"batching": arm.batches}}


def _ready(arm: Arm) -> dict[str, Any]:
    if arm.why_unready:
        raise ModelUnavailable(arm.why_unready)
    return {"name": arm.name, "ready": True}


def _tensor(field: Field) -> dict[str, Any]:
    described = {"name": field.name, "datatype": field.datatype, "shape": list(field.shape)}
    parameters: dict[str, bool | str] = {}
    if field.optional:
        parameters["optional"] = True
    if getattr(field, "sequence", False):
        parameters["sequence"] = True
    if field.labels:
        parameters["labels"] = orjson.dumps(list(field.labels)).decode()
    return described | ({"parameters": parameters} if parameters else {})
