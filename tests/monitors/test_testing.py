"""The contracts of monitors and distances: ours keep them, and each rule catches one that breaks it."""

import math
import re

import numpy as np
import pytest

from serinus.monitors.distances import KolmogorovSmirnov, PopulationStabilityIndex, distances
from serinus.monitors.distances.distance import Measured
from serinus.monitors.monitor import Finding
from serinus.monitors.testing import DISTANCE_RULES, MONITOR_RULES, ContractBroken, check_distance, check_monitor
from tests.monitors.approved_amount import ApprovedAmount
from tests.monitors.records import records

USUAL, CHANGED = records(60), records(60, factor=2.0, start=500)


@pytest.mark.parametrize("distance", distances(), ids=lambda distance: distance.name)
def test_our_distances_keep_the_contract(distance):
    """Every rule applies to each."""
    coverage = check_distance(distance)
    assert tuple(coverage.checks) == DISTANCE_RULES and coverage.total >= 40


def test_a_business_metric_keeps_the_contract():
    """Every rule applies, and the report counts what was looked at."""
    coverage = check_monitor(ApprovedAmount(), USUAL, CHANGED)
    assert tuple(coverage.checks) == MONITOR_RULES and coverage.left_out == {}
    assert f"approved_amount: {coverage.total} checks of 9 rules held\n  identity: 6\n" in str(coverage)


def test_what_does_not_apply_is_left_out_and_said():
    """Without changed records nobody knows whether it hears."""
    assert check_monitor(ApprovedAmount(), USUAL).left_out == {"heard": "no changed records were given"}


def test_too_few_records_are_the_callers_mistake():
    """Twenty at least; it is a ValueError and no verdict."""
    with pytest.raises(ValueError, match="at least twenty records, got 3"):
        check_monitor(ApprovedAmount(), USUAL[:3])


def variant(base, **changes):
    """A class that differs in the given attributes."""
    return type(base.__name__, (base,), changes)()


def monitor(**changes):
    return variant(ApprovedAmount, **changes)


def _needs_argument(self, threshold):
    """An entry point could not make it."""


class NeedsArgument(ApprovedAmount):
    __init__ = _needs_argument


def _remembers(self, record):
    self.seen = getattr(self, "seen", 0) + 1
    return {"count": float(self.seen)}


def _sorts(self, record):
    record.inputs["amount"].sort()
    return {"count": float(record.rows)}


def _trusting(self, record):
    return {"count": float(record.rows), "total": float(record.inputs["amount"].sum()), "squares": 0.0}


def _says(**facts):
    def finding(self, window, reference):
        return Finding(**{"kind": self.name, "active": False, "text": "All is well.", **facts})

    return finding


def _moody(self, window, reference):
    self.calls = getattr(self, "calls", 0) + 1
    return Finding(self.name, self.calls % 2 == 0, "It depends.")


class Forgetful(ApprovedAmount):
    """Knows how many windows it judged, until it is restarted."""

    def finding(self, window, reference):
        return Finding(self.name, False, f"{id(reference)} is no number to tell.")


BROKEN_MONITORS = {
    "identity": {
        "a name with a space": monitor(name="approved amount"),
        "no sentence": monitor(about=""),
        "no sums": monitor(sums=()),
        "a sum twice": monitor(sums=("count", "count")),
        "counts rows itself": monitor(sums=("rows",)),
        "no window": monitor(window=0),
        "needs an argument": NeedsArgument(1),
    },
    "adds numbers": {
        "a sum that it did not name": monitor(sums=("count", "total")),
        "no number": monitor(observe=lambda self, record: {"count": math.nan}),
        "raises": monitor(observe=lambda self, record: {"count": record.inputs["no such"]}),
    },
    "keeps nothing": {"remembers": monitor(observe=_remembers)},
    "leaves the record": {"sorts in place": monitor(observe=_sorts)},
    "odd records": {
        "sums what is not finite": monitor(observe=_trusting),
        "needs an output": monitor(values=lambda self, record: record.inputs["amount"] * record.outputs["approve"]),
    },
    "findings": {
        "no finding": monitor(finding=lambda self, window, reference: None),
        "another kind": monitor(finding=_says(kind="other")),
        "two lines": monitor(finding=_says(text="All\nis well.")),
        "facts that JSON lacks": monitor(finding=_says(facts={"when": (1, 2)})),
        "not the same twice": monitor(finding=_moody),
        "divides by zero": monitor(finding=lambda self, window, reference: window["total"] / window["count"]),
    },
    "survives a restart": {"names an object": Forgetful()},
    "quiet": {"always": monitor(finding=_says(active=True))},
    "heard": {"never": monitor(finding=_says(active=False))},
}


def _constant(self, reference, window, boundaries):
    return np.full(np.broadcast_shapes(reference.shape, window.shape)[:-1], 0.5)


def _signed(self, reference, window, boundaries):
    p, q = (counts[..., :16] / counts[..., :16].sum(-1, keepdims=True) for counts in (reference, window))
    return ((q - p) * np.arange(16)).sum(-1)


def _first_axis(self, reference, window, boundaries):
    return np.abs(reference - window).sum(0)[:1].repeat(len(reference))


def _measured(change):
    """A measure that hands the good answer to `change`."""

    def measure(self, reference, window, *, alpha=0.01, boundaries=None, dispersion=1.0):
        good = PopulationStabilityIndex.measure(self, reference, window, alpha=alpha)
        return change(good, reference, window)

    return measure


def _corrected(good, reference, window):
    return Measured(good.values, good.thresholds, np.minimum(good.p_values * len(good.values), 1.0))


def _noisy(good, reference, window):
    return Measured(good.values, good.thresholds * (1 + 1e-9 * np.random.default_rng().random()), good.p_values)


def _writes(good, reference, window):
    window[...] = window
    return good


def _optimistic(good, reference, window):
    return Measured(np.nan_to_num(good.values), np.nan_to_num(good.thresholds), np.nan_to_num(good.p_values, nan=1.0))


def _fixed(good, reference, window):
    """The rule of thumb that fits no window's size."""
    return Measured(good.values, np.where(np.isnan(good.values), np.nan, 0.1), good.p_values)


def _in_two(counts):
    """Two bins of the middle against all others: an even slope moves nothing between them."""
    folded = np.zeros_like(counts)
    folded[..., 0] = counts[..., [2, 13]].sum(-1)
    folded[..., 1] = counts.sum(-1) - folded[..., 0]
    return folded


def _coarse(self, reference, window, **more):
    return PopulationStabilityIndex.measure(self, _in_two(reference), _in_two(window), **more)


def distance(base=PopulationStabilityIndex, **changes):
    return variant(base, **changes)


BROKEN_DISTANCES = {
    "identity": {"no name": distance(name=""), "a flag that is a word": distance(quadratic="yes")},
    "shape": {"works along the first axis": distance(values=_first_axis)},
    "zero": {"always a half": distance(values=_constant)},
    "grows": {"signed": distance(values=lambda *words: -_signed(*words))},
    "by feature": {"corrects for their number itself": distance(measure=_measured(_corrected))},
    "leaves the counts": {
        "writes where it reads": distance(measure=_measured(_writes)),
        "another seed each time": distance(measure=_measured(_noisy)),
    },
    "missing rows": {
        "leaves them out, unsaid": distance(KolmogorovSmirnov, ordered=False),
        "says that it leaves them out": distance(ordered=True),
    },
    "extremes": {"calls nothing fine": distance(measure=_measured(_optimistic))},
    "error rate": {"one in ten for all": distance(measure=_measured(_fixed))},
    "power": {"two bins of sixteen": distance(measure=_coarse)},
}


def ways(broken):
    return [pytest.param(rule, subject, id=f"{rule}: {how}") for rule, each in broken.items()
            for how, subject in each.items()]


@pytest.mark.parametrize(("rule", "broken"), ways(BROKEN_MONITORS))
def test_a_monitor_that_breaks_a_rule_is_caught(rule, broken):
    """One that differs from the good one in one way is caught by that rule, in one sentence."""
    with pytest.raises(ContractBroken) as caught:
        check_monitor(broken, records(60), CHANGED)
    assert caught.value.rule == rule, caught.value
    assert re.fullmatch(rf"{rule}: .+", str(caught.value))


@pytest.mark.parametrize(("rule", "broken"), ways(BROKEN_DISTANCES))
def test_a_distance_that_breaks_a_rule_is_caught(rule, broken):
    """One that differs from PSI or KS in one way is caught by that rule, in one sentence."""
    with pytest.raises(ContractBroken) as caught:
        check_distance(broken)
    assert caught.value.rule == rule, caught.value
    assert re.fullmatch(rf"{rule}: .+", str(caught.value))


def test_every_rule_is_shown_to_fail():
    """A rule that catches nobody would prove nothing."""
    assert (tuple(BROKEN_MONITORS), tuple(BROKEN_DISTANCES)) == (MONITOR_RULES, DISTANCE_RULES)


@pytest.mark.parametrize(("subject", "rules"), [("distance", DISTANCE_RULES), ("monitor", MONITOR_RULES)])
def test_every_rule_is_described(checkout, subject, rules):
    """The chapter's table has a line for each rule, in the order in which they are tried."""
    chapter = (checkout / "monitors" / "README.md").read_text("utf-8").partition(f"The rules of a {subject}:")[2]
    table = chapter.partition("\n\n")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| ([a-z ]+) \| .", table, re.MULTILINE))[1:] == rules
