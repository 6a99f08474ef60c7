"""The log stays below its cap, oldest segments first, and never at the cost of one that is being written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serinus.serving.prediction_log import SegmentWriter, entries, read, segments
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.prediction_log.manifest import exclusive
from serinus.serving.steward.cap_log import CapLog
from tests.serving.prediction_log.examples import records
from tests.serving.steward.hosts import shared


def fill(folder: Path, number: int) -> None:
    """As many finished segments of one record each, the first the newest by its time."""
    for age in range(number):
        writer = SegmentWriter(folder, age, 1)
        writer.append(records()[0], 0)
        os.utime(segments(folder)[age], (1e9 - age, 1e9 - age))


def test_the_oldest_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As many as are needed, by the time of their last record; each is said by name."""
    fill(tmp_path / "log" / "segments", 5)
    size = sum(path.stat().st_size for path in segments(tmp_path / "log" / "segments"))
    host = shared(tmp_path, log={"cap_bytes": size * 3 // 5})
    oldest = [path.name for path in segments(host.home.log)][3:]
    CapLog().run(host)
    assert len(segments(host.home.log)) == 3
    assert all(f"removed {name}" in caplog.text for name in oldest)
    assert len(list(read(host.home.log))) == 3


def test_what_shadows_predicted_is_under_the_same_cap(tmp_path: Path) -> None:
    """Whichever is older goes first."""
    host = shared(tmp_path, log={"cap_bytes": 1})
    fill(host.home.log, 1)
    fill(host.home.shadow_log, 2)
    CapLog().run(host)
    assert not segments(host.home.log)
    assert not segments(host.home.shadow_log)


def test_below_the_cap_nothing_goes(tmp_path: Path) -> None:
    """At it neither."""
    fill(tmp_path / "log" / "segments", 2)
    size = sum(path.stat().st_size for path in segments(tmp_path / "log" / "segments"))
    CapLog().run(shared(tmp_path, log={"cap_bytes": size}))
    assert len(segments(tmp_path / "log" / "segments")) == 2


def test_a_segment_that_is_written_stays(tmp_path: Path) -> None:
    """Even as the oldest of all, far over the cap."""
    host = shared(tmp_path, log={"cap_bytes": 1})
    writer = SegmentWriter(host.home.log, 77, 1 << 20)
    writer.append(records()[0], 0)
    os.utime(segments(host.home.log)[0], (1, 1))
    fill(tmp_path / "other", 3)
    for path in segments(tmp_path / "other"):
        path.rename(host.home.log / path.name)
    CapLog().run(host)
    (left,) = segments(host.home.log)
    assert left.name.startswith(f"{77:09x}")
    writer.append(records()[0], 1)
    assert len(list(read(host.home.log))) == 2
    writer.close()
    CapLog().run(host)
    assert segments(host.home.log) == []


def test_segments_and_parquet_are_under_one_cap(tmp_path: Path) -> None:
    """Whichever holds the oldest predictions goes first; its size is that of its files."""
    host = shared(tmp_path, log={"cap_bytes": 1})
    fill(host.home.log, 1)
    compact(host.home.log)
    (old,) = entries(host.home.log)
    writer = SegmentWriter(host.home.log, 9, 1)
    writer.append(records()[0], 0)
    sizes = {entry: entry.path.stat().st_size if entry.manifest is None else entry.manifest.size
             for entry in entries(host.home.log)}
    assert len(sizes) == 2
    CapLog().run(shared(tmp_path, log={"cap_bytes": sum(sizes.values())}))
    assert len(list(read(host.home.log))) == 2
    CapLog().run(shared(tmp_path, log={"cap_bytes": sum(sizes.values()) - 1}))
    assert [entry for entry in sizes if entry.exists] == [entry for entry in sizes if entry != old]
    assert list(tmp_path.rglob("*.parquet")) == []


def test_what_is_too_old_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By its last prediction, whatever the size; by default age does not matter."""
    host = shared(tmp_path, log={"keep_days": 2})
    fill(host.home.log, 3)  # 0, 1 and 2 seconds before 1e9
    CapLog(lambda: 1e9 + 10 * 86_400).run(shared(tmp_path))
    CapLog(lambda: 1e9 - 0.5 + 2 * 86_400).run(host)
    assert len(segments(host.home.log)) == 1
    assert "older than log.keep_days: removed" in caplog.text


def test_while_others_change_the_log_nothing_goes(tmp_path: Path) -> None:
    """The next turn does it."""
    host = shared(tmp_path, log={"cap_bytes": 1})
    fill(host.home.log, 2)
    with exclusive(host.home.log):
        CapLog().run(host)
    assert len(segments(host.home.log)) == 2
    CapLog().run(host)
    assert segments(host.home.log) == []


def test_no_log_is_no_work(tmp_path: Path) -> None:
    """It may be switched off."""
    CapLog().run(shared(tmp_path))
