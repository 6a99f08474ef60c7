"""Rollouts of a home on this host: the store is opened directly, a running server's steward tells its workers."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from serinus.models.registry import Registry
from serinus.serving.errors import CommandError, ControlRefused
from serinus.serving.home import Home, RunFolder
from serinus.serving.rollback import live_boards, roll_back
from serinus.serving.rollout import controller
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.settings import Settings
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.acknowledge_rollbacks import AcknowledgeRollbacks
from serinus.serving.steward.carry_vetoes import CarryVetoes
from serinus.serving.steward.commands import look, perform
from serinus.serving.steward.job import Shared
from serinus.serving.steward.restore_records import RestoreRecords
from serinus.serving.store import JournalEntry, SqliteStore, Store, StoreError
from serinus.serving.traffic import published
from serinus.serving.veto import read_vetoes

__all__ = ["LocalRollouts", "known_records"]

_VETO_PATIENCE_S = 3.0


class LocalRollouts:
    """See `Rollouts`. With no server running it does the steward's part itself."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._registry = Registry(home.path)

    @property
    def where(self) -> str:
        """See `Rollouts`."""
        return f"home {self._home.path}"

    def act(self, model: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Rollouts`."""
        self._check_known(model)
        with self._shared() as shared:
            self._settle_vetoes(shared, model)
            outcome = perform(shared.store, self._registry, model, {**body, "verb": verb, "model": model})
            if not self._home.servers():
                AcknowledgeRollbacks().run(shared)
                shared.publish()
            return {"record": (shared.store.record(model) or outcome.record).to_dict(), "notice": outcome.notice}

    def roll_back(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Rollouts`; `remark` says what is left to be done where something is."""
        actor, reason, to = str(body["actor"]), str(body["reason"]), body.get("to")
        try:
            done = roll_back(self._home, model, actor=actor, reason=reason, to=to)
        except ControlRefused as error:
            if error.kind != "not_found" or not self._home.store.exists():
                raise
            return self._roll_back_in_store(model, actor, reason, to)
        remark = None if done.workers or self._home.servers() else self._carry()
        return {"model": model, "stable": done.veto.stable, "version": done.veto.version, "complete": done.complete,
                "workers": [{"pid": worker.pid, "seconds": worker.seconds} for worker in done.workers],
                "remark": remark}

    def status(self, model: str) -> dict[str, Any]:
        """See `Rollouts`."""
        snapshot = read_snapshot(self._home.snapshot)
        followed = snapshot.records.get(model)
        record = followed or known_records(self._home).get(model)
        if record is None:
            self._check_known(model)
            raise CommandError(f"Nothing is known of a rollout of {model!r} yet: serve it, or start one with "
                               f"`serinus rollout start {model}:VERSION`.")
        veto = read_vetoes(self._home.vetoes).by_model.get(model)
        workers = [{"pid": board.pid, "ready": board.ready,
                    "follows": followed is not None and board.generation >= snapshot.generation,
                    "load_failures": board.counters.get("load_failures", 0)} for board in live_boards(self._home)]
        age = snapshot.age_s()
        return {"record": record.to_dict(), "veto": asdict(veto) if veto else None, "workers": workers,
                "confirmed_seconds_ago": round(age, 3) if age != float("inf") else None}

    def analysis(self, model: str) -> dict[str, Any]:
        """See `Rollouts`."""
        self._check_known(model)
        store = SqliteStore(self._home.store, create=False)
        try:
            return look(store, model, {"verb": "analysis"})
        finally:
            store.close()

    def journal(self, model: str) -> list[JournalEntry]:
        """See `Rollouts`."""
        store = SqliteStore(self._home.store, create=False)
        try:
            entries = store.journal(model, limit=1_000_000)
        finally:
            store.close()
        if not entries:
            self._check_known(model)
        return entries

    def traffic(self) -> list[dict[str, Any]]:
        """See `Rollouts`."""
        return [published(run.path) for run in self._home.servers()]

    def _check_known(self, model: str) -> None:
        """Raises ModelNotFound, whose sentence lists what there is, for a name that nothing knows."""
        if not self._registry.versions(model) and model not in known_records(self._home):
            self._registry.get(model)

    @contextlib.contextmanager
    def _shared(self, *, create: bool = True) -> Iterator[Shared]:
        """What the steward's jobs work with. What the store has lost is put right first, as the steward does."""
        settings = Settings(home=self._home.path)
        shared = _Shared(settings, RunFolder(self._home.run), self._registry, f"{socket.gethostname()}-{os.getpid()}")
        shared.create = create
        try:
            if not self._home.servers():
                RestoreRecords().run(shared)
            yield shared
        finally:
            shared.forget_store()

    def _settle_vetoes(self, shared: Shared, model: str) -> None:
        """A rollback that is still on its way into the store comes first."""
        if not self._home.servers():
            CarryVetoes().run(shared)
        deadline = time.monotonic() + _VETO_PATIENCE_S
        while model in read_vetoes(self._home.vetoes).by_model:
            if time.monotonic() > deadline:
                raise CommandError(f"A rollback of {model!r} is still being carried into the store. Try again.")
            time.sleep(0.05)

    def _carry(self) -> str | None:
        """Carry the vetoes into the store, where no steward does it."""
        try:
            with self._shared(create=False) as shared:
                CarryVetoes().run(shared)
                AcknowledgeRollbacks().run(shared)
        except StoreError as error:
            return f"The store is out of reach, so the rollback stands as a veto on this host until it is back: {error}"
        return None

    def _roll_back_in_store(self, model: str, actor: str, reason: str, to: str | None) -> dict[str, Any]:
        """No worker of this host ever followed anything: the store alone knows the model."""
        self._check_known(model)
        with self._shared(create=False) as shared:
            outcome = controller.roll_back(shared.store, model, actor, now=time.time(), reason=reason, to=to)
            if outcome.veto is None:
                raise ControlRefused(outcome.notice or f"There is nothing to roll back for {model!r}.", "nothing_to_do")
            AcknowledgeRollbacks().run(shared)
            shared.publish()
        return {"model": model, "stable": outcome.veto.stable, "version": outcome.veto.version, "complete": True,
                "workers": [], "remark": None}


class _Shared(Shared):
    """The steward's, but for a store that is lost: a command that only reads must not make a new, empty one."""

    create = True

    def open_store(self, path: Any) -> Store:
        """See `Shared`."""
        return SqliteStore(path, create=self.create)


def known_records(home: Home) -> dict[str, RolloutRecord]:
    """The rollout records of a home: of its store, or of the last-known-good snapshot while it is out of reach."""
    try:
        store = SqliteStore(home.store, create=False)
    except StoreError:
        return dict(read_snapshot(home.snapshot).records)
    try:
        return store.records()
    except StoreError:
        return dict(read_snapshot(home.snapshot).records)
    finally:
        store.close()
