"""What ten checks amount to, and what is written of them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serinus.models.card import Card
from serinus.models.version import ModelVersion
from serinus.monitors.evaluation.calibration import check_calibration
from serinus.monitors.evaluation.card import bill_of_materials, model_card
from serinus.monitors.evaluation.check import Check, Status, plain, worst
from serinus.monitors.evaluation.compare import compare
from serinus.monitors.evaluation.fairness import check_fairness
from serinus.monitors.evaluation.gate import Evaluated, Gate, Verdict, judge
from serinus.monitors.evaluation.leakage import check_leakage
from serinus.monitors.evaluation.policy import Fairness, Policy
from serinus.monitors.evaluation.profile import check_profile
from serinus.monitors.evaluation.provenance import Provenance, check_provenance
from serinus.monitors.evaluation.robustness import check_robustness
from serinus.monitors.evaluation.slices import check_slices
from serinus.monitors.intervals import Interval
from tests.monitors.evaluation.test_latency import checked as latency
from tests.monitors.evaluation.trials import SIGNATURE, Scorer, classified

POLICY = Policy(fairness=Fairness(groups=("region",)))
EVALUATED = Evaluated("credit", "2", "credit:1", "<test>.csv", "sha256:ab", 800, 3, "default", "2026-01-02T03:04:05Z")
VERSION = ModelVersion("credit", "2", "sklearn", "sha256:cd", "2026", Path(), "model.joblib", SIGNATURE,
                       Card("Will it be paid back?", license="mit", tags=("demo",), intended_use="Credit: \"small\""),
                       libraries={"numpy": "2.0"})
KNOWN = Provenance("sha256:m", "sha256:d", "sha256:t", "abc", False, "sha256:l", "mit", "ada", "sha256:p", "")


def _gate(**looks: Any) -> Gate:
    trial = classified(800, candidate=Scorer(west=2.0), current=Scorer(), **looks)
    checks = [Check("signature", Status.PASS, "fine"), compare(trial, POLICY), check_calibration(trial, POLICY),
              check_slices(trial, POLICY), check_robustness(trial, POLICY, Scorer(west=2.0), Scorer()),
              check_fairness(trial, POLICY), check_leakage(trial, POLICY), latency(POLICY.latency),
              check_profile(None, None, attached=False), check_provenance(KNOWN)]
    return judge(EVALUATED, checks, POLICY, trial.classes)


GATE = _gate()


def _judged(*statuses: Status, undecided: bool = False) -> Verdict:
    names = ("signature", "metrics", "fairness")
    checks = [Check(name, status, "so", undecided=undecided and status is Status.NOT_RUN)
              for name, status in zip(names, statuses, strict=False)]
    return judge(EVALUATED, checks, Policy()).verdict


@pytest.mark.parametrize(("statuses", "verdict"), [
    ((Status.PASS, Status.PASS, Status.NOT_RUN), Verdict.PASS),
    ((Status.WARN, Status.PASS, Status.PASS), Verdict.PASS),
    ((Status.PASS, Status.NOT_RUN, Status.PASS), Verdict.UNDECIDED),
    ((Status.NOT_RUN, Status.NOT_RUN, Status.FAIL), Verdict.FAIL),
])
def test_the_verdict(statuses: tuple[Status, ...], verdict: Verdict) -> None:
    """One failure fails, a required check that could not be told leaves it open, what nobody asked for does not."""
    assert _judged(*statuses) is verdict


def test_too_few_rows_leave_it_open_whichever_check_it_is() -> None:
    """The policy named groups, and the rows do not tell."""
    assert _judged(Status.PASS, Status.PASS, Status.NOT_RUN, undecided=True) is Verdict.UNDECIDED


def test_not_run_outweighs_a_remark() -> None:
    """It is never a pass, alone or among others."""
    assert worst([Status.PASS, Status.WARN, Status.NOT_RUN]) is Status.NOT_RUN
    assert worst([]) is Status.NOT_RUN


def test_json_values_are_plain() -> None:
    """Numbers that are none are null, intervals are pairs, names are kept."""
    assert plain({"a": np.float64("nan"), "b": Interval(0.0, np.inf), "c": (np.int64(3), KNOWN)}) == {
        "a": None, "b": [0.0, None], "c": [3, plain(KNOWN)]}
    assert plain(KNOWN)["approver"] == "ada"


def test_gate_json_holds_everything_and_is_strict() -> None:
    """Ten checks with their details; no NaN, and the same facts have the same digest."""
    document = json.loads(GATE.to_bytes(), parse_constant=lambda word: pytest.fail(word))
    assert [check["name"] for check in document["checks"]] == [
        "signature", "metrics", "calibration", "slices", "robustness", "fairness", "leakage", "latency", "profile",
        "provenance"]
    assert document["verdict"] == "fail" and document["tag"] == "credit:2" and document["format"] == 1
    assert document["checks"][1]["details"]["metrics"][0]["metric"] == "accuracy"
    assert GATE.digest == judge(EVALUATED, GATE.checks, POLICY, (0, 1)).digest


def test_the_card_has_hugging_faces_front_matter() -> None:
    """YAML whose `model-index` holds every metric; the text tells verdict and checks."""
    _, front, body = model_card(GATE, VERSION).split("---\n", 2)
    facts = yaml.safe_load(front)
    assert (facts["license"], facts["library_name"], facts["tags"]) == ("mit", "sklearn", ["demo"])
    (result,) = facts["model-index"][0]["results"]
    assert result["task"]["type"] == "tabular-classification" and result["dataset"]["name"] == "<test>.csv"
    wanted = {one.metric: one.value for one in GATE.check("metrics").details.metrics}
    assert {one["type"]: one["value"] for one in result["metrics"]} == pytest.approx(wanted, rel=1e-5)
    assert "**Evaluation gate: fail.**" in body and 'Credit: "small"' in body
    assert all(f"| {check.name} | {check.status} |" in body for check in GATE.checks)


def test_the_bill_of_materials_is_cyclonedx() -> None:
    """A component of type machine-learning-model with its card."""
    document = json.loads(bill_of_materials(GATE, VERSION))
    (component,) = document["components"]
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert component["type"] == "machine-learning-model" and component["hashes"][0]["content"] == "cd"
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0]["type"] == "accuracy" and set(metrics[0]["confidenceInterval"]) == {"lowerBound", "upperBound"}
    assert component["modelCard"]["considerations"]["fairnessAssessments"]


class _Page(HTMLParser):
    """Sees that tags are closed in order, and collects ids, links and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.ids.add(facts.get("id") or "")
        self.links.add(facts.get("href") or "")
        if tag not in ("meta", "br", "circle", "line", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("circle", "line", "rect", "polyline"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    """Well nested, its links lead somewhere, nothing is fetched or run, and names are escaped."""
    text = GATE.to_html()
    page = _Page(text)
    assert page.open == []
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert not re.search(r"<script|https?://|@import|url\(", text)
    assert "&lt;test&gt;.csv" in text and "<test>" not in text


def test_the_page_tells_what_the_checks_found() -> None:
    """Verdict, every reason, every metric, the churn, each edge."""
    words = " ".join(_Page(GATE.to_html()).words).replace("\u00a0", " ")
    assert "Failed" in words and "credit:2" in words
    for check in GATE.checks:
        assert check.reason in words
    for one in GATE.check("metrics").details.metrics:
        assert one.title in words
    assert GATE.check("slices").details.churn.sentence in words and "Huge numbers" in words


def test_the_page_says_how_many_looks_there_were() -> None:
    """For its intervals are wider."""
    assert "number 3" in " ".join(_Page(_gate(looks=3).to_html()).words)


@pytest.mark.parametrize(("changes", "status", "sentence"), [
    ({}, Status.PASS, "are known"),
    ({"approver": "", "license": ""}, Status.WARN, "Nobody knows a licence or an approver."),
    ({"dirty": True}, Status.WARN, "not committed"),
    ({"training": "sha256:d"}, Status.FAIL, "is what the version was trained on"),
])
def test_provenance(changes: dict[str, Any], status: Status, sentence: str) -> None:
    """What is not known is a remark; the training data as the evaluation set is a failure."""
    check = check_provenance(Provenance(**{**plain(KNOWN), **changes}))
    assert check.status is status and sentence in check.reason
