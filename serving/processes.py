"""How the processes of one server hang together."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import serinus
from serinus.serving.home import RunFolder

__all__ = ["child_environment", "die_with_parent", "ensure_steward", "start_shadow", "start_steward"]

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel send SIGTERM when the process that started this one ends, however it ends.

    It may have ended before the call: `SERINUS_SPAWNER` says which process it was.
    """
    parent = int(os.environ.get("SERINUS_SPAWNER") or os.getppid())
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def child_environment(run: RunFolder) -> dict[str, str]:
    """The environment for another process of this server: it finds the same code and the same settings."""
    root = str(Path(serinus.__file__).resolve().parent.parent)
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != root]
    if (Path(root) / "serving").is_dir():  # a checkout or a Bento: last, or our `models/` would shadow a user's
        path.append(root)
    return os.environ | {"SERINUS_RUN": str(run.path), "SERINUS_SPAWNER": str(os.getpid()),
                         "PYTHONPATH": os.pathsep.join(path)}


def start_steward(run: RunFolder) -> subprocess.Popen[bytes]:
    """Start the steward of this server; it ends with the process that called this, and Ctrl-C does not reach it."""
    return subprocess.Popen([sys.executable, "-m", "serinus.serving.steward"], env=child_environment(run),
                            stdin=subprocess.DEVNULL, process_group=0)


def start_shadow(run: RunFolder) -> subprocess.Popen[bytes]:
    """Start the process in which candidates answer copies; it ends with the process that called this."""
    one = dict.fromkeys(("SERINUS_ONNX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen([sys.executable, "-m", "serinus.serving.shadow"], env=child_environment(run) | one,
                            stdin=subprocess.DEVNULL, process_group=0)


def ensure_steward(run: RunFolder) -> None:
    """Under plain `bentoml serve` there is no parent: the first worker that sees the steward's lock free starts one."""
    if os.environ.get("SERINUS_PARENT"):
        return
    file = os.open(run.steward_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(file)
    _reap()
    if not _own:  # else it is on its way to the lock: on a busy machine that may take seconds
        _own.append(start_steward(run))


_own: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    _own[:] = [process for process in _own if process.poll() is None]
