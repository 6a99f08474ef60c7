"""Job: have finished segments of the prediction log replaced by Parquet files, and these copied to `log.url`.

It is done in a process of its own, niced like the steward, that rests as long as it works: what Arrow needs of memory
is given back, and neither a slow disk nor a store that is away holds up the steward.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from serinus.serving.home import Home
from serinus.serving.prediction_log.compaction import compact, finished
from serinus.serving.prediction_log.shipping import ship, waiting
from serinus.serving.processes import child_environment, die_with_parent
from serinus.serving.settings import Settings
from serinus.serving.steward.job import Shared

__all__ = ["CompactLog", "work"]

_log = logging.getLogger("serinus.steward")
_LIMIT_S = 3600.0
_AGAIN_S = 30.0
_LOOK_AGAIN_S = 600.0
_LONGEST_REST_S = 0.5


class CompactLog:
    """By each steward for the log of its host; two of one home take turns."""

    name = "compact_log"
    period_s = 5.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._until = self._again = self._look = float("-inf")
        self._left: set[Path] = set()
        self._complained: set[str] = set()

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        now = self._clock()
        if self._process is not None:
            if self._process.poll() is None and now < self._until:
                return
            self._end(shared, now)
        elif now >= self._again and self._wanted(shared, now):
            self._until = now + _LIMIT_S
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__], env=child_environment(shared.run) | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def _wanted(self, shared: Shared, now: float) -> bool:
        """Files may wait to be copied since an earlier life or because rows were erased, which is looked for less
        often."""
        log = shared.settings.log
        if log.compact and set(_finished(shared.home)) - self._left:
            return True
        if log.url is None or now < self._look:
            return False
        self._look = now + _LOOK_AGAIN_S
        return any(waiting(folder, _url(log.url, folder)) for folder in _folders(shared.home))

    def _end(self, shared: Shared, now: float) -> None:
        assert self._process is not None
        self._process.kill()
        said, self._process = self._process.communicate()[0], None
        found: dict[str, Any] = orjson.loads(said) if said else {"problem": "its process was ended"}
        self._left = set(_finished(shared.home)) if found.get("refused") else set()
        for text in found.get("refused", ()):
            self._complain(text)
        problem = found.get("problem", "")
        if problem:
            self._again = self._look = now + _AGAIN_S
            self._complain(f"The prediction log is not compacted or copied for now, and tried again: {problem}.")
        else:
            self._complained = {text for text in self._complained if text in found.get("refused", ())}

    def _complain(self, text: str) -> None:
        if text not in self._complained:
            self._complained.add(text)
            _log.warning("%s", text)


def work(home: Home, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Do what there is to do, and say what was done."""
    began = time.monotonic()

    def breath() -> None:
        nonlocal began
        sleep(min(time.monotonic() - began, _LONGEST_REST_S))
        began = time.monotonic()

    refused: list[str] = []
    done, files, problem = 0, 0, ""
    try:
        for folder in _folders(home):
            if settings.log.compact:
                done += compact(folder, breath=breath, refused=lambda path, error: refused.append(
                    f"{path} stays as it is: {error}."))
            if settings.log.url is not None and not problem:
                shipped, problem = ship(folder, _url(settings.log.url, folder))
                files += shipped
    except OSError as error:
        problem = str(error)
    return {"segments": done, "refused": refused, "files": files, "problem": problem}


def _folders(home: Home) -> tuple[Path, Path]:
    return home.log, home.shadow_log


def _finished(home: Home) -> list[Path]:
    return [path for folder in _folders(home) for path in finished(folder)]


def _url(url: str, folder: Path) -> str:
    """What shadows predicted lies apart there too."""
    return f"{url.rstrip('/')}/{'shadow' if folder.name == 'shadow' else 'predictions'}"


def main() -> int:
    """The program: prints what was done as JSON."""
    die_with_parent()
    settings = Settings.handed_over()
    sys.stdout.buffer.write(orjson.dumps(work(Home(settings.home), settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
