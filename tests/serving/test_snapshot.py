"""The snapshot tells workers what the store last said, and how long ago."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serinus.serving.errors import SerinusError
from serinus.serving.rollout import FormatUnknown, Phase, Plan, RolloutRecord
from serinus.serving.snapshot import Snapshot, boot_id, read_snapshot, write_snapshot

FIXTURE = Path(__file__).with_name("fixtures") / "snapshot_1.json"
RECORD = RolloutRecord(
    "wine",
    7,
    "r1",
    Phase.CANARY,
    Plan((500, 5000)),
    "abc",
    1,
    "s2",
    5000,
    0,
    "1",
    "d1",
    "2",
    "d2",
    "0",
    "d0",
    1e9,
    "5a17",
    ("bad",),
    3.5,
    "why",
    "ana",
    2e9,
)


def test_records_come_back_whole(tmp_path: Path) -> None:
    """Every field, confirmed just now."""
    records = {"wine": RECORD, "churn": RolloutRecord("churn", 3, stable="1")}
    write_snapshot(tmp_path / "s.json", records)
    found = read_snapshot(tmp_path / "s.json")
    assert found.records == records
    assert found.generation == 10
    assert 0 <= found.age_s() < 5


def test_no_snapshot_is_an_old_one(tmp_path: Path) -> None:
    """Nothing is known, and nobody confirmed it."""
    found = read_snapshot(tmp_path / "none.json")
    assert (found.records, found.generation, found.age_s()) == ({}, 0, float("inf"))


def test_a_snapshot_of_an_earlier_boot_is_unconfirmed() -> None:
    """Monotonic times of two boots do not compare."""
    assert Snapshot({}, 10**30, "another boot").age_s() == float("inf")
    assert Snapshot({}, 0, boot_id()).age_s() > 0


def test_format_1_is_read() -> None:
    """The last-known-good state that an older release left."""
    assert read_snapshot(FIXTURE).records == {"wine": RECORD}


def test_format_1_is_written(tmp_path: Path) -> None:
    """The same text but for time and boot, so a release that goes back reads it too."""
    write_snapshot(tmp_path / "s.json", {"wine": RECORD})
    written, known = json.loads((tmp_path / "s.json").read_text()), json.loads(FIXTURE.read_text())
    assert written | {"confirmed_ns": known["confirmed_ns"], "boot": known["boot"]} == known


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """Of the snapshot, and of a record in it."""
    newer = json.loads(FIXTURE.read_text())
    (tmp_path / "s.json").write_text(json.dumps(newer | {"format": 2}))
    with pytest.raises(SerinusError, match=r"s\.json has format 2, this program reads 1: upgrade it"):
        read_snapshot(tmp_path / "s.json")
    newer["records"]["wine"]["format"] = 3
    (tmp_path / "s.json").write_text(json.dumps(newer))
    with pytest.raises(FormatUnknown, match="format 3"):
        read_snapshot(tmp_path / "s.json")
