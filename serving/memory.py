"""Whether the memory is there: an estimate before a version is loaded, and one decision for all workers of a server.

A version that would leave too little of the memory limit is refused with the sum in the sentence: better one model
that is not served than a worker that the kernel kills with all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.models.version import ModelVersion
from serinus.serving.errors import SerinusError
from serinus.serving.files import locked, write_atomically

__all__ = ["Admissions", "Memory", "NotEnoughMemory", "estimated_bytes", "give_back", "memory", "resident_bytes"]

FORMAT = 1

# Growth of a process by the bytes of the artifact, measured with scikit-learn 1.9 and onnxruntime 1.31; rounded up.
_ADAPTERS = {"sklearn": 3.0, "onnx": 2.0}  # a forest as skops: 3.0, as joblib: 2.0; a dense ONNX graph: 1.1, peak 2.1
_OTHERS = 3.0
_COMPRESSED = 10.0  # a forest, joblib with compress=3
_ONNX_TREES = 13.0  # the runtime unpacks every split of an ensemble
_TREES = b"TreeEnsemble"

_SMALL_SHARE = 0.01
"""What needs less of the limit is never refused: a host may be full without a small model being to blame."""
_DECISION_HOLDS_S = 60.0
_MB = 1e6


class NotEnoughMemory(SerinusError):
    """A version would leave too little memory."""


class Memory(NamedTuple):
    """Bytes that these processes may have at most, and how many of them can still be had."""

    limit: int
    available: int


def memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Memory:
    """The host's memory, or what the narrowest control group (version 1 or 2) around this process leaves of it."""
    host = {name: int(value.split()[0]) * 1024
            for name, _, value in (line.partition(":") for line in (proc / "meminfo").read_text().splitlines())}
    found = Memory(host["MemTotal"], host["MemAvailable"])
    for limit, used in _groups(proc, cgroups):
        found = Memory(min(found.limit, limit), min(found.available, max(0, limit - used)))
    return found


def estimated_bytes(version: ModelVersion) -> int:
    """What a process grows by when it loads `version`, judged by its file."""
    return int(version.size * _factor(version))


def resident_bytes(pid: int | str = "self") -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE


def give_back() -> None:
    """Have the C library return what was freed to the system; by itself it keeps the many small pieces of a forest."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


class Admissions:
    """Decides whether a version may be loaded. The first worker that asks decides for all of them (file `path`), so
    that they do not differ; what a load really took is kept there for the next time.

    `reserve` is the share of the limit that has to stay free; 0 admits everything.
    """

    def __init__(self, path: Path, reserve: float) -> None:
        self._path = path
        self._reserve = reserve

    def ask(self, version: ModelVersion, copies: int, *, anew: bool = False) -> None:
        """Return when `copies` more processes may load `version`. Raises `NotEnoughMemory`.

        A decision holds for a minute, unless it is asked for `anew`.
        """
        if not self._reserve:
            return
        with self._changing() as stored:
            known = stored["decided"].get(version.tag)
            if anew or known is None or time.monotonic() - known["at"] > _DECISION_HOLDS_S:
                each = max(estimated_bytes(version), stored["grew"].get(version.tag, 0))
                known = {"at": time.monotonic(), "refused": _refusal(version, each, copies, self._reserve, memory())}
                stored["decided"][version.tag] = known
        if known["refused"]:
            raise NotEnoughMemory(known["refused"])

    def refusal(self, tag: str) -> str:
        """Why the version `tag` (`name:version`) was refused lately; empty when it was not."""
        with self._changing() as stored:
            return str(stored["decided"].get(tag, {}).get("refused", ""))

    def learn(self, version: ModelVersion, grew: int) -> None:
        """A process grew by so many bytes when it loaded `version`."""
        with self._changing() as stored:
            if grew > stored["grew"].get(version.tag, 0):
                stored["grew"][version.tag] = grew

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        with locked(self._path.with_suffix(".lock")):
            before = self._path.read_bytes() if self._path.exists() else b""
            stored = orjson.loads(before) if before else {"format": FORMAT, "decided": {}, "grew": {}}
            yield stored
            after = orjson.dumps(stored)
            if after != before:
                write_atomically(self._path, after)


def _refusal(version: ModelVersion, each: int, copies: int, reserve: float, found: Memory) -> str:
    """The sentence; empty when it may be loaded."""
    needed = each * copies
    left = found.available - needed
    if needed < _SMALL_SHARE * found.limit or left >= reserve * found.limit:
        return ""
    leaves = f"leave {left / _MB:.0f} MB" if left >= 0 else f"be {-left / _MB:.0f} MB too much"
    return (f"{version.tag} needs about {each / _MB:.0f} MB in each of {copies} processes, {needed / _MB:.0f} MB "
            f"together; of {found.available / _MB:.0f} MB available that would {leaves}, and {reserve:.0%} of the "
            f"limit of {found.limit / _MB:.0f} MB have to stay free: use fewer workers, or lower "
            "limits.memory_reserve.")


def _factor(version: ModelVersion) -> float:
    path = version.path / version.artifact
    with contextlib.suppress(OSError, ValueError), path.open("rb") as stream:
        if version.adapter == "onnx":
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _ONNX_TREES if data.find(_TREES) >= 0 else _ADAPTERS["onnx"]
        if path.suffix != ".skops" and stream.read(1) != b"\x80":  # no pickle begins otherwise
            return _COMPRESSED
    return _ADAPTERS.get(version.adapter, _OTHERS)


def _groups(proc: Path, root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use in bytes of each control group around this process that has a limit. What the kernel could drop
    from its cache at once does not count as used."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:  # a kernel without control groups
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = top / path.strip("/")
        for folder in (own, *own.parents):  # a container may see its own group as the root
            if folder.is_relative_to(top) and (found := _limited(folder, *names)) is not None:
                yield found


def _limited(folder: Path, limit: str, used: str, cache: str) -> tuple[int, int] | None:
    try:
        most = (folder / limit).read_text().strip()
        now = int((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return (int(most), max(0, now - int(facts.get(cache, 0)))) if most.isdigit() else None
