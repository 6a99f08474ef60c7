"""Verdicts of the evaluation gate, as they are kept with a version."""

from __future__ import annotations

from typing import Any

import orjson

from serinus.models.registry import Registry
from serinus.models.version import ModelVersion
from serinus.serving.rollout.state import Plan

__all__ = ["FOLDER", "last_gate", "last_verdict", "objection"]

FOLDER = "gates"
"""Attachments of a version: `gates/SHA/gate.json`, and beside it the card and the bill of materials."""


def last_gate(registry: Registry, version: ModelVersion) -> dict[str, Any] | None:
    """The newest verdict on a version, as `gate.json` has it; None where it was never judged."""
    names = [name for name in registry.attachments(version) if name.startswith(f"{FOLDER}/")
             and name.endswith("/gate.json")]
    found = [orjson.loads(registry.attachment(version, name)) for name in names]
    return max(found, key=lambda document: str(document["at"]), default=None)


def last_verdict(registry: Registry, version: ModelVersion) -> dict[str, Any] | None:
    """The newest verdict in few words: of which rows, by which digest, and who answers for it."""
    gate = last_gate(registry, version)
    if gate is None:
        return None
    details = [check["details"] for check in gate["checks"] if check["name"] == "provenance" and check["details"]]
    return {**{name: gate[name] for name in ("verdict", "sentence", "data", "digest", "rows", "against", "at")},
            "approver": details[0]["approver"] if details else ""}


def objection(registry: Registry, version: ModelVersion, plan: Plan) -> str:
    """Why a plan does not let a version be tried, by its evaluation; empty when it does."""
    wanted = plan.judgement.gate if plan.judgement is not None else "no_fail"
    gate = last_gate(registry, version)
    verdict = "none" if gate is None else str(gate["verdict"])
    if wanted == "ignore" or verdict == "pass" or (wanted == "no_fail" and verdict != "fail"):
        return ""
    if gate is None:
        return f"{version.tag} was never evaluated, and its plan wants that it passes."
    what = {"fail": "fails", "undecided": "does not decide"}[verdict]
    return f"The evaluation of {version.tag} on {gate['data']} {what}: {gate['sentence']}"
