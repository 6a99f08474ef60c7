"""The key index: which predictions a caller's own key (an order's number, say) stands for.

    file := magic "SRNSKEY\\n" | format u16 | 6 zero bytes | entry*
    entry := hash of the key, 16 bytes | prediction's UUID, 16 bytes | row u32

It is written only for requests that carry a key, before their record. The hash is keyed with the deployment's secret,
so nobody can try keys without it. An entry of zeros was erased.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.serving.ids import prediction_id

__all__ = ["KEY_IDS", "LONGEST", "KeyWriter", "blank_keys", "hash_in", "hash_of", "key_files", "key_id", "key_text",
           "named"]

FORMAT = 1
HASH_BYTES = 16
LONGEST = 256
"""Characters of a key at most."""
KEY_IDS = ("key:", "key;")
"""Where what `key_id` gives begins and ends among texts: behind all prediction ids."""

_HEADER = b"SRNSKEY\n" + FORMAT.to_bytes(2, "little") + bytes(6)
_SUFFIX = ".keys"
_FILE_BYTES = 16 * 1024 * 1024
_ENTRY = np.dtype([("hash", "<u8", 2), ("uuid", "<u8", 2), ("row", "<u4")])
_AT_ONCE = 1_000_000


def hash_of(key: str, secret: bytes) -> bytes:
    """What stands for a key in every file of a deployment."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES, key=secret[:64]).digest()


def key_text(value: Any) -> str | None:
    """A key as text, alike whether it came as a text or as a whole number; None for what is none."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= LONGEST else None


def key_id(key_hash: bytes) -> str:
    """What stands in place of a prediction id for the predictions of a key, until they are found."""
    return f"{KEY_IDS[0]}{key_hash.hex()}"


def hash_in(stand_in: str) -> bytes:
    """The hash that `key_id` was given."""
    return bytes.fromhex(stand_in.removeprefix(KEY_IDS[0]))


class KeyWriter:
    """Appends entries to one file after another in `folder`. Raises OSError when they cannot be written."""

    def __init__(self, folder: Path, writer: int, file_bytes: int = _FILE_BYTES) -> None:
        self._folder = folder
        self._writer = writer
        self._file_bytes = file_bytes
        self._file = -1
        self._size = 0

    def append(self, hashes: Iterable[bytes | None], uuid: bytes) -> None:
        """Note the keys of a request's rows, None for a row without one."""
        data = b"".join(each + uuid + row.to_bytes(4, "little") for row, each in enumerate(hashes) if each is not None)
        if self._file < 0:
            self._open()
        written = os.write(self._file, data)
        if written != len(data):
            os.ftruncate(self._file, self._size)
            raise OSError(f"key index took {written} of {len(data)} bytes")
        self._size += written
        if self._size >= self._file_bytes:
            self.close()

    def close(self) -> None:
        """End the file; the next entry begins another one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._writer:09x}-{secrets.token_hex(5)}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # says that it is still written
        self._size = os.write(self._file, _HEADER)


def key_files(folder: Path) -> list[Path]:
    """The files of an index."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def named(folder: Path, hashes: Collection[bytes]) -> dict[bytes, list[str]]:
    """The ids of the predictions that keys stand for, by the keys' hashes; keys that stand for none are left out."""
    found: dict[bytes, list[str]] = {}
    wanted = _numbers(hashes)
    for path in key_files(folder):
        for _, entries in _entries(path):
            for entry in entries[_among(entries["hash"], wanted)]:
                found.setdefault(entry["hash"].tobytes(), []).append(
                    prediction_id(entry["uuid"].tobytes(), int(entry["row"])))
    return {each: sorted(dict.fromkeys(ids)) for each, ids in found.items()}


def blank_keys(folder: Path, hashes: Collection[bytes], predictions: Collection[tuple[bytes, int]]) -> int:
    """Overwrite the entries of keys and of predictions (UUID and row), in files that are still written, too; how many
    there were."""
    wanted, requests, count = _numbers(hashes), _numbers({uuid for uuid, _ in predictions}), 0
    for path in key_files(folder):
        with path.open("r+b", buffering=0) as stream:
            for place, entries in _entries(path):
                mine = _among(entries["uuid"], requests)
                mine[mine] = [(entry["uuid"].tobytes(), int(entry["row"])) in predictions for entry in entries[mine]]
                mine |= _among(entries["hash"], wanted)
                for index in np.flatnonzero(mine).tolist():
                    os.pwrite(stream.fileno(), bytes(_ENTRY.itemsize), place + index * _ENTRY.itemsize)
                    count += 1
    return count


def _entries(path: Path) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The whole entries of a file, many at a time, and where they begin."""
    with path.open("rb") as stream:
        if stream.read(len(_HEADER)) != _HEADER:  # its writer died before the header was whole
            return
        place = stream.tell()
        while data := stream.read(_AT_ONCE * _ENTRY.itemsize):
            entries = np.frombuffer(data[:len(data) - len(data) % _ENTRY.itemsize], _ENTRY)
            yield place, entries
            place += len(data)


def _numbers(sixteens: Collection[bytes]) -> NDArray[np.uint64]:
    """Each of 16 bytes as two numbers."""
    return np.frombuffer(b"".join(sixteens), "<u8").reshape(-1, 2)


def _among(values: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the pairs are wanted: by their first half, which is quick, and then by both."""
    mine = np.isin(values[:, 0], wanted[:, 0])
    whole = {pair.tobytes() for pair in wanted}
    mine[mine] = [pair.tobytes() in whole for pair in values[mine]]
    return mine
