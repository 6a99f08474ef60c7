"""The report: two batches compared, as facts that hold, and odd batches that break nothing."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from serinus.monitors.errors import InvalidData, UnknownDistance
from serinus.monitors.reference import Reference
from serinus.monitors.report import Report
from serinus.monitors.report.comparison import Verdict
from tests.monitors.report.lender import lender

COLUMNS = {"target": "approved", "time": "created"}


@pytest.fixture(scope="module")
def reference():
    return lender(6_000, seed=1)


@pytest.fixture(scope="module")
def drifted(reference):
    return Report.of(reference, lender(seed=2, start="2026-03-02", days=40, changed=True), **COLUMNS)


@pytest.fixture(scope="module")
def calm(reference):
    return Report.of(reference, lender(seed=3, start="2026-03-02", days=40), **COLUMNS)


def found(report, name):
    return next(feature for feature in report.features if feature.name == name)


def test_what_changed_is_named(drifted):
    """The changed features, those alone, the furthest first; and the sentence says so."""
    named = [feature.name for feature in drifted.changed if feature.side != "joint"]
    assert named == ["purpose", "income", "years", "approved"]
    assert drifted.drifted and drifted.sentence.startswith("Drift in 4 of 6 features: purpose (unseen 0 % → ")
    assert found(drifted, "income").change.startswith("up 0.")
    assert found(drifted, "age").verdict is Verdict.SAME


def test_a_batch_of_the_same_population_is_calm(calm):
    """No feature is named."""
    assert not calm.drifted and calm.changed == ()
    assert calm.sentence == "No drift: 6 features compared, and none has changed by what matters."


def test_facts_are_those_of_the_data(reference, drifted):
    """Means, rates and Wilson's interval as counted from the rows themselves."""
    current = lender(seed=2, start="2026-03-02", days=40, changed=True)
    years, income = found(drifted, "years"), found(drifted, "income")
    gaps = current["years"].isna().mean()
    assert years.missing.current == gaps and years.missing.low < gaps < years.missing.high
    assert income.means == pytest.approx((reference["income"].mean(), current["income"].mean()), rel=0.01)
    shift = (current["income"].mean() - reference["income"].mean()) / reference["income"].std()
    assert income.shift == pytest.approx(shift, rel=0.1)
    gap = wasserstein_distance(reference["income"], current["income"])
    assert income.wasserstein == pytest.approx(gap, rel=0.25)  # within the outermost bin nobody knows
    assert sum(each.current for each in income.bins) == pytest.approx(1.0)


def test_windows_of_time_tell_when_it_began(drifted):
    """Days; the second half of them drifted, the first half did not."""
    marks = [bool(set(window.drifted) & {"income", "purpose", "years"}) for window in drifted.windows]
    assert (drifted.period, len(marks)) == ("day", 40)
    assert sum(marks[:20]) <= 1 and sum(marks[20:]) >= 18
    assert sum(window.rows for window in drifted.windows) == drifted.current.rows == 3_000
    assert drifted.windows[0].start == "2026-03-02T00:00Z"


def test_the_target_may_come_later(reference):
    """A current batch without the target is compared without it; without an input it has drifted."""
    current = lender(seed=3).drop(columns=["approved", "age"])
    report = Report.of(reference, current, **COLUMNS)
    assert found(report, "approved").verdict is Verdict.UNKNOWN
    assert not any({"age", "approved"} & set(window.drifted) for window in report.windows)  # they are in none
    assert [feature.name for feature in report.changed if feature.side == "input"] == ["age"]
    assert "age (the column is gone)" in report.sentence


def test_new_columns_are_noted(reference):
    """They are nothing to compare, and something to know."""
    report = Report.of(reference, lender(seed=3).assign(colour="red"), **COLUMNS)
    assert report.notes == ("New columns, which the reference lacks: colour.",)


def test_a_combination_that_changed_is_seen():
    """Two numbers that go together, and then against each other: each is as it was, the two are not."""
    generator = np.random.default_rng(0)
    both = generator.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 8_000)
    other = generator.multivariate_normal([0, 0], [[1, -0.9], [-0.9, 1]], 2_000)
    report = Report.of(pd.DataFrame(both, columns=["a", "b"]), pd.DataFrame(other, columns=["a", "b"]))
    assert {feature.side for feature in report.changed} == {"joint"}
    assert report.sentence.startswith("Drift of the combination:")


def test_a_slight_change_is_said_and_does_not_count():
    """With a hundred thousand rows two hundredths of a standard deviation are sure, and of no matter."""
    generator = np.random.default_rng(1)
    before, now = (pd.DataFrame({"x": generator.normal(mean, 1, 200_000)}) for mean in (0.0, 0.03))
    slight = Report.of(before, now)
    assert (found(slight, "x").verdict, slight.drifted) == (Verdict.SLIGHT, False)
    assert Report.of(before, now, effect=0.0).drifted


@pytest.mark.parametrize("distance", ["psi", "kolmogorov_smirnov", "wasserstein", "jensen_shannon", "chi_squared"])
def test_a_classic_distance_judges_by_name(reference, distance):
    """Each names what changed, numbers, categories and gaps alike, with its value and threshold."""
    profile = Reference.from_frame(reference, joint=False, **COLUMNS)
    report = Report.of(profile, lender(seed=2, changed=True), time="created", distance=distance)
    assert {feature.name for feature in report.changed} == {"income", "purpose", "years"}
    assert report.distance == distance and found(report, "income").distance > found(report, "income").threshold


@pytest.mark.parametrize("distance", [None, "kolmogorov_smirnov"])
def test_the_false_alarms_are_as_stated(reference, distance):
    """At level 0.05 no more than one in seven of fifty unchanged batches names anything; a twentieth is expected."""
    profile = Reference.from_frame(reference, joint=False, **COLUMNS)
    alarms = [Report.of(profile, lender(500, seed=100 + seed), distance=distance, level=0.05, effect=0.0).drifted
              for seed in range(50)]
    assert sum(alarms) <= 7


def test_frames_and_files_give_the_same_report(reference, tmp_path):
    """CSV or Parquet, in chunks or at once: the same facts, under the files' names, with progress."""
    current = lender(seed=2, start="2026-03-02", days=40, changed=True)
    reference.to_parquet(tmp_path / "a.parquet")
    current.to_csv(tmp_path / "b.csv", index=False)
    told = []
    files = Report.of_files(tmp_path / "a.parquet", tmp_path / "b.csv", **COLUMNS,
                            progress=lambda step, done, whole: told.append((step, done)))
    frames = Report.of(reference, current, **COLUMNS)
    assert files.sentence == frames.sentence and files.windows == frames.windows
    assert (files.reference.name, files.current.name) == ("a.parquet", "b.csv")
    assert told[-1] == ("comparing the current data", 3_000)


def test_a_profile_is_a_reference_too(reference, drifted):
    """What was made once is compared with again, and gives the same."""
    profile = Reference.from_frame(reference, time="created", outputs=["approved"])
    again = Report.of(profile, lender(seed=2, start="2026-03-02", days=40, changed=True), time="created")
    assert again.to_json() == drifted.to_json()


def test_json_has_all_facts(drifted):
    """Every feature, bin and window, without NaN, as plain JSON."""
    document = json.loads(json.dumps(drifted.to_json(), allow_nan=False))
    assert (document["format"], document["drifted"], document["verdict"]) == (1, True, drifted.sentence)
    purpose = next(feature for feature in document["features"] if feature["name"] == "purpose")
    assert purpose["verdict"] == "drifted" and purpose["unseen"]["current"] > 0.1
    assert {each["label"] for each in purpose["bins"]} == {"car", "house", "boat", "unseen"}
    assert set(document["windows"][0]["psi"]) == {feature["name"] for feature in document["features"]}


@pytest.mark.parametrize(("how", "error", "sentence"), [
    ({"distance": "hellinger"}, UnknownDistance, "No distance is named 'hellinger'"),
    ({"window": "fortnight"}, InvalidData, "No window is named 'fortnight'; wanted one of hour, day, "),
    ({"target": "nope"}, InvalidData, "has no column 'nope'"),
], ids=lambda value: None)
def test_what_does_not_fit_is_one_sentence(reference, how, error, sentence):
    """What was wanted, and what there is."""
    with pytest.raises(error, match=sentence):
        Report.of(reference, reference, **{**COLUMNS, **how})


def test_batches_without_rows_or_columns_are_refused(reference):
    """There is nothing to say of them."""
    with pytest.raises(InvalidData, match="The current data has no rows"):
        Report.of(reference, reference.head(0))
    with pytest.raises(InvalidData, match="none of the reference's columns; it has other"):
        Report.of(reference, pd.DataFrame({"other": [1]}))


ODD = {
    "constant": pd.DataFrame({"x": [3.0] * 400}),
    "all missing": pd.DataFrame({"x": [np.nan] * 400}),
    "infinite": pd.DataFrame({"x": [np.inf, -np.inf] * 200}),
    "enormous": pd.DataFrame({"x": np.r_[np.full(399, 1.0), 1e300]}),
    "many categories": pd.DataFrame({"x": [f"c{number}" for number in range(400)]}),
    "usual": pd.DataFrame({"x": np.random.default_rng(2).normal(size=400)}),
    "text": pd.DataFrame({"x": ["a"] * 200 + ["b"] * 200}),
    "five rows": pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 5.0]}),
    "one row": pd.DataFrame({"x": [1.0]}),
}


@pytest.mark.parametrize("now", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("before", ODD.values(), ids=ODD.keys())
def test_odd_batches_break_nothing(before, now):
    """Each against each: a page and JSON without NaN come out, or one sentence that says why not."""
    try:
        report = Report.of(before, now)
    except InvalidData as refusal:
        assert "\n" not in str(refusal)
        return
    assert json.dumps(report.to_json(), allow_nan=False)
    assert report.to_html().startswith("<!doctype html>") and "nan" not in report.to_html().replace("finance", "")


def test_a_column_that_goes_missing_has_drifted():
    """An alarm, never an error, by the test and by a distance that leaves the missing out."""
    for distance in (None, "kolmogorov_smirnov", "wasserstein"):
        assert Report.of(ODD["usual"], ODD["all missing"], distance=distance).drifted


def test_two_thousand_features_are_compared():
    """A wide batch: every feature is in the table, the charts are those of the first sixty."""
    generator = np.random.default_rng(3)
    names = [f"x{number}" for number in range(2_000)]
    before, now = (pd.DataFrame(generator.normal(size=(400, 2_000)), columns=names) for _ in range(2))
    report = Report.of(Reference.from_frame(before, joint=False), now + np.eye(1, 2_000, 7) * 2)
    assert [feature.name for feature in report.changed] == ["x7"]
    page = report.to_html()
    assert page.count("<article") == 60 and page.count('scope="row"><a href="#f-x') == 2_000


def test_a_notebook_shows_the_page_in_a_frame(calm):
    """Its style does not touch the notebook's."""
    assert calm._repr_html_().startswith('<iframe title="Drift report"')
    assert "&lt;!doctype html&gt;" in calm._repr_html_()


@pytest.mark.parametrize("file", [False, True])
def test_personal_values_are_told_by_nothing(tmp_path, file):
    """A column of addresses with few values, as one of many, and one of birth dates: none of them stands in the facts
    or on the page, and the change is found all the same."""
    rng = np.random.default_rng(8)
    people = [f"planted.{number}@example.org" for number in range(6)]

    def some(shares):
        return pd.DataFrame({"contact": rng.choice(people, 2_000, p=shares), "amount": rng.normal(size=2_000),
                             "note": [f"seen.{number}@example.org" for number in rng.permutation(2_000)]})

    before, now = some([0.5, 0.1, 0.1, 0.1, 0.1, 0.1]), some([0.1, 0.1, 0.1, 0.1, 0.1, 0.5])
    if file:
        before.to_csv(tmp_path / "before.csv", index=False)
        now.to_csv(tmp_path / "now.csv", index=False)
        report = Report.of_files(tmp_path / "before.csv", tmp_path / "now.csv")
    else:
        report = Report.of(before, now)
    assert found(report, "contact").verdict is Verdict.DRIFTED
    told = json.dumps(report.to_json()) + report.to_html()
    assert "example.org" not in told and "planted" not in told
