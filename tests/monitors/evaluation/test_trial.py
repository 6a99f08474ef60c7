"""Ground truth and answers, read as the version means them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serinus.models.signature import Field, Signature
from serinus.monitors.errors import InvalidData
from serinus.monitors.evaluation.trial import classes_of, read_answers, read_truth, trivial
from tests.monitors.evaluation.trials import SIGNATURE, classified


def _words(*values: Any) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _signature(datatype: str, labels: Any) -> Signature:
    return Signature((), (Field("predict", datatype, (-1,), labels=labels),
                          Field("predict_proba", "FP64", (-1, 2), labels=labels)))


@pytest.mark.parametrize(("signature", "truth"), [
    (SIGNATURE, np.array([1, 0, 1])),
    (SIGNATURE, np.array([1.0, 0.0, 1.0])),
    (SIGNATURE, np.array([True, False, True])),
    (SIGNATURE, _words("1", "0", "1")),
    (_signature("BYTES", ("no", "yes")), _words("yes", "no", "yes")),
    (_signature("FP64", (0.0, 1.0)), np.array([1, 0, 1])),
], ids=["whole numbers", "floats", "booleans", "texts of numbers", "texts", "labels that are floats"])
def test_classes_are_recognised_however_they_are_written(signature: Signature, truth: Any) -> None:
    """A CSV file says 1.0 or "1" where the version says 1."""
    classes = classes_of(signature, truth)
    assert read_truth(truth, classes).tolist() == [1, 0, 1]


def test_a_class_that_the_version_does_not_know_is_one_more() -> None:
    """Its rows are all wrong, and its probability is 0."""
    signature = _signature("BYTES", ("no", "yes"))
    truth = _words("yes", "maybe")
    classes = classes_of(signature, truth)
    answers = read_answers(signature, {"predict": _words("yes", "no"), "predict_proba": np.full((2, 2), 0.5)}, classes)
    assert classes == ("no", "yes", "maybe") and answers.probabilities is not None
    assert answers.values.tolist() == [1, 0] and answers.probabilities.tolist() == [[0.5, 0.5, 0.0]] * 2


def test_decision_values_are_no_probabilities() -> None:
    """A table of other numbers is passed over."""
    outputs = {"predict": np.array([1, 0]), "predict_proba": np.array([[-2.0, 3.0], [1.0, 0.0]])}
    assert read_answers(SIGNATURE, outputs, (0, 1)).probabilities is None


def test_what_is_no_target_is_refused() -> None:
    """A column of amounts for a classifier, of texts for a number."""
    with pytest.raises(InvalidData, match="300 values that are no class"):
        classes_of(SIGNATURE, np.arange(0.5, 300.5))
    with pytest.raises(InvalidData, match="must hold numbers"):
        read_truth(_words("a"), ())
    with pytest.raises(InvalidData, match="no output with one value per row"):
        classes_of(Signature((), (Field("x", "FP64", (-1, 3)),)), np.ones(2))


def test_a_trivial_answer_looks_at_no_row() -> None:
    """The most frequent class with the classes' shares, or the median."""
    found = trivial(np.array([0.0, 1.0, 1.0, 1.0]), (0, 1))
    assert found.values.tolist() == [1.0] * 4 and found.probabilities is not None
    assert found.probabilities[0].tolist() == [0.25, 0.75]
    assert trivial(np.array([1.0, 5.0, 99.0]), ()).values.tolist() == [5.0] * 3


def test_losses_are_wrong_answers() -> None:
    """One for each."""
    trial = classified(50)
    assert trial.losses(trial.candidate).sum() == (trial.candidate.values != trial.truth).sum()
