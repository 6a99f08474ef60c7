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

from serinus.serving.board import start_ticks
from serinus.serving.files import write_atomically

__all__ = ["main"]

_GRACE_S = 10.0
_NOT_FOUND = 127


def main(folder: Path) -> int:
    """Run it. The exit code is 0 whatever the command's is."""
    write_atomically(folder / "runner", f"{os.getpid()} {start_ticks(os.getpid())}".encode())
    asked = json.loads((folder / "run.json").read_bytes())
    with (folder / "output.log").open("ab") as output:
        try:
            process = subprocess.Popen(asked["argv"], cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            output.write(f"{asked['argv'][0]} cannot be run: {error.strerror}.\n".encode())
            return _told(folder, _NOT_FOUND, timed_out=False)
        signal.signal(signal.SIGTERM, lambda *_: _end(process))
        try:
            code = process.wait(asked["timeout_seconds"])
            return _told(folder, code, timed_out=False)
        except subprocess.TimeoutExpired:
            _end(process)
            return _told(folder, process.wait(), timed_out=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole session to end, and after a while make it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)


def _told(folder: Path, code: int, *, timed_out: bool) -> int:
    outcome = {"exit_code": code, "timed_out": timed_out, "ended": time.time()}
    write_atomically(folder / "outcome.json", json.dumps(outcome).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
