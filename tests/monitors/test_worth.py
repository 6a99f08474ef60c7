"""What is declared of a classifier's worth changes what is measured, never what is counted; values are by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from serinus.monitors.errors import InvalidData
from serinus.monitors.performance import Definition, Outcomes
from serinus.monitors.worth import Worth

PLAIN = Definition("classification", ("late", "paid"))
WORTH = Worth("late", {"late": {"late": 5, "paid": -20}, "paid": {"late": -1}}, "EUR")


def _rows(many: int = 4_000, seed: int = 0) -> Outcomes:
    draw = np.random.default_rng(seed)
    paid = draw.beta(2, 1, many)
    truth = np.where(draw.random(many) < paid, "paid", "late")
    return Outcomes(truth, np.where(paid > 0.6, "paid", "late"), np.column_stack([1 - paid, paid]))


def test_the_value_is_that_counted_by_hand() -> None:
    """Two late found (+10), one missed (−20), one false (−1), four paid that were told as paid (0): −11 of 8 rows."""
    truth = np.array(["late"] * 3 + ["paid"] * 5)
    said = np.array(["late", "late", "paid", "late", "paid", "paid", "paid", "paid"])
    definition = WORTH.of(PLAIN)
    found = definition.measure(definition.sums(Outcomes(truth, said)))
    assert found["value"].value == -11 / 8 and definition.unit == "EUR"
    assert (found["precision"].value, found["recall"].value) == (2 / 3, 2 / 3)


def test_sums_that_were_counted_before_are_measured_with_what_is_declared_later() -> None:
    """Of the first class as scikit-learn has it, from sums of a plain definition, which has the same digest."""
    rows, declared = _rows(), WORTH.of(PLAIN)
    found = declared.measure(PLAIN.sums(rows))
    assert declared.digest == PLAIN.digest and declared.turned and not PLAIN.turned
    for name, wanted in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert found[name].value == pytest.approx(wanted(rows.truth, rows.answers, pos_label="late"))
    assert rows.scores is not None
    area = average_precision_score(rows.truth == "late", rows.scores[:, 0])
    assert found["pr_auc"].value == pytest.approx(area, abs=3e-3)
    plain = PLAIN.measure(PLAIN.sums(rows))
    assert found["roc_auc"].value == pytest.approx(plain["roc_auc"].value) and found["accuracy"] == plain["accuracy"]


def test_of_three_classes_one_may_be_positive() -> None:
    """Then precision is that of the one class, and not the mean of all."""
    rows = Outcomes(np.array(["a", "b", "c", "c"]), np.array(["a", "c", "c", "b"]),
                    np.eye(3)[[0, 2, 2, 1]])
    plain = Definition("classification", ("a", "b", "c"))
    found = Worth("c").of(plain).measure(plain.sums(rows))
    assert (found["precision"].value, found["recall"].value, found["roc_auc"].value) == (0.5, 0.5, 0.5)


def test_labels_that_are_numbers_are_named_by_their_text() -> None:
    """The order of the classes in a version changes nothing."""
    assert Worth("0").of(Definition("classification", (0, 1))).positive == 0
    worth = Worth(values={"1": {"0": -2.0}})
    assert worth.matrix((0, 1)) == ((0.0, 0.0), (-2.0, 0.0)) and worth.matrix((1, 0)) == ((0.0, -2.0), (0.0, 0.0))


@pytest.mark.parametrize(("worth", "sentence"), [
    (Worth("latte"), "The positive class 'latte' of the declared worth is no class; there are late, paid."),
    (Worth(values={"lost": {"late": 1}}), "A truth 'lost'"),
    (Worth(values={"late": {"lost": 1}}), "An answer 'lost'"),
])
def test_a_name_that_is_no_class_is_refused(worth: Worth, sentence: str) -> None:
    """With the classes that there are."""
    with pytest.raises(InvalidData) as refused:
        worth.of(PLAIN)
    assert sentence in str(refused.value)


def test_numbers_have_no_positive_class() -> None:
    """And nothing declared asks for nothing."""
    numbers = Definition("regression")
    with pytest.raises(InvalidData, match="a classifier's"):
        WORTH.of(numbers)
    assert Worth().of(numbers) is numbers and replace(WORTH, values={}).matrix(("late", "paid")) is None
