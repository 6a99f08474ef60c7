"""Shared files are replaced whole and changed by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serinus.serving.files import locked, write_atomically

ROOT = Path(__file__).parents[2]

ADD_ONE = """
import sys
from pathlib import Path
from serinus.serving.files import locked, write_atomically

path = Path(sys.argv[1])
for _ in range(50):
    with locked(path.with_suffix(".lock")):
        write_atomically(path, b"%d" % (int(path.read_bytes()) + 1))
"""

WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from serinus.serving.files import write_atomically

resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write_atomically(Path(sys.argv[1]), b"x" * 10_000)
"""


def run(script: str, path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


def test_a_reader_sees_all_or_nothing(tmp_path: Path) -> None:
    """While one process replaces the file as fast as it can, no read is a mixture or finds none."""
    path, stop = tmp_path / "f", threading.Event()
    write_atomically(path, b"a" * 100_000)

    def replace() -> None:
        while not stop.is_set():
            for letter in (b"a", b"b"):
                write_atomically(path, letter * 100_000)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(300):
            data = path.read_bytes()
            assert len(data) == 100_000
            assert len(set(data)) == 1
    finally:
        stop.set()
        writer.join()


def test_what_cannot_be_written_leaves_the_old_bytes(tmp_path: Path) -> None:
    """A full disk: the file is as it was, and nothing lies beside it."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    assert run(WITHOUT_ROOM, path).wait() != 0
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_private(tmp_path: Path) -> None:
    """Unless somebody says otherwise."""
    write_atomically(tmp_path / "a", b"")
    write_atomically(tmp_path / "b", b"", mode=0o640)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640


def test_no_folder_is_made_unasked(tmp_path: Path) -> None:
    """A path that is wrong stays an error."""
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "f", b"")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Four processes that count up together lose nothing."""
    path = tmp_path / "number"
    path.write_bytes(b"0")
    processes = [run(ADD_ONE, path) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert path.read_bytes() == b"200"


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    """Its folder is made if need be."""
    path = tmp_path / "new" / "f.lock"
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    with locked(path):
        pass
