"""Contributions are what a model's answer loses, one feature at a time; of linear models they are known exactly."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serinus.models import Field, Signature, wrap
from serinus.monitors.profile import Profile
from serinus.monitors.reference import Reference
from serinus.serving.errors import ControlRefused
from serinus.serving.explanation import MOST_FEATURES, explain

DRAW = np.random.default_rng(0)
FRAME = pd.DataFrame({"age": DRAW.normal(40, 10, 4000), "income": DRAW.normal(3, 1, 4000),
                      "rooms": DRAW.integers(1, 8, 4000)})


def profile_of(frame: pd.DataFrame) -> Profile:
    return Reference.from_frame(frame)


def row_of(**values: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array([value]) for name, value in values.items()}


def test_a_linear_model_is_explained_by_its_coefficients() -> None:
    """Contribution = coefficient × (value − what is usual), the largest first, with signs."""
    fitted = LinearRegression().fit(FRAME, 2 * FRAME["age"] - 30 * FRAME["income"] + 0 * FRAME["rooms"])
    found = explain(wrap(fitted, reference=FRAME), profile_of(FRAME), row_of(age=70.0, income=5.0, rooms=4))
    usual = {each.feature: each.usual for each in found.contributions}
    assert [each.feature for each in found.contributions] == ["age", "income", "rooms"]
    assert abs(usual["age"] - FRAME["age"].median()) < 2 and isinstance(usual["rooms"], int)
    expected = [2 * (70 - usual["age"]), -30 * (5 - usual["income"]), 0]
    assert [each.contribution for each in found.contributions] == pytest.approx(expected, abs=1e-6)
    assert (found.output, found.label, found.left_out) == ("predict", None, ())
    assert found.score == pytest.approx(2 * 70 - 30 * 5)
    assert found.score - found.usual_score == pytest.approx(sum(expected)), "nothing is lost where all is additive"
    assert found.text.startswith("predict is -10, and ")


def test_a_classifier_is_explained_by_the_class_that_it_gave() -> None:
    """The probability of the answered class falls where its reason is taken away; words have a usual word."""
    frame = pd.DataFrame({"city": DRAW.choice(["bern", "rome"], 2000, p=[0.8, 0.2]), "age": DRAW.normal(40, 10, 2000)})
    target = np.where(frame["city"] == "rome", "yes", "no")
    fitted = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"),
                           LogisticRegression()).fit(frame, target)
    found = explain(wrap(fitted, reference=frame), profile_of(frame), {
        "city": np.array(["rome"], object), "age": np.array([40.0])})
    first = found.contributions[0]
    assert (found.output, found.label) == ("predict_proba", "yes")
    assert (first.feature, first.value, first.usual) == ("city", "rome", "bern")
    assert found.score > 0.9 and first.contribution == pytest.approx(found.score - found.usual_score, abs=0.05)


def test_elements_of_a_matrix_are_features() -> None:
    """A model that takes one array of numbers is explained number by number."""
    numbers = DRAW.normal(0, 1, (3000, 4))
    model = wrap(LinearRegression().fit(numbers, numbers @ [0, 3, 0, -1]))
    name = model.signature.inputs[0].name
    profile = Reference.from_arrays({name: numbers}, signature=model.signature)
    found = explain(model, profile, {name: np.array([[0.0, 2.0, 2.0, 3.0]])})
    assert [each.feature for each in found.contributions][:2] == [f"{name}[1]", f"{name}[3]"]
    assert [round(each.contribution, 1) for each in found.contributions] == pytest.approx([6, -3, 0, 0], abs=0.3)


def test_labels_alone_are_explained_by_what_changes_them() -> None:
    """Without probabilities a contribution is 1 where the feature alone turns the answer."""
    signature = Signature((Field("age", "FP64", (-1,)), Field("income", "FP64", (-1,))),
                          (Field("predict", "BYTES", (-1,), labels=("no", "yes")),))
    model = wrap(lambda frame: np.where(frame["age"] > 50, "yes", "no"), signature=signature)
    found = explain(model, profile_of(FRAME[["age", "income"]]), row_of(age=60.0, income=3.0))
    assert [(each.feature, each.contribution) for each in found.contributions] == [("age", 1.0), ("income", 0.0)]
    assert (found.label, found.score, found.usual_score) == ("yes", 1.0, 0.0)


def test_what_cannot_be_explained_is_refused() -> None:
    """Inputs that are not made of rows, references that know nothing, too many features, a model that is too slow."""
    signature = Signature((Field("x", "FP64", (3,)),), (Field("y", "FP64", (1,)),))
    whole = wrap(lambda frame: np.zeros(1), signature=signature)
    with pytest.raises(ControlRefused, match="not made of rows"):
        explain(whole, profile_of(FRAME), {"x": np.zeros(3)})
    fitted = wrap(LinearRegression().fit(FRAME, FRAME["age"]), reference=FRAME)
    row = row_of(age=70.0, income=5.0, rooms=4)
    with pytest.raises(ControlRefused, match="knows nothing usual"):
        explain(fitted, profile_of(pd.DataFrame({"other": DRAW.normal(0, 1, 500)})), row)
    many = pd.DataFrame(DRAW.normal(0, 1, (200, MOST_FEATURES + 1))).rename(columns="x{}".format)
    model = wrap(LinearRegression().fit(many, many["x0"]), reference=many)
    with pytest.raises(ControlRefused, match="513 features are too many"):
        explain(model, profile_of(many), row_of(**dict.fromkeys(many, 0.0)))
    seconds = count(0, 60)
    with pytest.raises(ControlRefused, match="takes too long: 0 of 4 rows"):
        explain(fitted, profile_of(FRAME), row, clock=lambda: float(next(seconds)))
