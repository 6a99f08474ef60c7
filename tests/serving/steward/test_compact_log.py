"""The steward has segments replaced and copied by a process of its own, and says once what cannot be done."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from serinus.serving.prediction_log import read, segments
from serinus.serving.prediction_log.manifest import parquet_folder
from serinus.serving.prediction_log.upkeep import work
from serinus.serving.steward.compact_log import CompactLog
from serinus.serving.steward.job import Shared
from tests.serving.prediction_log.examples import records, write
from tests.serving.steward.hosts import shared


def _host(home: Path, monkeypatch: pytest.MonkeyPatch, **log: object) -> Shared:
    made = shared(home, log=log)
    made.run.settings.write_text(made.settings.model_dump_json())
    monkeypatch.setenv("SERINUS_SETTINGS", str(made.run.settings))
    return made


def _turn(job: CompactLog, host: Shared) -> None:
    """Until the process that the job starts has ended, and the job has heard of it."""
    job.run(host)
    process = job._process
    assert process is not None
    process.wait(60)
    job.run(host)


def test_it_is_done_by_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers' and shadows' segments, and the copies; then there is nothing to do, and no process."""
    host = _host(tmp_path, monkeypatch, url=f"{tmp_path}/there")
    write(host.home.log, records()).close()
    write(host.home.shadow_log, records()[2:]).close()
    job = CompactLog()
    _turn(job, host)
    assert segments(host.home.log) == segments(host.home.shadow_log) == []
    assert (len(list(read(host.home.log))), len(list(read(host.home.shadow_log)))) == (3, 1)
    assert {path.relative_to(tmp_path / "there").parts[:3] for path in (tmp_path / "there").rglob("*.parquet")} == {
        ("predictions", "model=wine", "version=1"), ("predictions", "model=wine", "version=2"),
        ("shadow", "model=wine", "version=1")}
    job.run(host)
    assert job._process is None


def test_a_death_is_told_and_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         caplog: pytest.LogCaptureFixture) -> None:
    """Thirty seconds later, not sooner."""
    host, now = _host(tmp_path, monkeypatch), [time.monotonic()]
    write(host.home.log, records()).close()
    job = CompactLog(lambda: now[0])
    job.run(host)
    assert job._process is not None
    job._process.send_signal(signal.SIGKILL)
    job._process.wait(60)
    job.run(host)
    assert "not compacted or copied for now, and tried again: its process was ended" in caplog.text
    assert len(list(read(host.home.log))) in (3, 4)
    now[0] += 29
    job.run(host)
    assert job._process is None
    now[0] += 2
    if segments(host.home.log):
        _turn(job, host)
    assert len(list(read(host.home.log))) == 3


def test_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    """And stays; the rest goes on."""
    host = shared(tmp_path)
    write(host.home.log, records()).close()
    (host.home.log / "000000001-0000000001.segment").write_bytes(b"no segment at all" * 9)
    done = work(host.home, host.settings, lambda _: None)
    assert (done["segments"], done["problem"]) == (1, "")
    (text,) = done["refused"]
    assert text.endswith("000000001-0000000001.segment stays as it is: not a prediction log segment.")
    again = work(host.home, host.settings, lambda _: None)
    assert again == {"segments": 0, "refused": [text], "files": 0, "problem": ""}


def test_switched_off_it_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments stay segments, and no process is started for them."""
    host = _host(tmp_path, monkeypatch, compact=False)
    write(host.home.log, records()).close()
    job = CompactLog()
    job.run(host)
    assert job._process is None
    assert len(segments(host.home.log)) == 1


def test_a_store_that_is_away_holds_up_nothing(tmp_path: Path) -> None:
    """What is finished is compacted all the same; the copies follow."""
    (tmp_path / "there").write_text("no folder")
    host = shared(tmp_path, log={"url": f"{tmp_path}/there"})
    write(host.home.log, records()).close()
    done = work(host.home, host.settings, lambda _: None)
    assert (done["segments"], done["files"]) == (1, 0)
    assert "there" in done["problem"]
    (tmp_path / "there").unlink()
    assert work(host.home, host.settings, lambda _: None)["files"] == 2


def test_a_full_disk_leaves_the_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun takes no room, the log is whole, and the next time it is done."""
    import pyarrow.parquet as pq

    host = shared(tmp_path)
    write(host.home.log, records()).close()
    with monkeypatch.context() as patch:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(pq.ParquetWriter, "write_table", full)
        done = work(host.home, host.settings, lambda _: None)
    assert done["problem"] == "[Errno 28] No space left on device"
    assert list(parquet_folder(host.home.log).rglob("*.parquet")) == []
    assert len(list(read(host.home.log))) == 4
    assert work(host.home, host.settings, lambda _: None)["segments"] == 1
