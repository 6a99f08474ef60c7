"""Every call that a client makes, as a value: the same for both clients, and without any connection."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from serinus.models.signature import Signature
from serinus.serving.client import answer, documents, inputs
from serinus.serving.client.answer import Answer
from serinus.serving.client.call import Call, Resend, get, post
from serinus.serving.client.documents import Alert, Explanation, Monitored, Receipt, RolledBack, Rollout, ServedModel
from serinus.serving.client.errors import ClientError
from serinus.serving.client.inputs import Columns, Rows, Tensors, arrow_table
from serinus.serving.protocols.documents import dumps
from serinus.serving.request import is_request_id
from serinus.serving.store import JournalEntry

__all__ = ["acknowledge", "act", "alerts", "analysis", "explain", "explain_prediction", "feedback", "ground_truth",
           "journal", "models", "monitors", "outcomes", "performance", "predict", "prediction", "ready", "roll_back",
           "signature", "start", "status"]

JOURNAL_PAGE = 1000
_OUTCOMES = 50_000
"""Outcomes in one body: half of what a server takes unless it is told otherwise."""


def predict(model: str, sent: Rows | Columns | Tensors, takes: Signature | None, *, routing_key: str | None,
            keys: str | Sequence[str] | None, request_id: str | None, novelty: bool,
            headers: Mapping[str, str]) -> Call[Answer]:
    """An inference request. `takes` is the model's signature, where the inputs are large enough to look at it."""
    if request_id is not None and not is_request_id(request_id):
        raise ClientError(f"request_id: expected up to 128 letters, digits, '.', '_', ':' and '-', got {request_id!r}.")
    said = dict(headers) | {"x-request-id": request_id or str(uuid.uuid4())}
    if routing_key is not None:
        said["x-routing-key"] = routing_key
    if keys is not None:
        said["x-prediction-key"] = _listed(keys)
    if novelty:
        said["x-serinus-explain"] = "novelty"
    name, _, version = model.partition(":")
    place = quote(name, safe="") + (f"/versions/{quote(version, safe='')}" if version else "")
    if not isinstance(sent, Rows) and takes is not None and (packed := inputs.to_tensors(sent, takes)) is not None:
        return Call("POST", f"/v2/models/{place}/infer", answer.read_tensors(packed.rows), packed.body,
                    said | packed.headers, Resend.ALWAYS)
    assert not isinstance(sent, Tensors), "arrays need the model's signature"
    document = inputs.to_document(sent)
    return Call("POST", f"/predict/{place}", answer.read_rows, document.body, said | document.headers, Resend.ALWAYS)


def prediction(prediction_id: str) -> Call[dict[str, Any]]:
    """One logged prediction, with what became of it."""
    return get(f"/api/predictions/{quote(prediction_id, safe='')}", dict)


def explain(model: str, sent: Rows | Columns | Tensors) -> Call[tuple[Explanation, ...]]:
    """Why rows are answered as they are."""
    body = dumps({"instances": inputs.to_instances(sent)})
    return Call("POST", f"/v1/models/{quote(model, safe='')}:explain", lambda reply: tuple(
        Explanation.read(one) for one in reply.json()["explanations"]), body, {"content-type": "application/json"},
        Resend.ALWAYS)


def explain_prediction(model: str, prediction_id: str) -> Call[Explanation]:
    """Why a prediction of the log is as it is."""
    return post(f"/api/explain/{quote(model, safe='')}", {"prediction_id": prediction_id}, Explanation.read,
                Resend.ALWAYS)


def performance(model: str) -> Call[dict[str, Any]]:
    """What answers turned out to be worth, by version and hour."""
    return get(f"/api/performance/{quote(model, safe='')}", dict)


def signature(model: str) -> Call[Signature]:
    """What a model takes and gives."""
    name, _, version = model.partition(":")
    return get(f"/v2/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else ""),
               documents.read_signature)


def ready() -> Call[bool]:
    """Whether requests can be answered."""
    return Call("GET", "/v2/health/ready", lambda reply: bool(reply.json()["ready"]), resend=Resend.NEVER)


def models() -> Call[tuple[ServedModel, ...]]:
    """All registered models."""
    return get("/api/models", documents.read_models)


def monitors(model: str | None) -> Call[tuple[Monitored, ...]]:
    """What the monitors see, in a model's versions or in all."""
    return get("/api/monitors" + ("" if model is None else f"/{quote(model, safe='')}"), documents.read_monitors)


def alerts() -> Call[tuple[Alert, ...]]:
    """What is wrong and lasts."""
    return get("/api/alerts", documents.read_alerts)


def acknowledge(alert_id: str, actor: str) -> Call[Alert]:
    """Somebody looks after an alert. Twice comes to the same but for an entry in the journal."""
    return post(f"/api/alerts/{quote(alert_id, safe='')}/acknowledge", {"actor": actor},
                lambda document: documents.read_alert(document["alert"]))


def ground_truth(model: str | None) -> Call[dict[str, Any]]:
    """What is known of what became of predictions."""
    return get("/api/ground-truth" + ("" if model is None else f"/{quote(model, safe='')}"), dict)


def outcomes(prediction_id: Any, value: Any, key: Any = None, **further: Any) -> list[dict[str, Any]]:
    """One outcome for each prediction id, or for each of the caller's own keys: they and the values are single ones or
    sequences of one length, and a single value is that of all. What of `further` is None or empty is left out."""
    if (prediction_id is None) == (key is None):
        raise ClientError("Feedback: expected prediction ids or keys, one of them.")
    by, named = ("prediction_id", prediction_id) if key is None else ("key", key)
    ids = [named] if isinstance(named, str) else [str(one) for one in named]
    values = [value] * len(ids) if isinstance(value, str) or np.ndim(value) == 0 else list(value)
    if len(values) != len(ids):
        raise ClientError(f"Feedback: expected one value for each of {len(ids)} predictions, got {len(values)}.")
    said = {name: _json(one) for name, one in further.items() if one not in (None, "")}
    return [{by: one, **({} if of is None else {"value": _json(of)}), **said}
            for one, of in zip(ids, values, strict=True)]


def feedback(rows: Any) -> Iterator[Call[Receipt]]:
    """Outcomes, as dicts or as a DataFrame with such columns, in bodies that a server takes. They are sent again by
    themselves where that counts once: truths do, events do not."""
    remaining, first = iter(_records(rows)), 0
    while part := [{name: _json(value) for name, value in row.items()} for row in islice(remaining, _OUTCOMES)]:
        once = any(row.get("kind") == "event" or "name" in row for row in part)
        yield post("/api/ground-truth", part, _receipt_from(first), Resend.REFUSED if once else Resend.ALWAYS)
        first += len(part)


def _records(rows: Any) -> Any:
    """The rows of a frame as dicts without its gaps; anything else as it is."""
    if hasattr(rows, "isna"):
        gaps = rows.isna()
        return [{name: value for name, value in row.items() if not gap[name]} for row, gap in zip(
            rows.to_dict("records"), gaps.to_dict("records"), strict=True)]
    if (table := arrow_table(rows)) is not None:
        return [{name: value for name, value in row.items() if value is not None and value == value}
                for row in table.to_pylist()]
    return rows


def status(model: str) -> Call[Rollout]:
    """How a rollout stands."""
    return get(f"/api/rollouts/{quote(model, safe='')}", documents.read_rollout)


def journal(model: str, after: int) -> Call[tuple[JournalEntry, ...]]:
    """A page of what happened, oldest first, behind entry `after`."""
    return get(f"/api/rollouts/{quote(model, safe='')}/journal?after={after}&limit={JOURNAL_PAGE}",
               documents.read_journal)


def analysis(model: str) -> Call[dict[str, Any]]:
    """The latest verdict, with its checks."""
    return get(f"/api/rollouts/{quote(model, safe='')}/analysis", dict)


def start(tag: str, *, plan: Mapping[str, Any] | Path | str | None, steps: str | Sequence[float], shadow: float,
          manual: bool, force: bool, actor: str, reason: str) -> Call[Rollout]:
    """Begin a rollout of `NAME:VERSION`, by a plan (a document or a file), or by steps in percent."""
    name, _, version = tag.partition(":")
    if not version:
        raise ClientError(f"Which version of {name!r}? Say '{name}:VERSION'.")
    if isinstance(plan, Path | str):
        from serinus.serving.rollout import plan_file

        plan = plan_file.to_document(plan_file.read(Path(plan)))
    if plan is None:
        plan = {"steps": steps if isinstance(steps, str) else ",".join(f"{step:g}" for step in steps)}
        plan |= {} if manual else {"judgement": {"shadow": round(shadow * 100)}}
    return act(name, "start", actor, reason, version=version, plan=plan, force=force)


def act(model: str, verb: str, actor: str, reason: str, **further: Any) -> Call[Rollout]:
    """A verb of a rollout."""
    return post(f"/api/rollouts/{quote(model, safe='')}/{verb}", {"actor": actor, "reason": reason, **further},
                documents.read_rollout)


def roll_back(model: str, to: str | None, actor: str, reason: str) -> Call[RolledBack]:
    """The previous version again, at once."""
    return post(f"/api/rollouts/{quote(model, safe='')}/rollback", {"actor": actor, "reason": reason, "to": to},
                documents.read_rolled_back)


def _receipt_from(first: int) -> Any:
    return lambda document: Receipt.read(document, first)


def _listed(keys: str | Sequence[str]) -> str:
    listed = [keys] if isinstance(keys, str) else [str(key) for key in keys]
    if strange := next((key for key in listed if "," in key or not (key.isascii() and key.isprintable())), None):
        raise ClientError(f"keys: expected printable ASCII without commas, got {strange!r}.")
    return ",".join(listed)


def _json(value: Any) -> Any:
    """A value as JSON has it: numpy's own become Python's, moments ISO text."""
    if isinstance(value, np.generic):
        return value.item()
    return value.isoformat() if hasattr(value, "isoformat") else value

