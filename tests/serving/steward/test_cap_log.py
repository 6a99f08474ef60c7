"""The log stays below its cap, oldest segments first, and never at the cost of one that is being written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serinus.serving.prediction_log import SegmentWriter, read, segments
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


def test_no_log_is_no_work(tmp_path: Path) -> None:
    """It may be switched off."""
    CapLog().run(shared(tmp_path))
