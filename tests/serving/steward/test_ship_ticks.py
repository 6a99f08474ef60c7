"""What workers counted reaches the store, whoever dies when; a sheet goes when its worker has and its counts are
there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from serinus.serving.home import RunFolder
from serinus.serving.sheet import Sheet, sheets_in
from serinus.serving.steward.job import Shared
from serinus.serving.steward.ship_ticks import ShipTicks
from serinus.serving.store import StoreUnavailable
from serinus.serving.ticks import Ledger, of_ticks
from tests.serving.steward.hosts import host, lose_store

__all__ = ["host"]


def _sheet(folder: Path, incarnation: str = "00aa") -> Sheet:
    return Sheet(folder, incarnation, "wine", "1", "sha256:d", 2)


def _count(sheet: Sheet, rows: int) -> None:
    sheet.see(rows)
    pane = sheet.begin()
    pane.counts.add(np.zeros((rows, 2), np.uint8))
    sheet.flip(1)


def _rows(host: Shared) -> int:
    return Ledger().news(of_ticks(host.store.ticks()), 2).counts.rows


def test_a_living_sheet_is_shipped_when_it_changed(host: Shared) -> None:
    """And not again while it rests."""
    sheet, job = _sheet(host.run.sheets), ShipTicks(lambda: 100.5)
    _count(sheet, 3)
    for _ in range(3):
        job.run(host)
    (tick,) = host.store.ticks()
    assert (tick.interval, _rows(host)) == (100, 3)
    _count(sheet, 4)
    job.run(host)
    assert _rows(host) == 7
    assert sheets_in(host.run.sheets) == [sheet.path]


def test_a_dead_workers_sheet_is_shipped_and_removed(host: Shared) -> None:
    """Also when a steward died after it had shipped, and another one ships again."""
    sheet = _sheet(host.run.sheets)
    _count(sheet, 5)
    sheet.close()
    kept = shutil.copy(sheet.path, sheet.path.with_suffix(".kept"))
    ShipTicks(lambda: 100.0).run(host)
    assert sheets_in(host.run.sheets) == []
    Path(kept).rename(sheet.path)
    ShipTicks(lambda: 105.0).run(host)
    assert _rows(host) == 5
    (told,) = of_ticks(host.store.ticks())
    assert told.ended


def test_an_outage_of_the_store_loses_nothing(host: Shared) -> None:
    """What could not be shipped stays on disk until it can."""
    sheet, job = _sheet(host.run.sheets), ShipTicks(lambda: 100.0)
    _count(sheet, 5)
    sheet.close()
    lose_store(host.home)
    with pytest.raises(StoreUnavailable):
        job.run(host)
    assert sheets_in(host.run.sheets) == [sheet.path]
    host.forget_store()
    job.run(host)
    assert (sheets_in(host.run.sheets), _rows(host)) == ([], 5)


def test_sheets_of_a_server_that_is_gone_are_shipped_by_the_next_one(host: Shared) -> None:
    """All its processes were killed at once, the steward too."""
    gone = RunFolder(host.home.run / "server-0")
    gone.claim(2**22 + 1)
    sheet = _sheet(gone.sheets)
    _count(sheet, 6)
    job = ShipTicks(lambda: 100.0)
    job.run(host)
    assert host.store.ticks() == [], "its worker still lives"
    sheet.close()
    job.run(host)
    assert (_rows(host), sheets_in(gone.sheets)) == (6, [])


def test_a_file_that_was_never_finished_goes(host: Shared) -> None:
    """A worker that died while it made its sheet leaves nothing to ship."""
    host.run.sheets.mkdir(parents=True)
    (host.run.sheets / "x.sheet").write_bytes(b"")
    ShipTicks().run(host)
    assert sheets_in(host.run.sheets) == []
    assert host.store.ticks() == []
