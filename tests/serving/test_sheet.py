"""Sheets: what is read is whole at any moment, whatever happens to the worker that writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from serinus.serving.sheet import RING, Sheet, SheetError, Unusual, is_owned, read, sheets_in

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0123456789abcdef" * 4

_WRITER = """
import sys, time
from pathlib import Path
from serinus.serving.sheet import Sheet
sheet = Sheet(Path(sys.argv[1]), "w", "m", "1", "d", 50)
print("ready", flush=True)
while True:
    sheet.see(1)
    pane = sheet.begin()
    for feature in range(50):  # slowly, one after the other, so that a torn state would last long
        pane.counts.table[feature, feature % 18] += 1
    pane.counts.sums += 1.0
    sheet.flip(time.time_ns())
    time.sleep(0.0002)
"""


def _sheet(folder: Path, features: int = 3) -> Sheet:
    return Sheet(folder, "00ab", "wine", "2", DIGEST, features)


def test_what_was_flipped_is_read(tmp_path: Path) -> None:
    """A reader sees names, cumulative counts and unusual rows of the last flip, and nothing of what is only begun."""
    sheet = _sheet(tmp_path)
    for step in (1, 2):
        sheet.see(10)
        pane = sheet.begin()
        pane.counts.add(np.full((step, 3), 17, np.uint8), np.full((step, 3), 0.5))
        sheet.remember(pane, [Unusual(b"u" * 15 + bytes([step]), step, 100 + step, 0.001, 2)], 3)
        sheet.flip(step)
    sheet.begin().counts.table[:] = 99
    found = read(sheet.path)
    assert (found.incarnation, found.model, found.version, found.digest) == ("00ab", "wine", "2", DIGEST)
    assert (found.pid, found.sequence, found.flushed_ns) == (os.getpid(), 2, 2)
    assert (found.seen, found.counts.rows, sheet.rows, sheet.seen) == (20, 3, 3, 20)
    assert found.counts.table[:, 17].tolist() == [3, 3, 3]
    assert found.counts.sums.tolist() == [[1.5, 0.75]] * 3
    assert found.unusual == tuple(Unusual(b"u" * 15 + bytes([step]), step, 100 + step, 0.001, 2) for step in (1, 2))
    assert found.unusual_rows == 6


def test_the_ring_keeps_the_latest(tmp_path: Path) -> None:
    """More unusual rows than there is room for: the last ones stay, in their order."""
    sheet = _sheet(tmp_path)
    rows = [Unusual(bytes(15) + bytes([number]), number, 1000 + number, 0.01, -1) for number in range(RING + 5)]
    pane = sheet.begin()
    sheet.remember(pane, rows, len(rows))
    sheet.flip(1)
    found = read(sheet.path)
    assert found.unusual == tuple(rows[5:])
    assert found.unusual_rows == RING + 5


def test_a_sheet_is_owned_until_it_is_closed(tmp_path: Path) -> None:
    """The steward removes what nobody writes any more; until then the file is private."""
    sheet = _sheet(tmp_path)
    assert sheets_in(tmp_path) == [sheet.path]
    assert is_owned(sheet.path)
    assert sheet.path.stat().st_mode & 0o777 == 0o600
    sheet.close()
    assert not is_owned(sheet.path)
    assert read(sheet.path).counts.rows == 0


def test_a_reader_never_sees_half_a_change(tmp_path: Path) -> None:
    """However often it looks while another process writes, and after a kill at any moment, counts agree."""
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        (path,) = sheets_in(tmp_path)
        deadline, last = time.monotonic() + 0.15, 0
        while time.monotonic() < deadline:
            found = read(path)
            (number,) = set(found.counts.table.sum(axis=1).tolist())
            assert set(found.counts.sums.ravel()) == {float(number)}
            assert number >= last
            last = number
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert last > 0
        found = read(path)
        (number,) = set(found.counts.table.sum(axis=1).tolist())
        assert found.seen - number in (0, 1)
        path.unlink()


@pytest.mark.parametrize(("content", "says"), [
    (b"", "no sheet"), (b"x" * 5000, "no sheet"), (b"SRNSHEET" + (7).to_bytes(8, "little") + bytes(4000), "format 7"),
    (b"SRNSHEET" + (1).to_bytes(8, "little") + bytes(4000), "4016 bytes")])
def test_another_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """A file that is no sheet, or one of a newer release, is said to be so."""
    path = tmp_path / "x.sheet"
    path.write_bytes(content)
    with pytest.raises(SheetError, match=says):
        read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.sheet")


def test_counts_may_be_any_size(tmp_path: Path) -> None:
    """Two thousand features cost memory, nothing else."""
    sheet = _sheet(tmp_path, 2000)
    pane = sheet.begin()
    pane.counts.table += np.int64(2**40)
    sheet.flip(1)
    assert read(sheet.path).counts.table.sum() == 2000 * 18 * 2**40
