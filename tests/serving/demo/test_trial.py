"""The demo's plans are plans, and who came back to whom is counted after every worker could follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.serving.demo.patients import Met
from serinus.serving.demo.trial import CALM, FAST, Pace, came_back, write_plan
from serinus.serving.rollout import plan_file


@pytest.mark.parametrize("pace", [CALM, FAST])
def test_the_plan_is_read_as_it_is_meant(pace: Pace, tmp_path: Path) -> None:
    """It judges itself, with a shadow first and a certificate at the end."""
    path = tmp_path / "plan.toml"
    write_plan(path, pace)
    plan = plan_file.read(path)
    assert plan.steps == (pace.first * 100, 5000)
    assert plan.judgement is not None
    assert (plan.judgement.shadow, plan.judgement.certify_from, plan.judgement.alpha) == (10_000, 5000, 0.001)
    assert plan.judgement.margin == pace.margin


def test_who_meets_stable_after_the_candidate_is_seen() -> None:
    """Not who comes again at once, when one worker may not yet have followed, and not who went on to the candidate."""
    met = [Met("a", "1", 0, 1), Met("a", "2", 10, 1), Met("a", "1", 20, 1),  # went back
           Met("b", "2", 0, 1), Met("b", "1", 1, 1),  # within a second
           Met("c", "1", 0, 1), Met("c", "2", 10, 1), Met("c", "2", 20, 1)]
    assert came_back(met, "1", "2") == (4, 1)
