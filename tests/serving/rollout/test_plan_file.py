"""Plan files: three ways to write the same plan, one schema that says what the values say."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from serinus.serving.rollout import Judgement, Plan, PlanInvalid
from serinus.serving.rollout.judgement import LIMITS
from serinus.serving.rollout.plan_file import parse, read, schema, to_document

TOML = """
steps = [5, 25.5, 50]
rollback_window_s = 3600
[judgement]
shadow = 500
step_s = 60
approve = true
unproven = "stay"
"""
PLAN = Plan((500, 2550, 5000), False, 3600.0,
            Judgement(shadow=500, step_s=60, approve=True, unproven="stay"))
YAML = """
steps: [5, 25.5, 50]
rollback_window_s: 3600
judgement: {shadow: 500, step_s: 60, approve: true, unproven: stay}
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(("name", "text"), [("plan.toml", TOML), ("plan.yaml", YAML), ("plan.yml", YAML),
                                            ("plan.json", json.dumps(tomllib.loads(TOML)))])
def test_three_ways_to_write_one_plan(name: str, text: str, tmp_path: Path) -> None:
    """TOML, YAML and JSON give the same plan, and the same digest."""
    plan = read(write(tmp_path, name, text))
    assert plan == PLAN and plan.digest == PLAN.digest


def test_a_plan_may_be_written_again() -> None:
    """What a plan is written as is read as the same plan, down to a hundredth of a percent."""
    for plan in (PLAN, Plan((1, 29, 5801, 10_000)), Plan((5,), False, 0.0, Judgement())):
        assert parse(json.loads(json.dumps(to_document(plan)))) == plan


def test_a_plan_without_a_judgement_is_taken_by_hand() -> None:
    """Steps alone are enough; an empty judgement is the default one."""
    assert parse({"steps": "5,50"}) == Plan((500, 5000))
    assert parse({"steps": [5], "judgement": {}}).judgement == Judgement()


@pytest.mark.parametrize(("document", "sentence"), [
    ({"stpes": [5]}, "Unknown key 'stpes' in the plan. Did you mean 'steps'?"),
    ({"steps": [5], "judgement": {"setp_s": 1}},
     "Unknown key 'setp_s' in judgement of the plan. Did you mean 'step_s'?"),
    ({"steps": [5], "zzz": 1}, "Known: steps, rollback_window_s, judgement."),
    ({}, "expected percents such as [5, 25, 50], got None"),
    ({"steps": [True]}, "expected percents such as"),
    ({"steps": [5, float("nan")]}, "finer than 0.01 percent"),
    ({"steps": [1e300]}, "must be 1 to 10000 basis points"),
    ({"steps": [5], "rollback_window_s": "a week"}, "expected seconds, got 'a week'"),
    ({"steps": [5], "judgement": []}, "expected a table, got []"),
    ({"steps": [5], "judgement": {"alpha": 0.9}}, "A plan's alpha must be a number from 1e-06 to 0.5, got 0.9."),
    ({"steps": [5], "judgement": {"approve": "yes"}}, "approve must be a whole number from 0 to 5, got 'yes'."),
    ({"steps": [5], "judgement": {"unproven": "guess"}}, "unproven is promote or stay"),
    ([5], "The plan: expected a table with steps, got list."),
])
def test_what_is_wrong_is_one_sentence(document: Any, sentence: str) -> None:
    """What, where, and what is known instead."""
    with pytest.raises(PlanInvalid) as caught:
        parse(document)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text", "sentence"), [
    ("plan.toml", "steps = [", "is not valid TOML"), ("plan.yaml", "steps: [", "is not valid YAML"),
    ("plan.json", "{", "is not valid JSON"), ("plan.ini", "", "expected a name that ends in .toml"),
    ("plan.toml", "\ud800", "cannot be read"),
])
def test_a_file_that_cannot_be_read(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    """Broken files name themselves; nothing is guessed from a strange ending."""
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PlanInvalid, match=f"Plan file .*{name}.*{sentence}"):
        read(path)
    with pytest.raises(PlanInvalid, match="no such file"):
        read(tmp_path / "absent.toml")


def test_the_schema_says_what_the_values_say() -> None:
    """Every field of a judgement stands in the schema with its default, its limits and a description."""
    found = schema()["properties"]["judgement"]["properties"]
    assert set(found) == {field.name for field in fields(Judgement)}
    for field in fields(Judgement):
        assert found[field.name]["default"] == (list(field.default) if isinstance(field.default, tuple)
                                                else field.default)
        assert found[field.name]["description"].endswith(".")
    assert {name: (found[name]["minimum"], found[name]["maximum"]) for name in LIMITS} == dict(LIMITS)


@pytest.mark.parametrize("document", [tomllib.loads(TOML), {"steps": "5,50"}, {"steps": [100], "judgement": {}},
                                      {"steps": [5], "judgement": {"events": ["complaint"]}}])
def test_the_schema_accepts_what_is_accepted(document: Any) -> None:
    """A sound plan passes both."""
    assert jsonschema_rs.is_valid(schema(), document)
    assert parse(document).steps


@pytest.mark.parametrize("document", [{}, {"steps": []}, {"steps": [0]}, {"steps": [101]}, {"steps": [5], "more": 1},
                                      {"steps": [5], "judgement": {"alpha": 0.9}},
                                      {"steps": [5], "judgement": {"shadow": 0.5}},
                                      {"steps": [5], "judgement": {"unproven": "guess"}},
                                      {"steps": [5], "judgement": {"events": "complaint"}},
                                      {"steps": [5], "judgement": {"events": ["a", "a"]}},
                                      {"steps": [5], "judgement": {"setp_s": 1}}, {"steps": [5], "judgement": 1}])
def test_the_schema_refuses_what_is_refused(document: Any) -> None:
    """A plan that is not sound passes neither."""
    assert not jsonschema_rs.is_valid(schema(), document)
    with pytest.raises(PlanInvalid):
        parse(document)
