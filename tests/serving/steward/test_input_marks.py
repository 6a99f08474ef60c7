"""Inputs of a rollout's arms, from what the monitors of all hosts counted since its step began."""

from __future__ import annotations

import orjson
import pytest

from serinus.serving.references import Chosen
from serinus.serving.rollout import Phase
from serinus.serving.steward.input_marks import MARK, InputMarks
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_drift import STATE
from serinus.serving.steward.judge_rollouts import JudgeRollouts
from serinus.serving.steward.ship_tallies import ShipTallies
from serinus.serving.store import Document
from serinus.serving.stream import Stream
from serinus.serving.ticks import Told
from tests.serving.profiles import live, small_profile
from tests.serving.steward.trials import count, judged, past_preflight, tally_of

__all__ = ["judged"]

START = 1_800_000_000.0


class Monitors:
    """What the monitors of both versions counted, in the store."""

    def __init__(self, host: Shared) -> None:
        self._host, profile = host, small_profile()
        host.store.put_document(Document("profile", profile.digest, 1, profile.to_bytes(), START), expected_revision=0)
        self._streams = {version: Stream("wine", version, Chosen(profile.digest, "registered"), profile, None, 10**6)
                         for version in "12"}
        self._counts = {version: profile.empty() for version in "12"}
        self._sequence = 0

    def see(self, version: str, rows: int, shift: float = 0.0) -> None:
        """So many rows more, ages higher by `shift`."""
        stream, counts = self._streams[version], self._counts[version]
        self._sequence += 1
        seen = stream.profile.encoder.observe(*live(rows, self._sequence, shift))
        counts.add(seen.codes, seen.deviations)
        stream.take([Told("w", "wine", version, stream.profile.digest, self._sequence, self._sequence, counts.rows,
                          counts.copy(), (), 0, False)], self._sequence)
        known = self._host.store.document(STATE, f"wine:{version}")
        revision = known.revision if known else 0
        self._host.store.put_document(Document(STATE, f"wine:{version}", revision + 1, stream.to_bytes(), START),
                                      expected_revision=revision)


@pytest.fixture
def monitors(judged: Shared) -> Monitors:
    return Monitors(judged)


def harm(host: Shared, monitors: Monitors, shift: float) -> JudgeRollouts:
    """A canary whose candidate has more errors, and rows that are `shift`ed."""
    monitors.see("1", 3_000, shift=2.0)  # before it began: nobody's business
    tally = tally_of(host, past_preflight(host, now=START))
    job = JudgeRollouts(lambda: START + 1, lambda: START + 1)
    job.run(host)
    monitors.see("1", 900)
    monitors.see("2", 300, shift)
    count(tally, 300, 2_700, errors=(60, 60), now=START)
    ShipTallies().run(host)
    job.run(host)
    return job


def test_errors_of_an_arm_with_other_inputs_are_nobodys_fault(judged: Shared, monitors: Monitors) -> None:
    """Held, with the difference named; another steward comes to the same. Where the inputs become alike, the candidate
    is rolled back after all."""
    harm(judged, monitors, shift=1.0)
    record = judged.store.record("wine")
    assert record is not None
    assert (record.phase, record.cause) == (Phase.HOLD, "inputs")
    assert "60 of 300 against 60 of 2,700" in record.reason
    assert "the arms did not get the same inputs: age is below" in record.reason
    JudgeRollouts(lambda: START + 2, lambda: START + 2).run(judged)
    assert judged.store.record("wine") == record
    monitors.see("2", 60_000)
    JudgeRollouts(lambda: START + 3, lambda: START + 3).run(judged)
    after = judged.store.record("wine")
    assert after is not None
    assert after.phase is Phase.ROLLING_BACK


def test_with_the_same_inputs_it_is_rolled_back(judged: Shared, monitors: Monitors) -> None:
    """What stable got before the step began is not compared."""
    harm(judged, monitors, shift=0.0)
    record = judged.store.record("wine")
    assert record is not None
    assert record.phase is Phase.ROLLING_BACK


def test_without_monitors_nobody_is_excused(judged: Shared) -> None:
    """Where nothing is known of the inputs, the counts decide."""
    record = past_preflight(judged, now=START)
    count(tally_of(judged, record), 300, 2_700, errors=(60, 60), now=START)
    ShipTallies().run(judged)
    JudgeRollouts(lambda: START + 1, lambda: START + 1).run(judged)
    after = judged.store.record("wine")
    assert after is not None
    assert after.phase is Phase.ROLLING_BACK


def test_a_mark_is_made_once_in_a_step(judged: Shared, monitors: Monitors) -> None:
    """Also by another steward, which would otherwise begin anew."""
    monitors.see("1", 500)
    record = past_preflight(judged, now=START)
    for _ in range(2):
        InputMarks().note(judged, record, START)
        monitors.see("1", 500)
    document = judged.store.document(MARK, "wine")
    assert document is not None
    body = orjson.loads(document.body)
    assert (document.revision, body["step_id"], body["arms"]["1"]["counts"]["rows"]) == (1, record.step_id, 500)
    assert body["arms"]["2"] is None
