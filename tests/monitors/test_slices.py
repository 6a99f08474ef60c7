"""Slices: what is worse is found and named, what is not is not, and groups are compared with honest intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.metrics import Sums
from serinus.monitors.performance import Definition, Outcomes
from serinus.monitors.slices import adjusted, class_gaps, discover, fairness, slice_names

FEATURES = ("age", "region", "channel", "size")
LABELS = [[f"{name}-{code}" for code in range(4)] for name in FEATURES]
TWO = Definition("classification", (0, 1))


def errors(seed: int, rows: int = 8_000, bad: tuple[tuple[int, int], ...] = (), rate: float = 0.3) -> tuple:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (rows, 4))
    worse = np.all([codes[:, feature] == code for feature, code in bad], axis=0) if bad else np.zeros(rows, bool)
    return codes, (rng.random(rows) < np.where(worse, rate, 0.1)).astype(float)


@pytest.mark.parametrize("bad", [((1, 2),), ((0, 1), (2, 3)), ((0, 0), (1, 1), (3, 2))])
def test_a_slice_that_is_worse_is_found_and_named(bad: tuple[tuple[int, int], ...]) -> None:
    """One, two and three conditions: the very slice comes first, with its interval and its worst rows."""
    codes, losses = errors(1, 20_000, bad, rate=0.45)
    best = discover(codes, losses, FEATURES, LABELS)[0]
    assert best.name == " and ".join(f"{FEATURES[feature]} is {LABELS[feature][code]}" for feature, code in bad)
    assert best.interval.holds(0.35) and best.p_value < 0.01 and best.loss > 0.3 > best.others
    assert all(losses[row] == 1 and all(codes[row, feature] == code for feature, code in bad) for row in best.examples)


def test_where_all_is_even_nothing_is_shown() -> None:
    """40 sets of rows without any worse slice: at most one in ten shows one, though each search has its best."""
    shown = sum(bool(discover(*errors(seed, 4_000), FEATURES, LABELS)) for seed in range(40))
    assert shown <= 8


def test_the_effect_is_not_the_winners_curse() -> None:
    """The loss of a found slice is that of the half that was not searched: right on average."""
    found = [discover(*errors(100 + seed, 6_000, ((1, 2),), 0.2), FEATURES, LABELS) for seed in range(12)]
    gaps = [one.loss for slices in found for one in slices if one.name == "region is region-2"]
    assert len(gaps) >= 10 and np.mean(gaps) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("losses", [np.zeros(1_000), np.full(1_000, np.nan), np.full(1_000, 1e300), np.ones(20)])
def test_odd_losses_have_no_slices(losses: np.ndarray) -> None:
    """No error at all, nothing known, all the same however large, too few rows."""
    codes = np.random.default_rng(0).integers(0, 4, (len(losses), 4))
    assert discover(codes, losses, FEATURES, LABELS) == []


def test_benjamini_and_hochbergs_rule_is_scipys() -> None:
    """Adjusted p-values in the order given; none of none."""
    p = np.random.default_rng(2).random(50) ** 2
    assert adjusted(p) == pytest.approx(stats.false_discovery_control(p))
    assert adjusted([]) == []


def test_declared_keys_name_slices() -> None:
    """Each value, each pair of values; what is missing is named, a key that is not there has none."""
    columns = {"region": np.array(["north", "south", None], object), "vip": np.array([True, False, True])}
    found = slice_names(columns, ["region", "region × vip", "unheard"])
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "region=north": [True, False, False], "region=south": [False, True, False],
        "region=missing": [False, False, True], "region=north, vip=True": [True, False, False],
        "region=south, vip=False": [False, True, False], "region=missing, vip=True": [False, False, True]}


def group(seed: int, rows: int, selected: float, said: float | None = None) -> Sums:
    rng = np.random.default_rng(seed)
    truth, answers = (rng.random(rows) < 0.5).astype(int), (rng.random(rows) < selected).astype(int)
    return TWO.sums(Outcomes(truth, answers, np.full(rows, 0.5 if said is None else said)))


def test_a_gap_between_groups_is_told_with_its_interval() -> None:
    """The largest first: selection, then what follows from it; calibration is even here."""
    gaps = fairness({"men": group(1, 3_000, 0.6), "women": group(2, 3_000, 0.4)})
    by_measure = {gap.measure: gap for gap in gaps}
    assert set(by_measure) == {"selection_rate", "recall", "false_positive_rate", "calibration"}
    selection = by_measure["selection_rate"]
    assert selection.groups == ("men", "women") and selection.verdict == "gap"
    assert selection.interval is not None and selection.interval.holds(0.2)
    assert by_measure["calibration"].verdict == "none found"
    assert [gap.difference for gap in gaps] == sorted((gap.difference for gap in gaps), reverse=True)
    tolerated = fairness({"men": group(1, 3_000, 0.6), "women": group(2, 3_000, 0.4)}, tolerance=0.25)
    assert all(gap.verdict == "none found" for gap in tolerated)


def test_a_gap_of_calibration_is_told() -> None:
    """Both groups are right half of the time; one is told 70 %."""
    gaps = fairness({"a": group(3, 2_000, 0.5), "b": group(4, 2_000, 0.5, said=0.7)})
    gap = next(gap for gap in gaps if gap.measure == "calibration")
    assert (gap.groups, gap.verdict) == (("a", "b"), "gap")
    assert gap.difference == pytest.approx(0.2, abs=0.05)
    assert gap.interval is not None and gap.interval.holds(0.2)


THREE = Definition("classification", ("red", "green", "blue"))


def coloured(seed: int, rows: int, *, missed: float = 0.0) -> Sums:
    """Nine in ten are right; of blue ones a share more is called green."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, rows)
    answers = np.where(rng.random(rows) < 0.1, (truth + 1) % 3, truth)
    answers = np.where((truth == 2) & (rng.random(rows) < missed), 1, answers)
    names = np.array(THREE.labels, object)
    return THREE.sums(Outcomes(names[truth], names[answers]))


def test_of_three_classes_each_is_held_against_the_rest() -> None:
    """The class that one group's model misses is named, and macro recall has a third of that gap."""
    gaps = {gap.measure: gap for gap in class_gaps({"a": coloured(1, 3_000), "b": coloured(2, 3_000, missed=0.3)},
                                                   THREE.labels)}
    measures = ("selection_rate", "recall", "false_positive_rate")
    by_class = {f"{measure} of {label}" for label in THREE.labels for measure in measures}
    assert gaps.keys() == {"accuracy", "macro_recall"} | by_class
    missed, macro = gaps["recall of blue"], gaps["macro_recall"]
    assert (missed.groups, missed.verdict, macro.verdict) == (("a", "b"), "gap", "gap")
    assert missed.interval is not None and missed.interval.holds(0.9 * 0.3)
    assert macro.interval is not None and macro.interval.holds(0.09)
    assert gaps["false_positive_rate of green"].groups == ("b", "a")
    assert gaps["recall of red"].verdict == "none found"


def test_a_class_that_is_rare_in_a_group_is_unknown() -> None:
    """Nothing is said of its recall, nor of the mean over the classes."""
    groups = {"a": coloured(1, 3_000), "b": coloured(2, 100)}
    gaps = {gap.measure: gap.verdict for gap in class_gaps(groups, THREE.labels)}
    assert gaps["macro_recall"] == gaps["recall of red"] == "unknown"
    assert gaps["accuracy"] == "none found"
    assert class_gaps({"a": coloured(1, 3_000)}, THREE.labels) == []


def test_equal_groups_of_three_classes_are_rarely_called_unequal() -> None:
    """Any recall of a class, over three pairs of equal groups and three classes: one in twenty at most, 100 times."""
    shown = 0
    for seed in range(100):
        gaps = class_gaps({name: coloured(10 * seed + place, 600) for place, name in enumerate("abc")}, THREE.labels)
        shown += any(gap.verdict == "gap" for gap in gaps if gap.measure.startswith("recall of"))
    assert shown <= 11


def test_small_groups_are_unknown() -> None:
    """Not equal, and not unequal: nobody can tell from 49 rows, or without scores."""
    gaps = fairness({"a": group(5, 49, 0.5), "b": group(6, 500, 0.5)})
    assert {gap.verdict for gap in gaps} == {"unknown"} and all(gap.difference is None for gap in gaps)
    bare = TWO.sums(Outcomes(np.ones(100), np.ones(100)))
    assert {gap.verdict for gap in fairness({"a": bare, "b": bare}) if gap.measure == "calibration"} == {"unknown"}
    assert fairness({"a": bare}) == []
    assert {gap.verdict for gap in fairness({"a": Sums({}, {}), "b": bare})} == {"unknown"}


def test_equal_groups_are_rarely_called_unequal() -> None:
    """Six pairs of four equal groups, 60 times: about one of 20 shows any gap in selection."""
    shown = 0
    for seed in range(60):
        gaps = fairness({name: group(10 * seed + place, 300, 0.5) for place, name in enumerate("abcd")})
        shown += any(gap.verdict == "gap" for gap in gaps if gap.measure == "selection_rate")
    assert shown <= 8
