"""Segments become Parquet files, and at every moment each record is there once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter, entries, find, read, segments
from serinus.serving.prediction_log.compaction import compact, compact_segment, finished, recover, remove, rewrite
from serinus.serving.prediction_log.manifest import exclusive, manifest_of, new_folder, parquet_folder
from serinus.serving.prediction_log.parquet import records_in
from tests.serving.prediction_log.examples import FIRST, NOW_NS, WRITER, assert_same, records, write

ROOT = Path(__file__).parents[3]
SEGMENT = f"{WRITER:09x}-{FIRST:010x}.segment"
HOUR_NS = 3_600 * 10**9


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one finished segment."""
    folder = tmp_path / "log" / "segments"
    write(folder, records()).close()
    return folder


def parts(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(parquet_folder(folder))) for path in parquet_folder(folder).rglob("*.parquet"))


def fill(folder: Path, requests: int, segment_bytes: int = 2000, writer: int = 7) -> list[str]:
    """Requests of one row, of two versions in turn and an hour every ten; their prediction ids."""
    ids, made = IdSource(writer), []
    log = SegmentWriter(folder, writer, segment_bytes)
    for number in range(requests):
        moment = NOW_NS + number // 10 * HOUR_NS
        uuid, sequence = ids.next(moment)[0], ids.sequence - 1
        log.append(records()[3]._replace(prediction_uuid=uuid, version=str(number % 2 + 1), received_ns=moment,
                                         inputs={"x": np.array([float(number)])}), sequence)
        made.append(prediction_id(uuid, 0))
    log.close()
    return made


def ids_in(folder: Path) -> Counter[str]:
    return Counter(prediction_id(record.prediction_uuid, row) for record in read(folder) for row in range(record.rows))


def test_a_segment_becomes_files_by_model_version_and_hour(log: Path) -> None:
    """The records are the same, in the same order, and the segment is gone."""
    before = [record for record in read(log) if record.rows]
    assert compact(log) == 1
    assert segments(log) == []
    assert parts(log) == [f"model=wine/version=1/hour=2025-06-15T15/{SEGMENT[:-8]}.0.parquet",
                          f"model=wine/version=2/hour=2025-06-15T15/{SEGMENT[:-8]}.1.parquet"]
    for expected, found in zip(before, read(log), strict=True):
        assert_same(expected, found)


def test_the_manifest_says_what_there_is(log: Path) -> None:
    """How many records and rows, when, and how much was torn."""
    with (log / SEGMENT).open("ab") as stream:
        stream.write(b"\x40\0\0\0half a fra")
    compact(log)
    found = manifest_of(log, SEGMENT)
    assert found is not None
    assert (found.segment, found.records, found.torn) == (SEGMENT, 4, 14)
    assert found.first_ms == found.last_ms == NOW_NS // 10**6
    assert [part.rows for part in found.parts] == [3, 2]
    assert {(part.first_ns, part.last_ns) for part in found.parts} == {(NOW_NS, NOW_NS)}


def test_a_segment_that_is_written_is_left_alone(tmp_path: Path) -> None:
    """Also one that was just begun and may not be locked yet."""
    folder = tmp_path / "log"
    writer = write(folder, records())
    (folder / f"{1:09x}-{1:010x}.segment").touch()
    assert finished(folder) == []
    assert compact(folder) == 0
    writer.close()
    assert compact(folder) == 1
    assert len(list(folder.glob("*.segment"))) == 1


def test_many_segments_keep_their_order(tmp_path: Path) -> None:
    """Hours and versions in files of their own, read back in the order in which they were written."""
    folder = tmp_path / "log"
    made = fill(folder, 45)
    assert len(segments(folder)) > 2
    compact(folder)
    assert [prediction_id(record.prediction_uuid, 0) for record in read(folder)] == made
    assert len({part.split("/")[2] for part in parts(folder)}) == 5
    for text in made[::7]:
        found = find(folder, text)
        assert found is not None
        assert prediction_id(found.prediction_uuid, 0) == text


def test_few_rows_wait_in_memory(tmp_path: Path) -> None:
    """They are written so many at a time, each time with a moment's rest."""
    folder, breaths = tmp_path / "log", []
    made = fill(folder, 45, segment_bytes=1 << 20)
    (segment,) = finished(folder)
    compact_segment(segment, rows=10, breath=lambda: breaths.append(1))
    assert len(breaths) == 4
    assert list(ids_in(folder).items()) == [(text, 1) for text in made]


def test_what_is_no_segment_is_told_and_stays(tmp_path: Path) -> None:
    """The others are replaced all the same."""
    folder, told = tmp_path / "log", []
    write(folder, records()).close()
    (folder / "000000001-0000000001.segment").write_bytes(b"no segment at all" * 9)
    assert compact(folder, refused=lambda path, error: told.append((path.name, str(error)))) == 1
    assert told == [("000000001-0000000001.segment", "not a prediction log segment")]
    assert [path.name for path in segments(folder)] == ["000000001-0000000001.segment"]


def test_a_death_at_any_step_leaves_each_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file operation of a compaction is the last one, in turn; readers and the next compaction find all."""
    for steps in range(100):
        folder = tmp_path / str(steps) / "log"
        write(folder, records()).close()
        expected = ids_in(folder)
        over = _compact_so_far(folder, steps, monkeypatch)
        assert ids_in(folder) == expected, steps
        compact(folder)
        assert ids_in(folder) == expected, steps
        assert segments(folder) == []
        assert list(new_folder(folder).glob("*")) == []
        if over:
            break
    assert steps > 8


def _compact_so_far(folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let so many renames, removals, writes and flushes happen, and no more; whether they were enough."""
    left = [steps]

    def limited(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (Path, "write_bytes")):
            patch.setattr(owner, name, limited(getattr(owner, name)))
        try:
            compact(folder)
        except KeyboardInterrupt:
            return False
    return True


# Forks a compaction for every line it reads, so that each begins at once.
COMPACTIONS = """
import os, sys
from pathlib import Path
import pyarrow.compute, pyarrow.parquet
from serinus.serving.prediction_log.compaction import compact
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        compact(Path(sys.argv[1]))
        os._exit(0)
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("over", flush=True)
"""


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_a_compaction_that_is_killed_loses_nothing(tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments, again and again: every prediction is read once, each time."""
    folder = tmp_path / "log"
    made, unfinished = Counter[str](), 0
    picks = random.Random(20_261_121)
    with subprocess.Popen([sys.executable, "-c", COMPACTIONS, str(folder)], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(kills):
            made.update(fill(folder, 60, writer=number))
            process.stdin.write(b"\n")
            pid = int(process.stdout.readline())
            time.sleep(picks.uniform(0, 0.3))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            assert process.stdout.readline() == b"over\n"
            unfinished += bool(segments(folder))
            assert ids_in(folder) == made
        process.stdin.close()
    print(f"\n{kills} kills, {unfinished} before all was done, {sum(made.values())} predictions")
    assert unfinished
    compact(folder)
    assert ids_in(folder) == made
    assert segments(folder) == []


def test_only_one_at_a_time_changes_what_is_finished(log: Path) -> None:
    """A second server of the same home does nothing meanwhile."""
    with exclusive(log) as mine:
        assert mine
        assert compact(log) == 0
        with exclusive(log, wait=False) as second:
            assert not second
    assert compact(log) == 1


def test_a_reader_that_came_before_the_replacement_finds_the_files(log: Path) -> None:
    """It looked for segments, and when it opens one, that has been replaced."""
    before = entries(log)
    expected = ids_in(log)
    compact(log)
    found = Counter(prediction_id(record.prediction_uuid, row) for entry in before for record in entry.records()
                    for row in range(record.rows))
    assert found == expected


def test_rows_are_erased_from_a_file(tmp_path: Path) -> None:
    """Written anew without them; a file without rows stays, empty, and the log goes on."""
    folder = tmp_path / "log"
    made = fill(folder, 20, segment_bytes=1 << 20)
    compact(folder)
    first, *others = sorted(parquet_folder(folder).rglob("*.parquet"))
    unwanted = {made[0], made[1]}
    assert rewrite(first, lambda ids: [text not in unwanted for text in ids]) == 1
    assert first.exists()
    assert sum(ids_in(folder).values()) == 19
    assert rewrite(first, lambda ids: [False] * len(ids)) > 0
    assert list(records_in(first)) == []
    assert rewrite(others[0], lambda ids: [True] * len(ids)) == 0
    assert ids_in(folder).keys() < set(made)
    assert compact(folder) == 0


def test_a_segment_is_let_go_of_with_its_files(tmp_path: Path) -> None:
    """Nothing of it stays, not even empty folders; the others do."""
    folder = tmp_path / "log"
    write(folder, records()).close()
    compact(folder)
    made = fill(folder, 5)
    remove(folder, SEGMENT)
    compact(folder)
    assert ids_in(folder) == Counter(made)
    remove(folder, entries(folder)[0].name)
    assert entries(folder) == []
    assert list(parquet_folder(folder).glob("model=*")) == []


def test_what_a_death_left_unnamed_is_thrown_away(log: Path) -> None:
    """A file in the making, that no manifest names."""
    new_folder(log).mkdir(parents=True)
    (new_folder(log) / "half.parquet").write_bytes(b"PAR1")
    recover(log)
    assert list(new_folder(log).iterdir()) == []
