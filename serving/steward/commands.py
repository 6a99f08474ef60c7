"""The verbs of a rollout, as a person or a script gives them, on a store and a registry."""

from __future__ import annotations

import time
from typing import Any

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.serving.errors import ControlRefused
from serinus.serving.rollout import controller
from serinus.serving.rollout.controller import Outcome
from serinus.serving.rollout.errors import RolloutError
from serinus.serving.rollout.state import Plan
from serinus.serving.steward.job import Shared
from serinus.serving.store import Store
from serinus.serving.veto import read_vetoes

__all__ = ["carry_out", "perform"]

_SIMPLE = {"pause": controller.pause, "resume": controller.resume, "abort": controller.abort}


def carry_out(shared: Shared, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one control call as a JSON object; a refusal has `error` and `kind`. Raises `StoreError` only."""
    model = str(request.get("model", ""))
    try:
        if read_vetoes(shared.home.vetoes).by_model.get(model) is not None:
            raise ControlRefused(f"A rollback of {model!r} is still being carried into the store. Try again.")
        if shared.is_behind():
            raise ControlRefused("The store has lost records, which are being restored. Try again.", "unavailable")
        outcome = perform(shared.store, shared.registry, model, request)
    except ControlRefused as error:
        return {"error": str(error), "kind": error.kind}
    except RolloutError as error:
        return {"error": str(error), "kind": "refused"}
    except ModelError as error:
        return {"error": str(error), "kind": "not_found"}
    shared.publish()
    return {"record": outcome.record.to_dict(), "notice": outcome.notice}


def perform(store: Store, registry: Registry, model: str, request: dict[str, Any]) -> Outcome:
    """Let a verb happen. `request` has `verb`, `actor`, `reason`, and for `start` `version` and `steps` (percents).

    Raises `ControlRefused`, `RolloutError`, `ModelError` or `StoreError`.
    """
    actor, reason = str(request.get("actor", "api")), str(request.get("reason", ""))
    match request.get("verb"):
        case "start":
            return _start(store, registry, model, request, actor, reason)
        case "promote":
            return controller.promote(store, model, actor, now=time.time(), reason=reason,
                                      force=bool(request.get("force", False)))
        case verb if verb in _SIMPLE:
            return _SIMPLE[verb](store, model, actor, now=time.time(), reason=reason)
        case verb:
            raise ControlRefused(f"There is no verb {verb!r}.", "not_found")


def _start(store: Store, registry: Registry, model: str, request: dict[str, Any], actor: str,
           reason: str) -> Outcome:
    version = request.get("version")
    if version is None:
        raise ControlRefused('A start names its candidate: {"version": "2", "steps": "5,25,50"}.', "invalid")
    candidate = registry.get(*registry.resolve(f"{model}:{version}"))
    _ensure_stable(store, registry, model)
    record = store.record(model)
    if record is not None and record.stable is not None:
        older = registry.get(model, record.stable).signature
        problems = candidate.signature.incompatibilities(older)
        if problems:
            raise ControlRefused(f"{candidate.tag} cannot answer every request that version {record.stable} answers: "
                                 f"{' '.join(problems)}", "refused")
    steps = request.get("steps", "100")
    plan = Plan.from_percents(",".join(map(str, steps)) if isinstance(steps, list) else str(steps))
    return controller.start(store, model, candidate.version, candidate.digest, plan, actor, now=time.time(),
                            reason=reason, force=bool(request.get("force", False)))


def _ensure_stable(store: Store, registry: Registry, model: str) -> None:
    """Before any server ran, the first registered version counts as stable."""
    if store.record(model) is None:
        first = registry.get(model, registry.versions(model)[0])
        controller.set_stable(store, model, first.version, first.digest, "serinus", now=time.time(),
                              reason="first registered version")
