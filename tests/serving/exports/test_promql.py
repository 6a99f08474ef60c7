"""PromQL that names our metrics."""

from __future__ import annotations

import pytest

from serinus.serving.exports.promql import grouped, label, quantile, series
from serinus.serving.telemetry import names


def test_a_metric_that_does_not_exist_is_an_error() -> None:
    """A query cannot be made of a name that was mistyped, or is gone."""
    with pytest.raises(KeyError):
        series("serinus.rowz")


def test_both_spellings_of_a_share_are_meant() -> None:
    """A collector adds `_ratio` to gauges without unit, `/metrics` does not."""
    assert series("serinus.rollout.weight", 'a="b"') == '{__name__=~"serinus_rollout_weight(_ratio)?",a="b"}'


def test_a_quantile_groups_by_its_buckets() -> None:
    """And by what was asked for."""
    assert quantile(0.9, "serinus.predict.duration", [names.ROLE], "5m") == (
        "histogram_quantile(0.9, sum by (le, serinus_role) (rate(serinus_predict_duration_seconds_bucket[5m])))")


def test_without_attributes_everything_is_added_up() -> None:
    """Of all servers that are scraped."""
    assert grouped("up", ()) == "sum(up)"
    assert label(names.HTTP_STATUS) == "http_response_status_code"
