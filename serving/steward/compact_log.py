"""Job: have finished segments of the prediction log replaced by Parquet files, and these copied to `log.url`, by a
process of its own (`serinus.serving.prediction_log.upkeep`)."""

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
from serinus.serving.prediction_log.compaction import finished
from serinus.serving.prediction_log.shipping import waiting
from serinus.serving.prediction_log.upkeep import folders, url_of
from serinus.serving.processes import child_environment
from serinus.serving.steward.job import Shared

__all__ = ["CompactLog"]

_log = logging.getLogger("serinus.steward")
_LIMIT_S = 3600.0
_AGAIN_S = 30.0
_LOOK_AGAIN_S = 600.0
_PROGRAM = "serinus.serving.prediction_log.upkeep"


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
                [sys.executable, "-m", _PROGRAM], env=child_environment(shared.run) | {"OMP_NUM_THREADS": "1"},
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
        return any(waiting(folder, url_of(log.url, folder)) for folder in folders(shared.home))

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


def _finished(home: Home) -> list[Path]:
    return [path for folder in folders(home) for path in finished(folder)]
