"""Ticks and the ledger: every row once, in whatever order and however often messages come."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.monitors.counts import Counts
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.sheet import Sheet, Unusual, read
from serinus.serving.store import Tick
from serinus.serving.ticks import Ledger, Told, of_ticks, to_tick

FEATURES = 2


def _told(sheet: str, sequence: int, rows: int, *, ended: bool = False) -> Told:
    counts = Counts(FEATURES)
    counts.add(np.full((rows, FEATURES), rows % 18, np.uint8), np.full((rows, FEATURES), 0.5))
    return Told(sheet, "m", "1", "d", sequence, sequence, rows + 1, counts, (), 0, ended)


def test_a_sheet_becomes_a_tick_and_is_read_again(tmp_path: Path) -> None:
    """Through JSON, as the store keeps it, with prediction ids for its unusual rows."""
    sheet = Sheet(tmp_path, "00ab", "wine", "2", "sha256:abc", FEATURES)
    uuid = IdSource(7).next(1_700_000_000_000_000_000)[0]
    sheet.see(9)
    pane = sheet.begin()
    pane.counts.add(np.full((4, FEATURES), 3, np.uint8), np.ones((4, FEATURES)))
    sheet.remember(pane, [Unusual(uuid, 5, 2_500_000_000, 0.001, 1)], 1)
    sheet.flip(1)
    tick = to_tick(read(sheet.path), 77, ended=True)
    (found,) = of_ticks([Tick(tick.incarnation, tick.sequence, 77, json.loads(json.dumps(tick.body))),
                         Tick("other", 1, 77, {"n": 1})])
    assert (found.model, found.version, found.digest, found.interval) == ("wine", "2", "sha256:abc", 77)
    assert (found.seen, found.unusual, found.ended) == (9, 1, True)
    assert found.counts == pane.counts
    assert found.examples == ((prediction_id(uuid, 5), 2.5, 0.001, 1),)


def test_the_end_of_a_sheet_is_a_tick_of_its_own(tmp_path: Path) -> None:
    """That a worker has gone is told even where its last counts were told before."""
    sheet = Sheet(tmp_path, "00ab", "wine", "2", "sha256:abc", FEATURES)
    found = read(sheet.path)
    assert to_tick(found, 1, ended=True).sequence > to_tick(found, 1, ended=False).sequence


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_row_is_new_once(data: st.DataObject) -> None:
    """Ticks of several sheets, in any order, repeated, some lost, cut into any batches: the sum is that of the last."""
    steps = data.draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=5), min_size=1, max_size=3))
    ticks, expected = [], 0
    for number, added in enumerate(steps):
        totals = np.cumsum(added)
        ticks += [_told(f"w{number}", sequence, int(total), ended=sequence == len(added) - 1)
                  for sequence, total in enumerate(totals)]
        expected += int(totals[-1])
    kept = [tick for tick in ticks if tick.ended or data.draw(st.booleans())]
    sent = data.draw(st.permutations(kept + data.draw(st.lists(st.sampled_from(kept), max_size=6))))
    cut = data.draw(st.integers(0, len(sent)))
    ledger = Ledger()
    first = ledger.news(sent[:cut], FEATURES)
    ledger = Ledger.from_json(json.loads(json.dumps(ledger.to_json())))
    rest = ledger.news(sent[cut:], FEATURES)
    assert first.counts.rows + rest.counts.rows == expected
    assert first.seen + rest.seen == expected + len(steps)
    assert (first.counts + rest.counts).table.sum() == expected * FEATURES
    assert ledger.known == {}


def test_ended_sheets_are_forgotten_after_a_day() -> None:
    """The ledger of a server that restarts often stays small."""
    ledger = Ledger()
    ledger.news([_told("w", 5, 3, ended=True)], FEATURES)
    ledger.forget(5 + 24 * 3600)
    assert ledger.ended == {"w": 5}
    ledger.forget(6 + 24 * 3600)
    assert ledger.ended == {}


def test_counts_of_another_profile_are_left_out() -> None:
    """A tick that counts other features cannot be added."""
    assert Ledger().news([_told("w", 1, 3)], FEATURES + 1).counts.rows == 0
