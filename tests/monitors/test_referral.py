"""Referral to a person."""

import numpy as np
import pytest

from serinus.models.signature import Field, Signature
from serinus.monitors.novelty import Novelty
from serinus.monitors.referral import NOVEL, REASONS, UNSURE, Referral, confidence_output, confidences


def field(name: str, shape: tuple[int, ...], labels: tuple[str, ...] | None = None, datatype: str = "FP64") -> Field:
    return Field(name, datatype, shape, labels=labels)


def test_rows_are_marked_with_the_reason() -> None:
    """Below the confidence, at the novelty limit, both, or neither."""
    marks = Referral(0.8, 0.01).marks(4, np.array([0.8, 0.79, 0.9, 0.5]), np.array([0.5, 0.5, 0.01, 0.001]))
    assert marks.tolist() == [0, UNSURE, NOVEL, UNSURE + NOVEL]
    assert [REASONS[mark] for mark in marks] == ["", "low_confidence", "novel_row", "low_confidence, novel_row"]


def test_what_is_not_known_refers_nobody_but_nan_does() -> None:
    """Without probabilities or a reference nothing is marked; a probability that is no number is not confident."""
    assert Referral(0.8, 0.01).marks(2).tolist() == [0, 0]
    assert Referral(0.8).marks(2, np.array([np.nan, 0.9])).tolist() == [UNSURE, 0]
    assert Referral().marks(2, np.zeros(2), np.zeros(2)).tolist() == [0, 0]
    assert not Referral().active
    assert Referral(novelty_p=0.01).active


def test_the_novelty_limit_is_the_share_that_is_referred() -> None:
    """Of 4,000 rows like the reference about two in a hundred are referred at 0.02, as was said beforehand."""
    random = np.random.default_rng(1)
    novelty = Novelty.fit(random.normal(size=(8_000, 4)))
    p_values = novelty.p_values(novelty.scores(random.normal(size=(4_000, 4))))
    referral = Referral(novelty_p=0.02)
    assert np.mean(referral.marks(4_000, None, p_values) > 0) == pytest.approx(0.02, abs=0.007)
    assert referral.expected(None, p_values) == np.mean(referral.marks(4_000, None, p_values) > 0)
    assert referral.expected() == 0


@pytest.mark.parametrize(("outputs", "expected"), [
    ((field("predict", (-1,), ("a", "b"), "BYTES"), field("predict_proba", (-1, 2), ("a", "b"))), "predict_proba"),
    ((field("label", (-1,), ("a", "b"), "BYTES"), field("probabilities", (-1, 2))), "probabilities"),
    ((field("predict", (-1,)),), None),
    ((field("embedding", (-1, 16)),), None),
    ((field("label", (-1,), ("a", "b"), "BYTES"), field("one", (-1, 2)), field("two", (-1, 2))), None),
])
def test_the_output_with_class_probabilities_is_found(outputs: tuple[Field, ...], expected: str | None) -> None:
    """Labelled floats per row and class, or the only table beside a class; an embedding is no confidence."""
    assert confidence_output(Signature((), outputs)) == expected


def test_confidences_are_the_largest_probabilities() -> None:
    """None where an output is absent, empty, or holds no probabilities (a decision function)."""
    table = np.array([[0.2, 0.8], [0.6, 0.4]], np.float32)
    assert confidences({"p": table}, "p") == pytest.approx([0.8, 0.6])
    assert confidences({"p": np.array([[-2.0, 3.0]])}, "p") is None
    assert confidences({"p": np.empty((0, 2))}, "p") is None
    assert confidences({}, "p") is None
    assert confidences({"p": table}, None) is None
