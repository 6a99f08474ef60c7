"""What was accepted survives the death of its writer, and is read once, in whole frames."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.serving.ground_truth.spool import Spool, SpoolError, is_finished, read_on, spooled, waiting_bytes
from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.store import GroundTruth

ROWS = [GroundTruth(f"p-{number}", "crm", "final", number, 1.0, 2.0, "", 0.5) for number in range(5000)]
_WRITER = """
import sys
from pathlib import Path
from serinus.serving.ground_truth.spool import Spool
from serinus.serving.store import GroundTruth
spool, number = Spool(Path(sys.argv[1]), 10**9), 0
while True:
    spool.append([GroundTruth(f"p-{number + row}", "crm", "final", number, 1.0, 2.0) for row in range(100)])
    number += 100
    print(number, flush=True)
"""


def _all(folder: Path) -> list[GroundTruth]:
    return [row for path in spooled(folder) for portion in read_on(path, 0) for row in portion.rows]


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    """All of it, in order, from any place on, while it grows and after it ended."""
    spool = Spool(tmp_path, 10**9)
    spool.append(ROWS)
    (path,) = spooled(tmp_path)
    portions = list(read_on(path, 0))
    assert [row for portion in portions for row in portion.rows] == ROWS
    assert list(read_on(path, portions[-1].end)) == []
    spool.append(ROWS[:3])
    assert [portion.rows for portion in read_on(path, portions[-1].end)] == [ROWS[:3]]
    assert not is_finished(path)
    spool.close()
    assert is_finished(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_held_before_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steward removes files that nobody holds, so there is no moment at which a new one is such."""
    lock, seen = fcntl.flock, []

    def watched(file: int, operation: int) -> None:
        seen.append(spooled(tmp_path))
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", watched)
    Spool(tmp_path, 10**9).append(ROWS[:1])
    assert seen == [[]]
    assert len(spooled(tmp_path)) == 1


def test_files_stay_small(tmp_path: Path) -> None:
    """A full one is ended, so that it can be removed once it was read."""
    spool = Spool(tmp_path, 10**9, file_bytes=1000)
    for row in ROWS[:40]:
        spool.append([row] * 10)
    assert len(spooled(tmp_path)) > 5
    assert sorted(_all(tmp_path)) == sorted(row for row in ROWS[:40] for _ in range(10))


def test_too_much_is_not_taken(tmp_path: Path) -> None:
    """Beyond the cap nothing is kept; with room again it is."""
    spool = Spool(tmp_path, 20_000)
    spool.append(ROWS[:100])
    with pytest.raises(SpoolError, match=r"ground_truth\.spool_bytes \(20,000\)"):
        spool.append(ROWS)
    assert _all(tmp_path) == ROWS[:100]
    assert waiting_bytes(tmp_path) < 20_000
    spooled(tmp_path)[0].unlink()
    spool.append(ROWS[:1])


def test_a_full_disk_leaves_whole_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that stops half-way is taken back, and the sender is told."""
    spool = Spool(tmp_path, 10**9)
    spool.append(ROWS[:10])
    write, calls = os.write, []

    def short(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:50])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        with pytest.raises(SpoolError, match="No space left"):
            spool.append(ROWS)
    spool.append(ROWS[10:20])
    assert _all(tmp_path) == ROWS[:20]


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_killed_writer_loses_nothing_that_was_confirmed(tmp_path: Path, after: int) -> None:
    """SIGKILL at any moment leaves all that was confirmed, and a file that is known to be finished."""
    root = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                               env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"})
    assert process.stdout is not None
    confirmed = [int(process.stdout.readline()) for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    confirmed += [int(line) for line in process.communicate()[0].split()]
    found = _all(tmp_path)
    assert [row.prediction_id for row in found] == [f"p-{number}" for number in range(len(found))]
    assert len(found) >= confirmed[-1]
    assert all(is_finished(path) for path in spooled(tmp_path))


@pytest.mark.parametrize("tail", [b"\x40", b"\x40\x00\x00\x00half a fra"])
def test_a_torn_tail_is_passed_over(tmp_path: Path, tail: bytes) -> None:
    """What a kill inside `write` leaves hides no whole frame."""
    spool = Spool(tmp_path, 10**9)
    spool.append(ROWS[:5])
    spool.close()
    (path,) = spooled(tmp_path)
    path.write_bytes(path.read_bytes() + tail)
    assert _all(tmp_path) == ROWS[:5]


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A newer release's file is not guessed at; a file that is just begun is empty."""
    path = tmp_path / "1-a.spool"
    path.write_bytes(b"SRNSPL\r\n\x02\x00" + bytes(6))
    with pytest.raises(FrameError, match="no spool of format 1"):
        list(read_on(path, 0))
    path.write_bytes(b"SRN")
    assert list(read_on(path, 0)) == []
