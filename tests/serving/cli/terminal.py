"""A command in a terminal of its own, with somebody typing."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time


class Terminal:
    """Runs `serinus WORDS`; `said` is what stands on the screen."""

    def __init__(self, *words: object) -> None:
        self._ours, theirs = pty.openpty()
        start = "from serinus.serving.cli import main; main()"
        self._process = subprocess.Popen([sys.executable, "-c", start, *map(str, words)], stdin=theirs, stdout=theirs,
                                         stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.said = ""

    def until(self, text: str) -> None:
        """Read until `text` stands there."""
        deadline = time.monotonic() + 60
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self._ours], [], [], 1.0)[0]:
                self.said += self._read()

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        while more := self._read():
            self.said += more
        os.close(self._ours)
        return self._process.wait(30)

    def _read(self) -> str:
        with contextlib.suppress(OSError):  # Linux says so when the other side is gone
            return os.read(self._ours, 4096).decode()
        return ""
