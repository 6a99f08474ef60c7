"""Job: remove the run folders of servers that are gone."""

from __future__ import annotations

import shutil

from serinus.serving.board import boards_in, is_owned
from serinus.serving.home import RunFolder
from serinus.serving.rollout.tally import tallies_in
from serinus.serving.sheet import sheets_in
from serinus.serving.steward.job import Shared


class ClearRunFolders:
    """A folder goes when its owner is dead, no worker of it lives on, and what they counted is shipped."""

    name = "clear_run_folders"
    period_s = 60.0

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        for path in shared.home.run.glob("server-*"):
            folder = RunFolder(path)
            dead = folder.owner.exists() and not folder.is_alive()
            needed = (any(map(is_owned, boards_in(folder.boards))) or sheets_in(folder.sheets)
                      or tallies_in(folder.tallies))
            if path != shared.run.path and dead and not needed:
                shutil.rmtree(path, ignore_errors=True)
