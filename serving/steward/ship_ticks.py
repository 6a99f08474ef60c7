"""Job: bring what workers counted for monitors into the store, and remove the sheets that nobody writes any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from serinus.serving.home import RunFolder
from serinus.serving.sheet import SheetError, is_owned, read, sheets_in
from serinus.serving.steward.job import Shared
from serinus.serving.ticks import to_tick


class ShipTicks:
    """Each steward for the workers of its host, those of servers that are gone included: their counts wait on disk."""

    name = "ship_ticks"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._shipped: dict[Path, int] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        interval, seen = int(self._clock()), set()
        for path in self._sheets(shared):
            seen.add(path)
            ended = not is_owned(path)  # before it is read: what is read then is all there is
            try:
                reading = read(path)
            except FileNotFoundError:
                continue
            except SheetError:
                if ended:  # its worker died while it made the file
                    path.unlink(missing_ok=True)
                continue
            if ended or self._shipped.get(path) != reading.sequence:
                shared.store.add_tick(to_tick(reading, interval, ended=ended))
                self._shipped[path] = reading.sequence
            if ended:
                path.unlink(missing_ok=True)
        self._shipped = {path: sequence for path, sequence in self._shipped.items() if path in seen}

    def _sheets(self, shared: Shared) -> list[Path]:
        found = sheets_in(shared.run.sheets)
        for folder in shared.home.run.glob("server-*"):
            run = RunFolder(folder)
            if folder != shared.run.path and run.owner.exists() and not run.is_alive():
                found += [path for path in sheets_in(run.sheets) if not is_owned(path)]
        return found
