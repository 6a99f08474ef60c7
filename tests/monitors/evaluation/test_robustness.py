"""Rows that are a little wrong: what flips, what it costs, what is refused, and promises that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.policy import Contracts, Policy
from serinus.monitors.evaluation.robustness import check_robustness
from serinus.monitors.evaluation.trial import Answers, Trial
from tests.monitors.evaluation.trials import Scorer, classified


def _check(candidate: Scorer, current: Scorer | None = None, **promises: Any) -> Any:
    trial = classified(800, candidate=candidate, current=current)
    return check_robustness(trial, Policy(contracts=Contracts(**promises)), candidate, current)


def _change(check: Any, feature: str, change: str) -> Any:
    return next(one for one in check.details.changes if (one.feature, one.change) == (feature, change))


def test_a_calm_model_passes() -> None:
    """Noise of 1 % flips hardly an answer; every request at the edge is answered or refused."""
    check = _check(Scorer(), Scorer())
    assert check.status is Status.PASS and "no answer hangs on noise of 1 %" in check.reason
    assert {edge.name for edge in check.details.edges} == {"One row", "No row", "All gaps", "Infinity", "Huge numbers"}


def test_flips_and_costs_are_those_of_asking_again() -> None:
    """A feature times 100, by hand."""
    trial = classified(400)
    check = check_robustness(trial, Policy(), Scorer(), None)
    after = Scorer().predict({**trial.inputs, "age": trial.inputs["age"] * 100})["predict"]
    found = _change(check, "age", "× 100")
    assert found.flips == pytest.approx(np.mean(after != trial.candidate.values))
    wrong = (after != trial.truth).mean() - (trial.candidate.values != trial.truth).mean()
    assert found.cost == pytest.approx(wrong) and found.interval.holds(wrong)


def test_without_a_feature_that_matters_it_is_worse() -> None:
    """And without one that does not, the same."""
    check = _check(Scorer())
    assert _change(check, "debt", "without").interval.low > 0
    assert _change(check, "region", "without").flips == 0.0


def test_only_what_may_be_missing_is_taken_away() -> None:
    """A required feature is never missing: requests without it are refused before."""
    changes = {(one.feature, one.change) for one in _check(Scorer()).details.changes}
    assert ("debt", "missing") in changes and ("age", "missing") not in changes
    assert {change for feature, change in changes if feature == "region"} == {
        "other value", "upper case", "white space", "cut short", "typo", "without"}


class Nervous(Scorer):
    """Answers by the last digits."""

    def predict(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        return super().predict({**inputs, "debt": np.sin(1e6 * np.clip(inputs["debt"], -9, 9)) * 100}, outputs)


def test_a_nervous_model_gets_a_remark() -> None:
    """Unless the current version is as nervous."""
    check = _check(Nervous(), Scorer())
    assert check.status is Status.WARN and "Noise of 1 % on debt changes" in check.reason


class Brittle(Scorer):
    """Wants at least two rows, and no infinity."""

    def predict(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        if len(inputs["age"]) < 2:
            raise ValueError("needs two rows")
        return super().predict(inputs, outputs)


def test_a_model_that_cannot_answer_one_row_fails() -> None:
    """Whatever it raises is told."""
    check = _check(Brittle(), Scorer())
    assert check.status is Status.FAIL and "One row: refused: needs two rows." in check.reason


class Wild(Scorer):
    """Answers huge numbers with no number."""

    def predict(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        found = super().predict(inputs, outputs)
        return {**found, "predict_proba": np.where(np.abs(inputs["age"])[:, None] > 1e100, np.nan,
                                                   found["predict_proba"])}


def test_an_answer_that_is_no_number_is_a_remark() -> None:
    """It is an answer to no honest row."""
    check = _check(Wild(), Scorer())
    assert check.status is Status.WARN and "predict_proba is no finite number" in check.reason


@pytest.mark.parametrize(("promises", "status"), [
    ({"increasing": ("debt",), "invariant": ("region",), "bounds": (0, 1)}, Status.PASS),
    ({"decreasing": ("debt",)}, Status.FAIL),
    ({"invariant": ("age",)}, Status.FAIL),
    ({"bounds": (2, 3)}, Status.FAIL),
])
def test_promises_are_tried(promises: dict[str, Any], status: Status) -> None:
    """Never falls, never rises, changes nothing, bounds."""
    assert _check(Scorer(), Scorer(), **promises).status is status


class Lamp:
    """Says whether a picture is light."""

    signature = Signature((Field("picture", "FP64", (-1, 8, 8)),), (Field("predict", "INT64", (-1,), labels=(0, 1)),))

    def predict(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        return {"predict": (inputs["picture"].mean((1, 2)) > 0.5).astype(np.int64)}

    def close(self) -> None:
        """Nothing is held."""


def test_images_are_changed_as_pictures_are() -> None:
    """More light flips those that were nearly light; noise and blur hardly any."""
    draw = np.random.default_rng(0)
    pictures = np.clip(draw.uniform(0.3, 0.7, 300)[:, None, None] + draw.normal(0, 0.05, (300, 8, 8)), 0, 1)
    lamp = Lamp()
    said = Answers(lamp.predict({"picture": pictures})["predict"].astype(float))
    trial = Trial({"picture": pictures}, said.values, (0, 1), said, said, "lamp:1", False, {}, np.arange(300))
    check = check_robustness(trial, Policy(), lamp, lamp)
    assert check.status is Status.PASS
    flips = {one.change: one.flips for one in check.details.changes}
    assert flips.keys() == {"noise 1 %", "noise 5 %", "brighter", "darker", "blur", "without"}
    span = pictures.max() - pictures.min()
    lighter = np.clip(pictures + 0.1 * span, pictures.min(), pictures.max())
    assert flips["brighter"] == pytest.approx(np.mean(lamp.predict({"picture": lighter})["predict"] != said.values))
    assert flips["brighter"] > 0.1 > 0.02 > flips["blur"]
