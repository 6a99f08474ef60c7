"""Outputs that are not what the signature says, callers that would be refused, conversions that answer otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.replay import replay
from serinus.monitors.evaluation.signature import Agreement, check_signature
from tests.monitors.evaluation.test_replay import Refusing, name_of, records_of, ticking
from tests.monitors.evaluation.trials import SIGNATURE, Scorer, inputs_of

OUTPUTS = Scorer().predict(inputs_of(40))


def test_what_keeps_its_word_passes() -> None:
    """Though no logged request was there to try."""
    check = check_signature(SIGNATURE, OUTPUTS, 40, not_replayed="the log has none.")
    assert check.status is Status.PASS and "No logged request was replayed: the log has none." in check.reason


@pytest.mark.parametrize(("outputs", "sentence"), [
    ({"predict": OUTPUTS["predict"]}, "Output 'predict_proba' is missing."),
    ({**OUTPUTS, "predict": OUTPUTS["predict"][:7]}, "Output 'predict' has 7 rows for 40."),
    ({**OUTPUTS, "predict": OUTPUTS["predict"].astype(float)}, "is float64, and the signature says INT64."),
    ({**OUTPUTS, "predict_proba": OUTPUTS["predict_proba"][:, 0]}, "has 1 dimensions"),
    ({**OUTPUTS, "predict_proba": OUTPUTS["predict_proba"] / 2}, "do not add up to 1: one is off by 0.5."),
])
def test_what_breaks_it_fails(outputs: Any, sentence: str) -> None:
    """Names, rows, types, shapes, probabilities."""
    check = check_signature(SIGNATURE, outputs, 40)
    assert check.status is Status.FAIL and sentence in check.reason


def test_decision_values_are_no_probabilities() -> None:
    """Nobody said that they add up to 1."""
    wild = {**OUTPUTS, "predict_proba": np.full((40, 2), -3.0)}
    assert check_signature(SIGNATURE, wild, 40).status is Status.PASS


def test_callers_of_the_current_version_must_be_answered() -> None:
    """Obstacles and refused requests fail; a replay without refusals passes."""
    assert check_signature(SIGNATURE, OUTPUTS, 40, obstacles=("Input 'x' is new and required.",)).status is Status.FAIL
    good, bad = (replay(records_of(), model, name_of=name_of, clock=ticking()) for model in (Scorer(), Refusing()))
    assert "It answers 800 logged rows." in check_signature(SIGNATURE, OUTPUTS, 40, replayed=good).reason
    assert check_signature(SIGNATURE, OUTPUTS, 40, replayed=bad).status is Status.FAIL


@pytest.mark.parametrize(("changed", "status"), [(0.0, Status.PASS), (0.01, Status.FAIL)])
def test_a_converted_version_answers_as_its_parent(changed: float, status: Status) -> None:
    """Up to one answer in a thousand."""
    check = check_signature(SIGNATURE, OUTPUTS, 40, agreement=Agreement("credit:1", changed, 1e-7))
    assert check.status is status and "credit:1" in check.reason


def test_redacted_logs_are_a_remark() -> None:
    """What could have been tried and was not."""
    assert check_signature(SIGNATURE, OUTPUTS, 40, not_replayed="email is redacted in the log.").status is Status.WARN
