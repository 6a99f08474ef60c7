"""The writer leaves whole frames only, whatever the disk does, and starts a new segment in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import SegmentWriter, find, is_open, read, segments
from tests.serving.prediction_log.examples import FIRST, WRITER, assert_same, records, write

ROOT = Path(__file__).parents[3]

# RLIMIT_FSIZE is the one full disk that needs no rights: the kernel takes a part of a write, then refuses (EFBIG).
FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.serving.prediction_log.examples import FIRST, WRITER, records
from serinus.serving.prediction_log import SegmentWriter

folder, room = Path(sys.argv[1]), int(sys.argv[2])
limit = lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
writer, (first, second, third, fourth) = SegmentWriter(folder, WRITER, 1 << 20), records()
writer.append(first, FIRST)
(path,) = folder.iterdir()
clean = path.stat().st_size
limit(clean + room)
for sequence in (FIRST + 1, FIRST + 2):
    try:
        writer.append(second, sequence)
    except OSError as error:
        print(type(error).__name__, error)
    print(path.stat().st_size - clean)
limit(resource.RLIM_INFINITY)
writer.append(third, FIRST + 3)
writer.append(fourth, FIRST + 4)
print(writer.frames, writer.bytes - path.stat().st_size)
"""

NO_ROOM_FOR_A_HEADER = """
import resource, sys
from pathlib import Path
from tests.serving.prediction_log.examples import FIRST, WRITER, records
from serinus.serving.prediction_log import SegmentWriter

folder, room = Path(sys.argv[1]), int(sys.argv[2])
writer, record = SegmentWriter(folder, WRITER, 1 << 20), records()[0]
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
for sequence in range(FIRST, FIRST + 50):
    try:
        writer.append(record, sequence)
    except OSError:
        print(len(list(folder.iterdir())))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append(record, FIRST + 50)
"""


def run(script: str, folder: Path, room: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(room)],
        cwd=ROOT,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("room", [0, 1, 9, 150])
def test_a_full_disk_leaves_a_clean_end(tmp_path: Path, room: int) -> None:
    """A write that is refused or cut short is taken back at once; what fits later follows and is found by its id."""
    said = run(FULL_DISK, tmp_path, room)
    assert [line for line in said if line.startswith("OSError")] == said[0:4:2]
    kept = [int(size) for size in said[1:4:2]]
    assert kept[0] == kept[1] <= room  # the context frame may have fitted, half a frame never stays
    assert said[4] == "3 0"
    first, _, third, fourth = records()
    found = list(read(tmp_path))
    assert len(found) == 3
    for expected, record in zip((first, third, fourth), found, strict=True):
        assert_same(expected, record)
    assert find(tmp_path, prediction_id(fourth.prediction_uuid, 0)) is not None


@pytest.mark.parametrize("room", [0, 7])
def test_a_disk_full_from_the_start_is_not_littered(tmp_path: Path, room: int) -> None:
    """Fifty refused requests leave no file; the fifty-first, with room again, is in the log."""
    assert run(NO_ROOM_FOR_A_HEADER, tmp_path, room) == ["0"] * 50
    (path,) = segments(tmp_path)
    assert path.name == f"{WRITER:09x}-{FIRST + 50:010x}.segment"
    assert len(list(read(tmp_path))) == 1


def test_a_record_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """Nothing waits in this process's memory: another reader sees it before anything is closed."""
    writer = SegmentWriter(tmp_path, WRITER, 1 << 20)
    for number, record in enumerate(records(), 1):
        writer.append(record, FIRST + number)
        assert sum(1 for _ in read(tmp_path)) == number == writer.frames
    assert writer.bytes == segments(tmp_path)[0].stat().st_size


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    """Each is named by its first sequence and begins with its own context, so it is read alone."""
    writer = write(tmp_path, [records()[0]] * 10, segment_bytes=4096)
    writer.close()
    found = segments(tmp_path)
    assert len(found) == 1
    write(tmp_path / "small", [records()[0]] * 10, segment_bytes=600).close()
    found = segments(tmp_path / "small")
    assert len(found) > 2
    assert found[0].name < found[1].name
    found[0].unlink()
    assert 0 < sum(1 for _ in read(tmp_path / "small")) < 10


def test_the_open_segment_is_known_by_its_lock(tmp_path: Path) -> None:
    """Open while its writer lives, finished when it was closed or is gone; a file that is gone is not open."""
    writer = write(tmp_path, records())
    (path,) = segments(tmp_path)
    assert is_open(path)
    writer.close()
    assert not is_open(path)
    path.unlink()
    assert not is_open(path)


def test_two_workers_write_side_by_side(tmp_path: Path) -> None:
    """Different writers never share a file."""
    one, two = SegmentWriter(tmp_path, 1, 1 << 20), SegmentWriter(tmp_path, 2, 1 << 20)
    one.append(records()[0], 0)
    two.append(records()[0], 0)
    assert len(segments(tmp_path)) == 2
