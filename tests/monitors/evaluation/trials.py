"""Trials to judge: two versions whose scores are known functions of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.monitors.evaluation.trial import Answers, Trial, trivial

FIELDS = (Field("age", "FP64", (-1,)), Field("debt", "FP64", (-1,), optional=True),
          Field("region", "BYTES", (-1,)))
SIGNATURE = Signature(FIELDS, (Field("predict", "INT64", (-1,), labels=(0, 1)),
                               Field("predict_proba", "FP64", (-1, 2), labels=(0, 1))))


def logistic(values: Any) -> Any:
    """1 / (1 + e^−x)."""
    return 1 / (1 + np.exp(-values))


def inputs_of(rows: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Rows of three features."""
    draw = np.random.default_rng(seed)
    region = np.empty(rows, object)
    region[:] = draw.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    return {"age": draw.normal(40, 10, rows), "debt": draw.normal(0, 1, rows), "region": region}


class Scorer:
    """A model whose answer is the sign of age, debt and a whim."""

    def __init__(self, age: float = 0.1, debt: float = 1.0, west: float = 0.0) -> None:
        self.signature = SIGNATURE
        self.age, self.debt, self.west = age, debt, west

    def predict(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Logistic regression by hand."""
        score = self.age * (inputs["age"] - 40) + self.debt * np.nan_to_num(inputs["debt"], nan=0.0)
        score = score + self.west * (inputs["region"] == "west")
        positive = logistic(np.clip(score, -500, 500))
        table = np.column_stack([1 - positive, positive])
        return {"predict": (positive > 0.5).astype(np.int64), "predict_proba": table}

    def close(self) -> None:
        """Nothing is held."""


def answers(model: Scorer, inputs: Mapping[str, NDArray[Any]]) -> Answers:
    """What a scorer says, as a trial has it."""
    found = model.predict(inputs)
    return Answers(found["predict"].astype(float), found["predict_proba"])


def classified(rows: int = 1_000, *, candidate: Scorer | None = None, current: Scorer | None = None, seed: int = 0,
               looks: int = 1, groups: NDArray[Any] | None = None) -> Trial:
    """A trial of two scorers on rows whose truth is that of the plain one; without `current` a trivial answer."""
    inputs = inputs_of(rows, seed)
    whole = Scorer().predict(inputs)["predict_proba"][:, 1]
    truth = (np.random.default_rng(seed + 1).random(rows) < whole).astype(float)
    other = trivial(truth, (0, 1)) if current is None else answers(current, inputs)
    return Trial(inputs, truth, (0, 1), answers(candidate or Scorer(), inputs), other,
                 "a trivial answer" if current is None else "credit:1", current is None, inputs, np.arange(rows),
                 groups, looks)


def measured(rows: int = 1_000, noise: float = 1.0, other: float = 1.0, seed: int = 0) -> Trial:
    """A trial of two versions that predict numbers, off by so much."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(10, 3, rows)
    ours, theirs = (Answers(truth + draw.normal(0, scale, rows)) for scale in (noise, other))
    inputs = {"age": draw.normal(40, 10, rows), "debt": draw.normal(0, 1, rows)}
    return Trial(inputs, truth, (), ours, theirs, "price:1", False, inputs, np.arange(rows))
