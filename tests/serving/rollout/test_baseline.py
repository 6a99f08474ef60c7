"""Baselines: stable's own speed and errors, frozen when a rollout begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from serinus.models import Field, Signature
from serinus.serving.board import BOUNDS_NS, EMPTY, Labels, Series
from serinus.serving.errors import SerinusError
from serinus.serving.rollout.baseline import Baseline, answered, class_labels, freeze, publish_baselines, read_baselines

MS = 1_000_000


def series(version: str = "1", error: str = "", **buckets: int) -> tuple[Labels, Series]:
    """Counts by bucket number, given as b3=100."""
    counts = [buckets.get(f"b{number}", 0) for number in range(len(BOUNDS_NS) + 1)]
    labels = Labels("wine", version, "stable", "/predict", "POST", 500 if error else 200, error)
    return labels, EMPTY._replace(duration_buckets=tuple(counts))


def histogram(**buckets: int) -> tuple[int, ...]:
    """Answers by bucket number, given as b3=100."""
    return answered("wine", "1", [series(**buckets)])[0]


def test_quantiles_are_read_off_the_histogram() -> None:
    """100 requests evenly from 5 to 10 ms: the median at 7.5, the 95th percentile at 9.75, the 99th at 9.95 ms."""
    found = freeze("wine", "r1", (), histogram(b4=100), 0, (), enough=100)
    assert found.thresholds_ns == (7.5 * MS, 9.75 * MS, 9.95 * MS)


def test_only_stables_own_answers_count() -> None:
    """Other versions say nothing, errors tell no speed, and who went away is no error."""
    buckets, errors = answered("wine", "1", [series(b4=200), series(version="2", b9=900),
                                             series(error="timeout", b16=10), series(error="cancelled", b0=5)])
    assert (sum(buckets), buckets[4], errors) == (200, 200, 10)
    assert answered("wine", "3", [series(b4=200)]) == ((), 0)


def test_only_recent_answers_tell_how_fast_stable_is() -> None:
    """What was before the preflight, such as the start of the server, does not; of errors all count."""
    found = freeze("wine", "r1", histogram(b12=500), histogram(b12=500, b4=100), 3, (), enough=100)
    assert (found.thresholds_ns[0], found.requests, found.errors) == (7.5 * MS, 603, 3)


def test_the_next_step_is_measured_by_what_came_since() -> None:
    """Where that is enough; a histogram that began anew, with another server, counts from there."""
    first = freeze("wine", "r1", (), histogram(b4=100), 0, (), enough=100)
    assert first.refreshed(histogram(b4=100, b6=99), enough=100) == first
    second = first.refreshed(histogram(b4=100, b6=100), enough=100)
    assert second.thresholds_ns[0] == 37.5 * MS
    assert second.refreshed(histogram(b2=100), enough=100).thresholds_ns[0] == 1.75 * MS
    without = freeze("wine", "r1", (), histogram(b4=1), 0, (), enough=100)
    assert without.refreshed(histogram(b4=999), enough=100) == without, "what was not compared is not compared later"


def test_the_slowest_bucket_has_no_upper_bound() -> None:
    """A quantile beyond the histogram is its last bound."""
    assert freeze("wine", "r1", (), histogram(b17=10), 0, (), enough=1).thresholds_ns == (BOUNDS_NS[-1],) * 3


def test_too_little_is_no_baseline_of_speed() -> None:
    """Nothing at all included."""
    assert freeze("wine", "r1", (), histogram(b4=99), 0, (), enough=100).thresholds_ns == ()
    assert freeze("wine", "r1", (), (), 0, (), enough=100) == Baseline("wine", "r1")


def test_what_a_sound_version_fails_at_most_is_a_bound() -> None:
    """Above what was seen, never 0, and never one half."""
    known = Baseline("wine", "r1", requests=10_000, errors=100)
    assert 0.01 < known.expected_failures < 0.016
    assert Baseline("wine", "r1", requests=10**7).expected_failures == 0.001
    assert Baseline("wine", "r1", requests=10, errors=10).expected_failures == 0.4
    assert Baseline("wine", "r1").expected_failures == 0.01


def test_classes_of_both_versions_are_known() -> None:
    """Stable's first; a version without classes adds none."""
    def signature(*labels: str) -> Signature:
        return Signature((Field("x", "FP64", (-1,)),), (Field("y", "BYTES", (-1,), labels=labels or None),))

    assert class_labels(signature("red", "white"), signature("white", "rosé")) == ("red", "white", "rosé")
    assert class_labels(signature(), signature()) == ()


def test_workers_read_what_was_published(tmp_path: Path) -> None:
    """All fields; nothing before the first; a newer format is said, and the same again does not touch the file."""
    path = tmp_path / "run" / "baselines.json"
    assert read_baselines(path) == {}
    known = Baseline("wine", "r1", (1, 2, 3), 10, 1, (5, 5), ("red", 2))
    publish_baselines(path, [known])
    stamp = path.stat().st_ino
    publish_baselines(path, [known])
    assert (read_baselines(path), path.stat().st_ino) == ({"wine": known}, stamp)
    publish_baselines(path, [replace(known, errors=2)])
    assert read_baselines(path)["wine"].errors == 2
    path.write_text('{"format": 9}')
    with pytest.raises(SerinusError, match="format 9"):
        read_baselines(path)
