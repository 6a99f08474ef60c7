"""Files that survive a kill: written aside, synced, renamed into place; and what dead processes left is swept."""

import fcntl
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["aside_prefix", "locked", "sweep", "sync", "write"]

_ASIDE = re.compile(r"\.(?:new|trash)-(?P<host>.+)-(?P<pid>\d+)-(?P<started>\d+)-[^-]*")
_STRANGERS_S = 3600.0
"""Leftovers whose owner cannot be asked (another host of a shared folder, an older Serinus) are left for this long."""


def aside_prefix(kind: str) -> str:
    """Begin the name of something unfinished, `new` or `trash`: it says which process it belongs to."""
    return f".{kind}-{socket.gethostname()}-{os.getpid()}-{_started(os.getpid())}-"


def sweep(folder: Path) -> None:
    """Remove what dead processes left in a folder. The caller holds the folder's lock."""
    for entry in folder.iterdir():
        if entry.name.startswith((".new-", ".trash-")) and _is_abandoned(entry):
            shutil.rmtree(entry, ignore_errors=True)
            if not entry.is_dir():
                entry.unlink(missing_ok=True)


def _is_abandoned(entry: Path) -> bool:
    named = _ASIDE.fullmatch(entry.name)
    if named is not None and named["host"] == socket.gethostname():
        return _started(int(named["pid"])) != int(named["started"])
    try:
        return time.time() - entry.stat().st_mtime > _STRANGERS_S
    except FileNotFoundError:
        return False


def _started(pid: int) -> int:
    """Give the clock tick at which a process started, 0 where there is none: a pid alone is given again."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def write(path: Path, data: bytes) -> None:
    """Write aside, sync, rename into place."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=aside_prefix("new"))
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    Path(aside).chmod(0o644)
    Path(aside).replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when the process dies."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
