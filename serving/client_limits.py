"""How fast one client may ask: a token bucket per client in a file that all workers of a server share.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm of ATM, ITU-T I.371):
a request moves it on by 1/rate, and is refused while that would lie more than a burst ahead. Two workers that write at
the same moment may let one request too many pass; nothing is ever locked.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["ClientLimits"]

_SLOTS = 1 << 18
_PROBES = 4
_BYTES = 16 * _SLOTS  # a client's name and the time at which its bucket is full again (monotonic ns)


class ClientLimits:
    """Buckets of `burst` requests that fill up with `rate` requests a second, in the file `path`."""

    def __init__(self, path: Path, rate: float, burst: int, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._step_ns = int(1e9 / rate)
        self._ahead_ns = burst * self._step_ns
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, _BYTES)
            self._map = mmap.mmap(file, _BYTES)
        finally:
            os.close(file)
        self._words = memoryview(self._map).cast("Q")

    def wait_ns(self, client: int) -> int:
        """Take a request out of the bucket of `client` (64 bits, not 0): 0, or how long until there is one."""
        now, words = self._clock(), self._words
        slot = self._slot(client, now)
        full = max(now, words[slot + 1])
        if full + self._step_ns - now > self._ahead_ns:
            return full + self._step_ns - now - self._ahead_ns
        words[slot], words[slot + 1] = client, full + self._step_ns
        return 0

    def _slot(self, client: int, now: int) -> int:
        """Where the client's bucket lies: its own, else one whose bucket is full and thus says nothing; if all near
        ones are in use, it shares the last."""
        words = self._words
        free = -1
        slot = 0
        for probe in range(_PROBES):
            slot = 2 * ((client + probe) % _SLOTS)
            if words[slot] == client:
                return slot
            if free < 0 and words[slot + 1] <= now:
                free = slot
        return slot if free < 0 else free

    def close(self) -> None:
        """Give the file up."""
        self._words.release()
        self._map.close()
