"""Which detector judges a step: weights of the sides, widths of dead zones, season cells."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from serinus.monitors import Reference
from serinus.monitors.detectors import Detectors, estimated, season_of, weights_of, width
from serinus.monitors.features import Feature


def _features(**sides: int) -> list[Feature]:
    return [Feature(f"{side}{i}", "", side, "numeric") for side, count in sides.items() for i in range(count)]  # type: ignore[arg-type]


def test_each_side_has_its_part_of_the_mean() -> None:
    """Inputs one half, outputs and joint features a quarter each; without the others, inputs have all."""
    weights = weights_of(_features(input=2_000, output=1, joint=17))
    assert weights[:2_000].sum() == pytest.approx(0.5)
    assert weights[2_000] == pytest.approx(0.25)
    assert weights[2_001:].sum() == pytest.approx(0.25)
    assert weights_of(_features(input=4)).tolist() == [0.25] * 4
    assert weights_of(_features(input=1, output=3)).tolist() == pytest.approx([2 / 3, 1 / 9, 1 / 9, 1 / 9])


def test_what_cannot_be_monitored_has_no_weight() -> None:
    """An all-missing column takes nothing from the others; with nothing left there is no weight at all."""
    broken = Feature("empty", "empty", "input", "numeric", monitorable=False, reason="all missing")
    assert weights_of([broken, *_features(input=1)]).tolist() == [0.0, 1.0]
    assert weights_of([broken]).tolist() == [0.0]
    assert len(weights_of([])) == 0


@pytest.mark.parametrize(
    ("time", "cell"),
    [("2024-01-01T00:30", 0), ("2024-01-05T23:59", 23), ("2024-01-06T00:00", 24), ("2024-01-07T13:00", 37)],
)
def test_a_season_cell_is_an_hour_of_a_working_day_or_of_a_weekend(time: str, cell: int) -> None:
    """Monday, Friday, Saturday, Sunday; in UTC, as the profile counts them."""
    assert season_of(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()) == cell


def test_season_cells_are_those_of_the_profile() -> None:
    """One row at a time: the cell that the profile counted it in is the one that is asked for."""
    for time in ("2024-01-01 05:00", "2024-01-06 23:30"):
        at = pd.Timestamp(time)
        profile = Reference.from_frame(pd.DataFrame({"x": [1.0], "at": [at]}), time="at", seasons=True)
        assert profile.seasons is not None
        assert profile.seasons[season_of(at.timestamp())].any()


def test_a_poor_season_cell_is_filled_up_with_the_whole() -> None:
    """Sixty low rows before noon are outweighed by 440 of the reference; an hour that never was is the reference."""
    times = pd.date_range("2024-01-01 00:00", periods=12 * 60, freq="min")
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(times)) - 9 * np.asarray(times.hour == 11)
    profile = Reference.from_frame(pd.DataFrame({"x": values, "at": times}), time="at", seasons=True, joint=False)
    detectors = Detectors(profile, 1_000_000)
    whole = profile.counts[0] / profile.counts[0].sum()
    assert detectors.expected(times[-1].timestamp() + 7_200)[0] == pytest.approx(whole, abs=0.01)
    last = detectors.expected(times[-1].timestamp())[0]
    assert last[:2].sum() == pytest.approx((60 + 440 * whole[:2].sum()) / 500, abs=0.01)
    assert detectors.at(times[-1].timestamp()) is detectors.at(times[-30].timestamp())
    assert detectors.at(None) is detectors.pooled


@pytest.mark.parametrize(("rows", "sd"), [(1_000, 0.126), (10_000, 0.040)])
def test_the_width_of_the_zone_of_an_even_reference_is_z_over_root_m(rows: int, sd: float) -> None:
    """30 features: z is 3.93; monitoring.md's 0.13 and 0.04 sd."""
    rng = np.random.default_rng(0)
    profile = Reference.from_arrays({f"x{i}": rng.normal(size=rows) for i in range(30)}, joint=False)
    found = width(profile.counts, profile.ordered, estimated(profile))
    assert found == pytest.approx(np.full(30, sd), rel=0.05)


def test_constant_and_categorical_features_have_a_width_too() -> None:
    """A constant is measured against a fair coin: 1,000 rows are enough for it, 5 are not."""
    for rows, wide in ((1_000, False), (5, True)):
        columns = {"one": np.full(rows, 2.0), "word": np.array((["a", "b"] * rows)[:rows], object)}
        profile = Reference.from_arrays(columns, joint=False)
        found = width(profile.counts, profile.ordered, estimated(profile))
        assert ((found > 0.25) == wide).all()
