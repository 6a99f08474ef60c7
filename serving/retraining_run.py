"""`python -m serinus.serving.retraining_run FOLDER`: runs one retraining command to its end, whoever dies meanwhile.

FOLDER holds `run.json` (`argv`, `timeout_seconds`). The command runs there in a session of its own, without a shell;
what it prints goes to `output.log`. `outcome.json` says how it ended: `exit_code` (negative: a signal), `timed_out`,
and `ended` in Unix seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from serinus.serving.board import start_ticks
from serinus.serving.files import write_atomically

__all__ = ["main"]

_LOOK_S = 0.5
_GRACE_S = 10.0
_NOT_FOUND = 127


def main(folder: Path) -> int:
    """Run it. The exit code is 0 whatever the command's is."""
    write_atomically(folder / "runner", f"{os.getpid()} {start_ticks(os.getpid())}".encode())
    asked = json.loads((folder / "run.json").read_bytes())
    run = _Run()
    signal.signal(signal.SIGTERM, run.end)
    with (folder / "output.log").open("ab") as output:
        try:
            run.start(asked["argv"], folder, output)
        except OSError as error:
            output.write(f"{asked['argv'][0]} cannot be run: {error.strerror}.\n".encode())
            return _told(folder, _NOT_FOUND, timed_out=False)
    return _told(folder, *run.follow(asked["timeout_seconds"]))


class _Run:
    """The command's process, and whether it was asked to end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_at: float | None = None

    def start(self, argv: list[str], folder: Path, output: Any) -> None:
        """Begin; raises OSError where there is no such program."""
        self._process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                         stderr=subprocess.STDOUT, start_new_session=True)
        if self._asked_at is not None:  # before there was anybody to ask
            self._signal(signal.SIGTERM)

    def end(self, *_: object) -> None:
        """Ask the whole session to end. Fit to be a signal handler."""
        self._asked_at = time.monotonic()
        self._signal(signal.SIGTERM)

    def follow(self, timeout_s: float) -> tuple[int, bool]:
        """Wait until it ended; its exit code, and whether it ran into its time-out. Who was asked to end and does not
        is killed."""
        assert self._process is not None
        deadline, timed_out = time.monotonic() + timeout_s, False
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(min(_LOOK_S, timeout_s))
                break
            now = time.monotonic()
            if self._asked_at is None and now >= deadline:
                timed_out = True
                self.end()
            elif self._asked_at is not None and now - self._asked_at >= _GRACE_S:
                self._signal(signal.SIGKILL)
        if self._asked_at is not None:  # those whom it left behind
            self._signal(signal.SIGKILL)
        return code, timed_out

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _told(folder: Path, code: int, timed_out: bool) -> int:
    outcome = {"exit_code": code, "timed_out": timed_out, "ended": time.time()}
    write_atomically(folder / "outcome.json", json.dumps(outcome).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
