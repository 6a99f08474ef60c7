"""Gaps between groups of live rows, of as many classes as there are."""

from __future__ import annotations

import numpy as np
import pytest

from serinus.monitors.performance import Definition
from serinus.serving.performance.causes import Judged, fairness
from serinus.serving.performance.sample import Rows


@pytest.mark.parametrize(("labels", "measure"), [((1, 2), "recall"), ((1, 2, 3), "recall of 2"),
                                                 (tuple(range(30)), None)])
def test_the_class_that_one_group_misses_is_told(labels: tuple[int, ...], measure: str | None) -> None:
    """Of thirty classes no more is said than of numbers."""
    draw, rows = np.random.default_rng(0), 2_000
    region, truth = draw.choice(["north", "south"], rows).astype(object), draw.choice(labels, rows)
    said = np.where((region == "south") & (truth == 2) & (draw.random(rows) < 0.5), 1, truth)
    kept = Rows(np.arange(rows), tuple(map(str, range(rows))), said, None, np.empty((rows, 0)), np.empty((rows, 0)),
                np.full(rows, np.nan), {"region": region})
    definition = Definition("classification", labels)
    gaps = {gap["measure"]: gap for gap in fairness(Judged.of(definition, kept, truth), ["region"])}
    assert (measure in gaps) == (measure is not None) == bool(gaps)
    if measure is not None:
        assert gaps[measure]["groups"] == ["region=north", "region=south"]
        assert (gaps[measure]["verdict"], round(gaps[measure]["difference"], 1)) == ("gap", 0.5)
        assert "is 0.5" in gaps[measure]["text"] or "is 0.4" in gaps[measure]["text"]
