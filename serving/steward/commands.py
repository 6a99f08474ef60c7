"""The verbs of a rollout, as a person or a script gives them, on a store and a registry."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.monitors.alerts import UnknownAlert
from serinus.serving.alerting import change_book, message_counts
from serinus.serving.errors import ControlRefused
from serinus.serving.gates import objection
from serinus.serving.predictions import ground_truth_of
from serinus.serving.published_alerts import as_document, publish
from serinus.serving.rollout import controller, plan_file, verdicts
from serinus.serving.rollout.controller import Outcome
from serinus.serving.rollout.errors import RolloutError
from serinus.serving.rollout.state import Plan
from serinus.serving.steward.forget import forget
from serinus.serving.steward.job import Shared
from serinus.serving.store import Store
from serinus.serving.veto import read_vetoes

__all__ = ["carry_out", "look", "perform"]

_SIMPLE = {"approve": controller.approve, "pause": controller.pause, "resume": controller.resume,
           "abort": controller.abort, "freeze": controller.freeze}
_READING = ("journal", "analysis")
_MOST = 1_000_000


def carry_out(shared: Shared, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one control call as a JSON object; a refusal has `error` and `kind`. Raises `StoreError` only."""
    model = str(request.get("model", ""))
    try:
        if request.get("verb") == "ground_truth":
            return {"ground_truth": ground_truth_of(shared.store, shared.settings.ground_truth,
                                                    str(request.get("prediction_id", "")))}
        if request.get("verb") == "forget":
            shared.truths_forgotten = shared.rows_forgotten = True
            return {"truths": forget(shared.store, shared.home, request)}
        if request.get("verb") == "acknowledge":
            return {"alert": _acknowledge(shared, request)}
        if request.get("verb") in _READING:
            return look(shared.store, model, request)
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


def _acknowledge(shared: Shared, request: dict[str, Any]) -> dict[str, Any]:
    """Somebody looks after an alert; who reads the alerts next sees it. Raises `ControlRefused` or `StoreError`."""
    now, by = time.time(), str(request.get("actor", "api"))
    try:
        book = change_book(shared.store, lambda found: found.acknowledge(str(request["alert"]), by, now))
    except UnknownAlert as error:
        raise ControlRefused(str(error), "not_found") from None
    publish(shared.home.run, as_document(book, message_counts(shared.store), now))
    return asdict(book.find(str(request["alert"])))


def look(store: Store, model: str, request: dict[str, Any]) -> dict[str, Any]:
    """What the store knows of a model's rollouts: the `journal` behind entry `after`, or the latest `analysis`.

    Raises `ControlRefused` or `StoreError`.
    """
    record = store.record(model)
    if record is None:
        known = ", ".join(sorted(store.records())) or "no model"
        raise ControlRefused(f"Nothing is known of a rollout of {model!r}; known: {known}.", "not_found")
    if request["verb"] == "analysis":
        return verdicts.analysis(record, verdicts.read(store, model), time.time(),
                                 verdicts.read_reverse(store, model))
    after, limit = (_whole(request.get(name, usual), name) for name, usual in (("after", 0), ("limit", 1000)))
    entries = store.journal(model, after=after, limit=min(limit, _MOST))
    return {"entries": [{**asdict(entry), "body": dict(entry.body)} for entry in entries]}


def _whole(value: Any, name: str) -> int:
    if isinstance(value, int | str) and str(value).isascii() and str(value).isdigit() and len(str(value)) <= 18:
        return int(value)
    raise ControlRefused(f"{name}: expected a whole number, 0 or more, got {value!r}.", "invalid")


def perform(store: Store, registry: Registry, model: str, request: dict[str, Any]) -> Outcome:
    """Let a verb happen. `request` has `verb`, `actor`, `reason`, and for `start` `version` and either `plan`, as a
    plan file has it, or `steps` (percents) that a person takes.

    Raises `ControlRefused`, `RolloutError`, `ModelError` or `StoreError`.
    """
    actor, reason = str(request.get("actor", "api")), str(request.get("reason", ""))
    match request.get("verb"):
        case "start":
            return _start(store, registry, model, request, actor, reason)
        case "retry":
            return _retry(store, registry, model, request, actor, reason)
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
    record, plan, force = store.record(model), _plan(request), bool(request.get("force", False))
    if record is not None and record.stable is not None:
        older = registry.get(model, record.stable).signature
        problems = candidate.signature.incompatibilities(older)
        if problems:
            raise ControlRefused(f"{candidate.tag} cannot answer every request that version {record.stable} answers: "
                                 f"{' '.join(problems)}", "refused")
    against = objection(registry, candidate, plan)
    if against and not force:
        raise ControlRefused(f"{against} Evaluate it anew, or use --force to answer for it yourself.", "refused")
    return controller.start(store, model, candidate.version, candidate.digest, plan, actor, now=time.time(),
                            reason=reason, force=force, details={"objection": against} if against else None)


def _plan(request: dict[str, Any]) -> Plan:
    plan = request.get("plan")
    if plan is not None:
        return plan if isinstance(plan, Plan) else plan_file.parse(plan, "plan")
    steps = request.get("steps", "100")
    return Plan.from_percents(",".join(map(str, steps)) if isinstance(steps, list) else str(steps))


def _retry(store: Store, registry: Registry, model: str, request: dict[str, Any], actor: str, reason: str) -> Outcome:
    """The latest candidate once more, by the same plan."""
    record = store.record(model)
    starts = [entry for entry in store.journal(model, limit=_MOST) if entry.kind == "start"]
    if record is None or record.plan is None or not starts:
        raise ControlRefused(f"No version of {model!r} was ever tried, so there is nothing to try again: start one.")
    return _start(store, registry, model, {**request, "version": starts[-1].body["candidate"], "plan": record.plan},
                  actor, reason)


def _ensure_stable(store: Store, registry: Registry, model: str) -> None:
    """Before any server ran, the first registered version counts as stable."""
    if store.record(model) is None:
        first = registry.get(model, registry.versions(model)[0])
        controller.set_stable(store, model, first.version, first.digest, "serinus", now=time.time(),
                              reason="first registered version")
