"""Where everything lies: `$SERINUS_HOME`, and the run folder of one server in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Home", "RunFolder"]


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds models, log, store and run files of a host."""

    path: Path

    @property
    def store(self) -> Path:
        """The SQLite store."""
        return self.path / "store.db"

    @property
    def log(self) -> Path:
        """The prediction log's segments."""
        return self.path / "log" / "segments"

    @property
    def shadow_log(self) -> Path:
        """What shadows predicted, apart from what callers got."""
        return self.path / "log" / "shadow"

    @property
    def pairs(self) -> Path:
        """Pairs of answers that wait for ground truth, a ledger for each rollout."""
        return self.path / "log" / "pairs"

    @property
    def keys(self) -> Path:
        """Which predictions callers' own keys stand for."""
        return self.path / "log" / "keys"

    @property
    def access(self) -> Path:
        """Who looked at rows of the prediction log."""
        return self.path / "log" / "access.ndjson"

    @property
    def spool(self) -> Path:
        """Ground truth that was accepted and waits for the store."""
        return self.path / "spool"

    @property
    def run(self) -> Path:
        """Files of running servers, and the last-known-good ones of the host."""
        return self.path / "run"

    @property
    def snapshot(self) -> Path:
        """The last-known-good rollout records, as the workers follow them."""
        return self.run / "snapshot.json"

    @property
    def vetoes(self) -> Path:
        """Rollbacks that hold at once, whatever the store says."""
        return self.run / "vetoes.json"

    @property
    def events(self) -> Path:
        """How far the log was told as CloudEvents."""
        return self.run / "events.json"

    @property
    def seal(self) -> Path:
        """Written when every process is to end the files of log and spool that it writes."""
        return self.run / "seal"

    @property
    def monitors(self) -> Path:
        """What the monitors say of each version, and the reference profiles that workers count by."""
        return self.run / "monitors"

    @property
    def performance(self) -> Path:
        """What answers turned out to be worth, by model."""
        return self.run / "performance"

    @property
    def baselines(self) -> Path:
        """What stable was like when each running rollout began."""
        return self.run / "baselines.json"

    @property
    def callers(self) -> Path:
        """What dead workers knew of callers with routing keys, by rollout."""
        return self.run / "callers"

    def servers(self) -> list[RunFolder]:
        """Run folders of the servers that live on this home."""
        found = [RunFolder(folder) for folder in sorted(self.run.glob("server-*")) if folder.is_dir()]
        return [folder for folder in found if folder.is_alive()]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What the processes of one server share."""

    path: Path

    @property
    def boards(self) -> Path:
        """The workers' boards."""
        return self.path / "boards"

    @property
    def sheets(self) -> Path:
        """What the workers counted for monitors."""
        return self.path / "sheets"

    @property
    def tallies(self) -> Path:
        """What the workers counted of rollouts."""
        return self.path / "tallies"

    @property
    def shadow(self) -> Path:
        """What workers, shadow and steward share of it."""
        return self.path / "shadow"

    @property
    def clients(self) -> Path:
        """How fast each client has asked lately, where that is limited."""
        return self.path / "clients"

    @property
    def settings(self) -> Path:
        """The resolved settings, the same for every process of the server."""
        return self.path / "settings.json"

    @property
    def steward_socket(self) -> Path:
        """Where the steward takes control calls from the workers."""
        return self.path / "steward.sock"

    @property
    def steward_lock(self) -> Path:
        """Held by the one steward of this server."""
        return self.path / "steward.lock"

    @property
    def wishes(self) -> Path:
        """What was loaded and unloaded by hand."""
        return self.path / "wishes.json"

    @property
    def admissions(self) -> Path:
        """What may be loaded without using too much memory."""
        return self.path / "admissions.json"

    @property
    def owner(self) -> Path:
        """Pid and start time of the process whose life is the server's."""
        return self.path / "owner"

    @property
    def draining(self) -> Path:
        """Present when the server should stop being ready."""
        return self.path / "draining"

    def is_alive(self) -> bool:
        """Whether the process that owns this folder still lives."""
        from serinus.serving.board import start_ticks

        try:
            pid, ticks = map(int, self.owner.read_text().split())
        except (FileNotFoundError, ValueError):
            return False
        return ticks != 0 and start_ticks(pid) == ticks

    def claim(self, pid: int) -> None:
        """Make the folder and name `pid` as its owner."""
        from serinus.serving.board import start_ticks

        self.boards.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.owner.write_text(f"{pid} {start_ticks(pid)}")


def current_run_folder(home: Home) -> RunFolder:
    """The run folder that the parent handed over; under plain `bentoml serve`, one named after the supervisor."""
    from serinus.serving.board import start_ticks

    given = os.environ.get("SERINUS_RUN")
    if given:
        return RunFolder(Path(given))
    pid = os.getppid()  # in a container every server may have the same one: the start time tells them apart
    folder = RunFolder(home.run / f"server-{pid}-{start_ticks(pid)}")
    folder.claim(pid)
    return folder
