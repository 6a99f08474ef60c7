"""Plan files: what a person writes about a rollout, in TOML, YAML or JSON, and the schema of it.

    steps = [5, 25, 50]          # percent
    rollback_window_s = 604800

    [judgement]                  # leave it out to take every step by hand
    step_s = 600
    soak_s = 3600

Everything but the steps has a default. Shares within `judgement` are in basis points, as its own page says.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from serinus.serving.rollout.errors import PlanInvalid
from serinus.serving.rollout.judgement import LIMITS, LONGEST_EVENT, MOST_EVENTS, Judgement
from serinus.serving.rollout.state import DEFAULT_ROLLBACK_WINDOW_S, Plan

__all__ = ["parse", "read", "schema", "to_document"]

_TYPES = {bool: "boolean", int: "integer", float: "number"}
_KEYS = ("steps", "rollback_window_s", "judgement")
_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


def read(path: Path) -> Plan:
    """The plan in a file that ends in .toml, .yaml, .yml or .json. Raises PlanInvalid."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise PlanInvalid(f"Plan file {path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanInvalid(f"Plan file {path} cannot be read: {error}.") from None
    return parse(_document(text, path), f"plan file {path}")


def parse(document: Any, where: str = "the plan") -> Plan:
    """The plan in a document; `where` it stands is told in errors. Raises PlanInvalid."""
    if not isinstance(document, dict):
        raise PlanInvalid(f"{where[0].upper()}{where[1:]}: expected a table with steps, got "
                          f"{type(document).__name__}.")
    _check_keys(document, _KEYS, where)
    judgement = document.get("judgement")
    if judgement is not None:
        if not isinstance(judgement, dict):
            raise PlanInvalid(f"Key 'judgement' of {where}: expected a table, got {judgement!r}.")
        _check_keys(judgement, tuple(field.name for field in fields(Judgement)), f"judgement of {where}")
    plan = Plan.from_percents(_percents(document.get("steps"), where))
    window = document.get("rollback_window_s", DEFAULT_ROLLBACK_WINDOW_S)
    if isinstance(window, bool) or not isinstance(window, int | float):
        raise PlanInvalid(f"Key 'rollback_window_s' of {where}: expected seconds, got {window!r}.")
    made = None if judgement is None else Judgement.from_dict(judgement)
    return Plan(plan.steps, made is None, float(window), made)


def to_document(plan: Plan) -> dict[str, Any]:
    """The document that `parse` reads the plan from."""
    document: dict[str, Any] = {"steps": [step / 100 for step in plan.steps],
                                "rollback_window_s": plan.rollback_window_s}
    return document if plan.judgement is None else document | {"judgement": plan.judgement.to_dict()}


def schema() -> dict[str, Any]:
    """The JSON schema of a plan file; made from the values themselves, so that it cannot differ from them."""
    types, told = get_type_hints(Judgement), _described()
    properties = {field.name: _property(types[field.name], field.default, told.get(field.name, ""),
                                        LIMITS.get(field.name)) for field in fields(Judgement)}
    step = {"type": "number", "exclusiveMinimum": 0, "maximum": 100}
    return {
        "$schema": _SCHEMA, "title": "Plan of a Serinus rollout", "type": "object",
        "required": ["steps"], "additionalProperties": False,
        "properties": {
            "steps": {"description": "Shares of the requests that the candidate answers, in percent, rising.",
                      "anyOf": [{"type": "array", "minItems": 1, "uniqueItems": True, "items": step},
                                {"type": "string", "examples": ["5,25,50"]}]},
            "rollback_window_s": {"description": "How long the old stable version stays loaded after a promotion, in "
                                                 "seconds.",
                                  "type": "number", "minimum": 0, "default": DEFAULT_ROLLBACK_WINDOW_S},
            "judgement": {"description": "How the rollout judges itself; without it a person takes every step.",
                          "type": "object", "additionalProperties": False, "properties": properties},
        },
    }


def _document(text: str, path: Path) -> Any:
    try:
        match path.suffix.lower():
            case ".toml":
                return tomllib.loads(text)
            case ".yaml" | ".yml":
                return _yaml(text)
            case ".json":
                return json.loads(text)
    except ValueError as error:
        raise PlanInvalid(f"Plan file {path} is not valid {path.suffix[1:].upper()}: {_on_one_line(error)}.") from None
    raise PlanInvalid(f"Plan file {path}: expected a name that ends in .toml, .yaml, .yml or .json.")


def _yaml(text: str) -> Any:
    import yaml  # only who writes YAML waits for it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error) from None


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".")


def _check_keys(document: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in document:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            raise PlanInvalid(f"Unknown key {key!r} in {where}. {hint}")


def _percents(steps: Any, where: str) -> str:
    if isinstance(steps, str):
        return steps
    numbers = isinstance(steps, list) and all(
        isinstance(step, int | float) and not isinstance(step, bool) for step in steps)
    if not numbers:
        raise PlanInvalid(f"Key 'steps' of {where}: expected percents such as [5, 25, 50], got {steps!r}.")
    return ",".join(map(str, steps))


def _property(kind: Any, default: Any, description: str, limits: tuple[float, float] | None) -> dict[str, Any]:
    choices = get_args(kind)
    if get_origin(kind) is tuple:
        found: dict[str, Any] = {"type": "array", "uniqueItems": True, "maxItems": MOST_EVENTS,
                                 "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_EVENT}}
        default = list(default)
    elif isinstance(kind, UnionType):
        found = {"type": [_TYPES[choice] for choice in choices]}
    else:
        found = {"enum": list(choices)} if choices else {"type": _TYPES[kind]}
    if limits is not None:
        found |= {"minimum": limits[0], "maximum": limits[1]}
    return {"description": description, **found, "default": default} if description else {**found, "default": default}


def _described() -> dict[str, str]:
    """The sentence below each field of `Judgement`, by the field's name."""
    (tree,) = ast.parse(inspect.getsource(Judgement)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for line, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(following, ast.Expr):
            found[line.target.id] = " ".join(str(ast.literal_eval(following.value)).split())
    return found
