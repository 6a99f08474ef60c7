"""Realised performance: sums that merge in any order, revisions that replace, one definition for a whole table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.models.signature import Field, Signature
from serinus.monitors import performance
from serinus.monitors.errors import InvalidData
from serinus.monitors.metrics import Sums
from serinus.monitors.performance import Definition, Key, Outcomes, Part, Performance, definition_for

TWO = Definition("classification", ("no", "yes"))
NUMBERS = Definition("regression")


class Profit:
    """What an answer earned."""

    name = "profit"
    about = "euros per answer"
    higher_is_better = True

    def values(self, outcomes: Outcomes) -> np.ndarray:
        """A hit earns 10, a miss costs 1, and a "no" does not count."""
        earned = np.where(outcomes.truth == "yes", 10.0, -1.0)
        return np.where(outcomes.answers == "no", np.nan, earned)


def outcomes(seed: int, rows: int = 200) -> Outcomes:
    rng = np.random.default_rng(seed)
    scores = rng.random(rows)
    names = np.array(["no", "yes"])
    return Outcomes(names[(rng.random(rows) < scores).astype(int)], names[(scores > 0.5).astype(int)], scores)


def cut(rows: Outcomes, start: int, end: int) -> Outcomes:
    return Outcomes(*(column[start:end] for column in rows))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=5), st.randoms())
def test_any_split_in_any_order_gives_the_same_sums(cuts: list[int], order) -> None:
    """To the last bit, for classes and for numbers, and through JSON."""
    numbers = Outcomes(*np.random.default_rng(2).lognormal(0, 9, (2, 200)))
    for definition, rows in ((TWO, outcomes(1)), (NUMBERS, numbers)):
        whole = definition.sums(rows)
        ends = sorted({0, 200, *cuts})
        parts = [definition.sums(cut(rows, *pair) if rows.scores is not None else
                                 Outcomes(rows.truth[slice(*pair)], rows.answers[slice(*pair)]))
                 for pair in pairwise(ends)]
        order.shuffle(parts)
        merged = sum(parts, Sums({}, {}))
        assert merged == whole
        assert Sums.from_json(json.loads(json.dumps(merged.to_json()))) == whole


keys = st.builds(Key, st.sampled_from("12"), st.sampled_from(["2026-01", "2026-02"]), st.just(""),
                 st.sampled_from("ab"))
parts = st.builds(lambda revision, seed, rows: Part(revision, TWO.sums(outcomes(seed, rows)), rows),
                  st.integers(0, 2), st.integers(0, 3), st.integers(1, 4))
performances = st.builds(Performance, st.dictionaries(keys, parts, max_size=4))


@settings(max_examples=60, deadline=None)
@given(performances, performances, performances)
def test_merging_is_associative_commutative_and_idempotent(one, two, three) -> None:
    """Replicas may tell each other what they know as often and in whatever order they like."""
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(two) == two.merge(one)
    assert one.merge(one) == one == Performance.from_json(json.loads(json.dumps(one.to_json())))


def test_a_higher_revision_replaces_a_lower_one() -> None:
    """Labels that were revised are counted once, whenever the older part comes again."""
    key = Key("1", "2026-01-01T00", "", "segment-7")
    old, new = Part(1, TWO.sums(outcomes(1, 80)), 100), Part(2, TWO.sums(outcomes(2, 90)), 100)
    known = Performance().with_part(key, new).with_part(key, old)
    assert known.cell("1", "2026-01-01T00").sums == new.sums


def test_a_cell_is_the_sum_over_its_sources() -> None:
    """Two segments of an hour: their rows and their predictions together."""
    known = Performance()
    for source in ("a", "b"):
        known = known.with_part(Key("1", "w", "", source), Part(1, TWO.sums(outcomes(ord(source), 60)), 100))
    cell = known.cell("1", "w")
    assert (cell.sums.rows, cell.predictions) == (120, 200)


def test_a_table_has_versions_and_windows() -> None:
    """Cells without rows are not there; few rows are said to be too few, and other slices do not mix in."""
    known = (Performance().with_part(Key("1", "w1"), Part(1, TWO.sums(outcomes(1)), 200))
             .with_part(Key("2", "w2"), Part(1, TWO.sums(outcomes(2, 20)), 20))
             .with_part(Key("1", "w1", "region=north"), Part(1, TWO.sums(outcomes(3, 70)), 70)))
    table = known.table(TWO, "accuracy")
    assert (table.versions, table.windows, sorted(table.cells)) == (
        ["1", "2"], ["w1", "w2"], [("1", "w1"), ("2", "w2")])
    assert table.cells["1", "w1"].rows == 200 and not table.cells["1", "w1"].reason
    assert table.cells["2", "w2"].reason == "unknown: 20 labelled rows, at least 50 are needed"
    assert known.table(TWO, "accuracy", "region=north").cells["1", "w1"].rows == 70
    assert known.slices() == ["", "region=north"]


@pytest.mark.parametrize("labels", [(0, 1), ("0", "1"), (False, True), (0.0, 1.0)])
@pytest.mark.parametrize("truth", [[1, 0, 1, 1], ["1", "0", "1", "1"], [True, False, True, True], [1.0, 0.0, 1.0, 1.0],
                                   ["1.0", "0.0", "true", "True"]])  # fmt: skip
def test_labels_match_however_they_are_written(labels: tuple, truth: list) -> None:
    """Ground truth comes as CSV or JSON: 1, 1.0, "1" and true are the same class."""
    definition = Definition("classification", labels)
    sums = definition.sums(Outcomes(np.array(truth), np.array([1, 0, 0, 1])))
    assert sums.table("confusion")[:2, :2].tolist() == [[1, 0], [1, 2]]


def test_labels_that_differ_as_text_stay_apart() -> None:
    """A postcode "01" is not the number 1."""
    definition = Definition("classification", ("01", "1"))
    column = np.array(["01", "1", "1"])
    assert definition.sums(Outcomes(column, column)).table("confusion")[:2, :2].tolist() == [[1, 0], [0, 2]]


def test_missing_truth_is_counted_apart_and_unknown_labels_are_errors() -> None:
    """None and NaN are no truth; a class that the model does not know was not foreseen by it."""
    sums = TWO.sums(Outcomes(np.array(["yes", None, "maybe"], object), np.array(["yes", "yes", "yes"])))
    assert (sums.rows, int(sums.table("invalid")[0])) == (2, 1)
    measure = TWO.measure(sums)["accuracy"]
    assert measure.value == 0.5


class Broken(Profit):
    """Somebody else's bug."""

    name = "broken"

    def values(self, outcomes: Outcomes) -> np.ndarray:
        """Raise."""
        raise RuntimeError("no prices today")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three packages: one offers a metric, one a metric that fails, one what cannot even be loaded."""
    names = {"profit": "Profit", "broken": "Broken", "gone": "Gone"}
    monkeypatch.setattr(performance, "entry_points", lambda group: [
        EntryPoint(name, f"tests.monitors.test_performance:{kind}", group) for name, kind in names.items()])
    performance.installed_metrics.cache_clear()
    yield
    performance.installed_metrics.cache_clear()


def test_what_fails_in_somebody_elses_metric_is_logged(installed: None, caplog: pytest.LogCaptureFixture) -> None:
    """It counts no rows; everything else is measured."""
    field = Field("predict", "INT64", (-1,), labels=(0, 1))
    definition = definition_for(Signature((Field("x", "FP64", (-1,)),), (field,)))
    assert definition is not None and [metric.name for metric in definition.own] == ["broken", "profit"]
    measures = definition.measure(definition.sums(Outcomes(np.array([0, 1, 1]), np.array([0, 1, 0]))))
    assert measures["accuracy"].value == pytest.approx(2 / 3) and measures["profit"].rows == 3
    assert measures["broken"] == (None, None, 0, "no row has it")
    assert "The metric gone" in caplog.text and "The metric broken failed for 3 rows" in caplog.text


def test_an_installed_metric_is_measured_too(installed: None) -> None:
    """Its mean with Student's interval, over the rows that count for it."""
    definition = Definition("classification", ("no", "yes"), own=performance.installed_metrics())
    rows = outcomes(3)
    wanted = np.where(rows.truth == "yes", 10.0, -1.0)[rows.answers == "yes"]
    measure = definition.measure(definition.sums(rows))["profit"]
    assert (measure.value, measure.rows) == (pytest.approx(wanted.mean()), len(wanted))
    assert definition.is_better("profit") == definition.is_better("accuracy") == -definition.is_better("brier") == 1
    assert definition.digest != TWO.digest


def test_what_makes_no_sense_is_refused() -> None:
    """One class, a positive class that is none, a value matrix of another size, columns of different lengths."""
    with pytest.raises(InvalidData, match="two labels or more"):
        Definition("classification", ("a",))
    with pytest.raises(InvalidData, match="'c' is none of the labels"):
        Definition("classification", ("a", "b"), positive="c")
    with pytest.raises(InvalidData, match="2 rows of 2 numbers"):
        Definition("classification", ("a", "b"), values=((1.0,),))
    with pytest.raises(InvalidData, match="got 2 truths and 1 answers"):
        NUMBERS.sums(Outcomes(np.ones(2), np.ones(1)))


def test_the_definition_follows_from_the_signature() -> None:
    """Labels make a classifier, one number per row a regression; a clusterer has neither."""
    column = Field("x", "FP64", (-1,))
    classifier = Signature((column,), (Field("predict", "INT64", (-1,), labels=(0, 1)),
                                       Field("predict_proba", "FP64", (-1, 2), labels=(0, 1))))
    assert definition_for(classifier) == Definition("classification", (0, 1))
    assert definition_for(Signature((column,), (Field("predict", "FP64", (-1,)),))) == NUMBERS
    assert definition_for(Signature((column,), (Field("predict", "INT32", (-1,)),))) is None


def test_the_positive_class_may_be_the_first() -> None:
    """Then scores `[n]` are of that class, and all metrics are about it."""
    rows = outcomes(4)
    turned = Definition("classification", ("no", "yes"), positive="no")
    other = turned.measure(turned.sums(Outcomes(rows.truth, rows.answers, 1 - rows.scores)))
    usual = TWO.measure(TWO.sums(rows))
    assert other["roc_auc"].value == pytest.approx(usual["roc_auc"].value, abs=2e-3)
    assert other["log_loss"].value == pytest.approx(usual["log_loss"].value)
    assert other["recall"].value != usual["recall"].value
