"""The home folder: there, writable, private, with room; and how long the prediction log reaches back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serinus.serving.doctor.check import Check, hours, ok, problem, size, warning
from serinus.serving.doctor.servers import log_rate
from serinus.serving.home import Home
from serinus.serving.prediction_log import segments
from serinus.serving.prediction_log.reader import stored
from serinus.serving.settings import Settings

__all__ = ["look_at_home", "look_at_log"]

_DAY_S = 86_400
_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_OTHERS_ENTER = 0o011


def look_at_home(home: Home, settings: Settings) -> Iterator[Check]:
    """Whether a server could work in it, and whether others of this host can."""
    path = home.path
    if not path.exists():
        yield warning("home", f"{path} does not exist yet.", "The first `serinus serve` or `serinus models register` "
                                                             "makes it; SERINUS_HOME or --home names another.")
    elif not path.is_dir():
        yield problem("home", f"{path} is no folder.", "Name another one with SERINUS_HOME or --home.")
        return
    else:
        yield from _writable(home)
        yield from _private(home)
    yield from _room(home, settings)


def _writable(home: Home) -> Iterator[Check]:
    refused = []
    for folder in filter(Path.is_dir, (home.path, home.path / "models", home.log, home.run)):
        try:
            with tempfile.TemporaryFile(dir=folder):  # permission bits do not tell of read-only mounts
                pass
        except OSError as error:
            refused.append(problem("home", f"{folder} cannot be written to: {error.strerror}.",
                                   "Give it to the user who serves (chown), or mount it writable."))
    yield from refused or [ok("home", f"{home.path} is there and can be written to.")]


def _private(home: Home) -> Iterator[Check]:
    status = home.path.stat()
    if status.st_uid != os.geteuid():
        yield warning("home", f"{home.path} belongs to user {status.st_uid}, you are user {os.geteuid()}.",
                      "Act as its owner, or what you make in it may be out of the server's reach.")
    if status.st_mode & _OTHERS_WRITE:
        yield problem("home", f"Others of this host may write to {home.path}, and so replace your models.",
                      f"chmod go-w {home.path}")
    sensitive = [home.path / "trust.toml", home.store, *segments(home.log)]
    open_ones = [path for path in sensitive if path.exists() and path.stat().st_mode & _OTHERS]
    if open_ones and status.st_mode & _OTHERS_ENTER:
        yield warning("home", f"Others of this host may open {open_ones[0]}"
                              + (f" and {len(open_ones) - 1} more." if open_ones[1:] else "."),
                      f"chmod 700 {home.path}")


def _room(home: Home, settings: Settings) -> Iterator[Check]:
    there = next(folder for folder in (home.path, *home.path.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    growth = max(0, settings.log.cap_bytes - _log_bytes(home)) if settings.log.enabled else 0
    if free < settings.log.segment_bytes:
        yield problem("disk", f"Only {size(free)} are free where {home.path} lies: the prediction log cannot go on, "
                              "and predictions may be refused.", "Free some space.")
    elif free < growth:
        yield warning("disk", f"{size(free)} are free where {home.path} lies, and the prediction log may grow by "
                              f"{size(growth)} more.", "Free some space, or lower log.cap_bytes.")
    else:
        yield ok("disk", f"{size(free)} are free where {home.path} lies.")


def look_at_log(home: Home, settings: Settings) -> Iterator[Check]:
    """How large the prediction log is, and at the rate of the running servers how many days it keeps."""
    if not settings.log.enabled:
        yield warning("log", "The prediction log is off (log.enabled).", "Without it nothing can be looked up, joined "
                                                                         "or replayed.")
        return
    cap, rate = settings.log.cap_bytes, log_rate(home)
    says = f"The prediction log holds {size(_log_bytes(home))} of at most {size(cap)}"
    if not rate:
        yield ok("log", f"{says}; no server has written to it lately, so its days are not known.")
        return
    kept = f"{says}; at the present rate it reaches back {hours(cap / rate)} at most."
    yield ok("log", kept) if cap / rate >= _DAY_S else warning("log", kept, "Raise log.cap_bytes to keep more.")


def _log_bytes(home: Home) -> int:
    return sum(kept.size for folder in (home.log, home.shadow_log) for kept in stored(folder))
