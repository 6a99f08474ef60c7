"""A veto takes a model back at once, from nothing but the last-known-good snapshot."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from serinus.serving.errors import ControlRefused, SerinusError
from serinus.serving.home import Home
from serinus.serving.rollout import Phase, Plan, RolloutRecord
from serinus.serving.snapshot import write_snapshot
from serinus.serving.veto import Veto, Vetoes, cast_veto, read_vetoes, remove_veto

FIXTURE = Path(__file__).with_name("fixtures") / "vetoes_1.json"
CANARY = RolloutRecord(
    "wine",
    5,
    "r1",
    Phase.CANARY,
    Plan((500,)),
    step_id="s",
    weight=500,
    stable="1",
    stable_digest="d1",
    candidate="2",
    candidate_digest="d2",
    salt="x",
)


def promoted(window_s: float = 3600) -> RolloutRecord:
    return replace(
        CANARY,
        phase=Phase.PROMOTED,
        weight=0,
        step_id="",
        stable="2",
        stable_digest="d2",
        candidate=None,
        candidate_digest=None,
        previous_stable="1",
        previous_digest="d1",
        previous_until=time.time() + window_s,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.run.mkdir()
    write_snapshot(made.snapshot, {"wine": CANARY})
    return made


def test_a_veto_takes_the_candidate_off(home: Home) -> None:
    """Its entry says which version gets nothing, which one answers, who wanted it and why."""
    veto = cast_veto(home, "wine", actor="ana", reason="complaints")
    assert (veto.version, veto.stable, veto.rollout_id, veto.sequence) == ("2", "1", "r1", 1)
    assert (veto.actor, veto.reason, veto.to) == ("ana", "complaints", None)
    assert read_vetoes(home.vetoes) == Vetoes(1, {"wine": veto})


def test_after_a_promotion_the_version_before_answers(home: Home) -> None:
    """While its window lasts."""
    write_snapshot(home.snapshot, {"wine": promoted()})
    veto = cast_veto(home, "wine", actor="ana", reason="")
    assert (veto.version, veto.stable) == ("2", "1")


def test_after_the_window_nothing_can_come_back_at_once(home: Home) -> None:
    """It is said, and nothing is written."""
    write_snapshot(home.snapshot, {"wine": promoted(window_s=-1)})
    with pytest.raises(ControlRefused):
        cast_veto(home, "wine", actor="ana", reason="")
    assert read_vetoes(home.vetoes) == Vetoes(0, {})


def test_a_version_that_is_not_loaded_cannot_answer_at_once(home: Home) -> None:
    """The sentence says how to get there."""
    with pytest.raises(ControlRefused, match=r"Version 7 .* not kept loaded.*serinus rollout start wine:7"):
        cast_veto(home, "wine", actor="ana", reason="", to="7")


def test_what_is_not_known_cannot_be_taken_back(home: Home) -> None:
    """Another model, or no snapshot at all."""
    with pytest.raises(ControlRefused, match="Nothing is known of a rollout of 'other'") as caught:
        cast_veto(home, "other", actor="ana", reason="")
    assert caught.value.kind == "not_found"


def test_pressing_twice_is_once(home: Home) -> None:
    """The second caller gets the first one's veto."""
    assert cast_veto(home, "wine", actor="ana", reason="a") == cast_veto(home, "wine", actor="bob", reason="b")
    assert read_vetoes(home.vetoes).sequence == 1


def test_eight_at_once_are_one(home: Home) -> None:
    """The lock file sees to it."""
    found: list[Veto] = []
    threads = [
        threading.Thread(target=lambda: found.append(cast_veto(home, "wine", actor="a", reason=""))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_vetoes_of_two_models_stand_side_by_side(home: Home) -> None:
    """Removing one leaves the other; every change raises the sequence."""
    write_snapshot(home.snapshot, {"wine": CANARY, "churn": replace(CANARY, model="churn")})
    wine, churn = (cast_veto(home, model, actor="ana", reason="") for model in ("wine", "churn"))
    assert (wine.sequence, churn.sequence) == (1, 2)
    remove_veto(home, wine)
    assert read_vetoes(home.vetoes) == Vetoes(3, {"churn": churn})


def test_a_newer_veto_is_not_removed_with_an_old_one(home: Home) -> None:
    """Whoever carried the first must carry the second too."""
    old = cast_veto(home, "wine", actor="ana", reason="first")
    remove_veto(home, old)
    new = cast_veto(home, "wine", actor="ana", reason="second")
    remove_veto(home, old)
    assert read_vetoes(home.vetoes).by_model == {"wine": new}


def test_format_1_is_read_and_written(home: Home) -> None:
    """A veto survives restarts and upgrades."""
    known = json.loads(FIXTURE.read_text())
    found = read_vetoes(FIXTURE)
    assert found.sequence == 3
    assert {name: asdict(veto) for name, veto in found.by_model.items()} == known["vetoes"]
    cast_veto(home, "wine", actor="ana", reason="complaints")
    written = json.loads(home.vetoes.read_text())
    assert written["format"] == 1
    assert list(written) == list(known)
    assert list(written["vetoes"]["wine"]) == list(known["vetoes"]["wine"])


def test_a_newer_format_is_refused(home: Home) -> None:
    """And never overwritten."""
    home.vetoes.write_text(json.dumps(json.loads(FIXTURE.read_text()) | {"format": 2}))
    for attempt in (lambda: read_vetoes(home.vetoes), lambda: cast_veto(home, "wine", actor="a", reason="")):
        with pytest.raises(SerinusError, match=r"vetoes\.json has format 2, this program reads 1: upgrade it"):
            attempt()
    assert json.loads(home.vetoes.read_text())["format"] == 2
