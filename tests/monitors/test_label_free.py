"""Clusterers and outlier detectors: quality without labels, told from chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.ensemble import IsolationForest
from sklearn.metrics import silhouette_score

from serinus.monitors.errors import InvalidData
from serinus.monitors.label_free import AlarmRate, centres_of, silhouette
from serinus.monitors.metrics import Sums

HEARTS = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
REFERENCE, _ = make_blobs(2_000, centers=HEARTS, cluster_std=1.0, random_state=0)
MODEL = KMeans(3, n_init=5, random_state=0).fit(REFERENCE)
CENTRES = centres_of(REFERENCE, MODEL.labels_)


def live(seed: int, spread: float = 1.0, rows: int = 1_000) -> np.ndarray:
    return make_blobs(rows, centers=HEARTS, cluster_std=spread, random_state=seed)[0]


def sums(rows: np.ndarray) -> Sums:
    return CENTRES.sums(rows, MODEL.predict(rows))


def test_inertia_is_the_mean_squared_distance() -> None:
    """On scaled columns, to the centres of the reference's clusters; and the clusters' sizes."""
    scaled = REFERENCE / REFERENCE.std(0)
    centres = np.stack([scaled[MODEL.labels_ == k].mean(0) for k in range(3)])
    wanted = ((scaled - centres[MODEL.labels_]) ** 2).sum(1).mean()
    found = sums(REFERENCE)
    assert CENTRES.measure(found)["inertia"].value == pytest.approx(wanted)
    assert found.table("clusters").tolist() == np.bincount(MODEL.labels_).tolist()


def test_the_silhouette_of_a_sample_is_scikit_learns() -> None:
    """Of all rows where they are few; the simplified one, of centres alone, is somewhat higher."""
    rows = live(1, rows=900)
    answers = MODEL.predict(rows)
    assert silhouette(rows, answers) == pytest.approx(silhouette_score(rows, answers))
    simplified = CENTRES.measure(CENTRES.sums(rows, answers))["silhouette"].value
    assert simplified == pytest.approx(silhouette_score(rows, answers) + 0.05, abs=0.05)
    assert silhouette(rows, np.zeros(900)) is None


def test_rows_that_fit_their_clusters_worse_are_told() -> None:
    """Twice the spread: inertia up, silhouette down; the same spread: neither, 50 times."""
    then = sums(REFERENCE)
    changed = {verdict.name: verdict for verdict in CENTRES.compare(sums(live(2, 2.0)), then)}
    assert all(verdict.changed for verdict in changed.values())
    assert changed["inertia"].difference is not None and changed["inertia"].difference.low > 0
    assert changed["silhouette"].difference is not None and changed["silhouette"].difference.high < 0
    assert not any(verdict.changed for seed in range(50) for verdict in CENTRES.compare(sums(live(10 + seed)), then))


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    """To the last bit, and through JSON."""
    rows = live(3)
    whole = sums(rows)
    assert sums(rows[:333]) + sums(rows[333:]) == whole == Sums.from_json(json.loads(json.dumps(whole.to_json())))


def test_odd_rows_break_nothing() -> None:
    """Missing, huge, of an unknown cluster, or too few to tell."""
    rows = np.array([[np.nan, 0.0], [1e300, -1e300], [0.0, 0.0], [8.0, 0.0]])
    found = CENTRES.sums(rows, np.array([0, 0, 99, MODEL.predict([[8.0, 0.0]])[0]]))
    assert found.rows == 2 and CENTRES.measure(found)["inertia"].value is not None
    assert [verdict.changed for verdict in CENTRES.compare(found, sums(REFERENCE))] == [None, None]
    with pytest.raises(InvalidData, match="two of them or more"):
        centres_of(REFERENCE, np.where(MODEL.labels_ == 0, 0, -1))


def test_an_alarm_rate_is_held_against_the_references() -> None:
    """A detector that alarms for 5 % of its reference: the same on rows like it, more on others."""
    detector = IsolationForest(contamination=0.05, random_state=0, n_estimators=50).fit(REFERENCE)
    then = AlarmRate.of(detector.predict(REFERENCE))
    assert then == AlarmRate(100, 2_000)
    assert AlarmRate.of(detector.predict(live(4))).compare(then).changed is False
    verdict = AlarmRate.of(detector.predict(live(5, 3.0))).compare(then)
    assert verdict.changed and verdict.difference is not None and verdict.difference.low > 0.1


def test_alarm_rates_add_and_small_ones_are_unknown() -> None:
    """Counts of two workers; 49 rows tell nothing; a difference that is certain but small is no change."""
    assert AlarmRate(1, 20) + AlarmRate(3, 29) == AlarmRate(4, 49)
    assert AlarmRate(4, 49).compare(AlarmRate(50, 1_000)).changed is None
    assert AlarmRate(6_000, 100_000).compare(AlarmRate(5_000, 100_000)).changed is False
    assert AlarmRate(0, 1_000).compare(AlarmRate(50, 1_000)).changed is True
