"""One worker process: builds the request line, then follows the snapshot and the vetoes for the rest of its life."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from serinus.models.examples import example_rows
from serinus.models.loading import load
from serinus.models.model import Model
from serinus.models.trust import Trust
from serinus.serving.answering import Answering
from serinus.serving.app import App, Inner
from serinus.serving.batching import batches_safely
from serinus.serving.board import Board, mark_tag
from serinus.serving.caller_keys import CallerKeys
from serinus.serving.callers import Callers
from serinus.serving.control import Control
from serinus.serving.crashes import blame_all
from serinus.serving.custom_monitors import CustomMonitors
from serinus.serving.errors import ControlRefused, SerinusError
from serinus.serving.expectations import guard_of
from serinus.serving.home import Home, RunFolder, current_run_folder
from serinus.serving.memory import Admissions, give_back, resident_bytes
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.observer import Observer
from serinus.serving.pipeline import Pipeline
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.processes import die_with_parent, ensure_steward
from serinus.serving.references import baseline_of
from serinus.serving.repository import Repository
from serinus.serving.rollback import boards_of
from serinus.serving.rollout.baseline import read_baselines
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.router import Loaded, Router, Target, decide
from serinus.serving.security import Security
from serinus.serving.served_models import bundle_folders, open_registry, served
from serinus.serving.settings import Settings
from serinus.serving.shadow.mirror import Mirrors
from serinus.serving.shadow.published import ShadowFiles
from serinus.serving.snapshot import Snapshot, boot_id, read_snapshot
from serinus.serving.telemetry import Tracing
from serinus.serving.telemetry.logs import end_logging, set_up_logging
from serinus.serving.telemetry.outage import WORKERS_S
from serinus.serving.telemetry.resource import resource_of
from serinus.serving.telemetry.sdk_metrics import flush_metrics
from serinus.serving.telemetry.variables import adopt
from serinus.serving.trial import Trials
from serinus.serving.veto import Vetoes, cast_veto, read_vetoes
from serinus.serving.wishes import Wish, Wishes, read_wishes

__all__ = ["Worker", "make_worker"]

_log = logging.getLogger("serinus.worker")
_LOOK_S = 0.02
_BEAT_S = 0.5
_STALE_NS = 30 * 10**9
_SWITCH_INTERVAL_S = 0.0005
_WARM_UPS = 5
_PLATFORMS = {"onnx": "onnx_onnxv1", "sklearn": "sklearn_joblib"}


def silence_access_log() -> None:
    """uvicorn formats a line for every request as soon as this logger has a handler, its own or the root's."""
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


class Worker:
    """Everything that lives in one worker. `inner` is BentoML's own application."""

    def __init__(self, settings: Settings, run: RunFolder, inner: Inner | None = None) -> None:
        self._settings = settings
        self._home = Home(settings.home)
        self._run = run
        self._registry = open_registry(settings)
        self._admissions = Admissions(run.admissions, settings.limits.memory_reserve)
        self._board = Board(run.boards)
        adopt(settings.telemetry)
        self._resource = resource_of(f"{os.getpid()}-{self._board.incarnation}")
        self._tracing = Tracing(self._resource, enabled=settings.telemetry.traces == "on",
                                on_counts=self._board.span_counts)
        self._router = Router(self._load, self._board.load_failed)
        self._pipeline = self._make_pipeline()
        self._observer = Observer(settings.monitors, MonitorFiles(self._home.monitors), run.sheets,
                                  self._board.incarnation) if settings.monitors.enabled else None
        self._trials = Trials(run.tallies, self._home.pairs, self._board.incarnation, settings.server.workers,
                              self._cast_veto)
        self._mirrors = Mirrors(ShadowFiles(run.shadow).socket, self._board)
        self._custom = CustomMonitors(run.sheets, self._board.incarnation) if settings.monitors.enabled else None
        self._control = Control(settings, run, self._registry, self._obey, self._router)
        self.app = App(settings, self._router, self._pipeline, self._board, self._tracing, run.boards, self._control,
                       inner)
        self.app.security = self._pipeline.security
        self.app.repository = Repository(settings, run, self._registry, self._router, self._admissions)
        self._seen: tuple[Any, ...] = ()
        self._sealed = _stamp(self._home.seal)
        self._targets: dict[str, Target] = {}
        self._asked_generation = self._generation = 0
        self._wishes = Wishes(0, {})
        self._told: set[tuple[str, str]] = set()
        self._standing: set[tuple[str, str, str]] = set()
        self._began_ns = time.monotonic_ns()
        self._confirmed_ns = 0
        self._stale = False
        self._base_loaded = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what is stable and what it may be rolled back to, and be ready; what is on trial comes after."""
        os.environ.setdefault("SERINUS_WORKERS", str(self._settings.server.workers))
        die_with_parent()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        silence_access_log()
        set_up_logging(self._settings.telemetry.log_format, self._resource)
        blame_all(self._home, self._run)
        self._follow()
        self._following = asyncio.create_task(self._keep_following())
        await self._base_loaded.wait()
        if self._observer is not None:
            await self._observer.look(self._router)  # else the first rows would be answered unseen
        self.app.ready = True
        self._beat()
        gc.collect()
        gc.freeze()  # models and modules are here to stay: collections need not walk them

    async def stop(self) -> None:
        """End cleanly: no more following, the last spans sent, the segment ended, the board given up."""
        for task in (self._following, self._loading):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self.app.ready = False
        self._beat()
        self._pipeline.close()
        if self._pipeline.security is not None:
            self._pipeline.security.close()
        if self._observer is not None:
            self._observer.close()
        if self._custom is not None:
            self._custom.close()
        self._trials.close()
        self._mirrors.close()
        await asyncio.gather(*(asyncio.to_thread(end, WORKERS_S)
                               for end in (self._tracing.close, flush_metrics, end_logging)))
        self._router.close()
        self._board.abandon()
        self._board.close()

    async def _keep_following(self) -> None:
        beaten = 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                self._obey()
                self._seal()
                if self._observer is not None:
                    self._observer.turn(self._router)
                if self._custom is not None:
                    self._custom.turn()
                self._mirrors.turn()
                now = time.monotonic()
                if now - beaten >= _BEAT_S:
                    self._beat()
                    ensure_steward(self._run)
                    self._pipeline.rest()
                    beaten = now
                self.app.draining = self.app.draining or self._run.draining.exists()
            except Exception:  # the loop must outlive whatever a file or model does
                _log.exception("A worker could not follow the snapshot")

    def _obey(self) -> None:
        """Look at vetoes, snapshot and wishes, and do as they say if they changed."""
        if self._stamps() != self._seen or self._is_stale() != self._stale:
            self._follow()

    def _seal(self) -> None:
        """End the files of log and spool where somebody asks for it."""
        if (asked := _stamp(self._home.seal)) != self._sealed:
            self._sealed = asked
            self._pipeline.seal()
            self._control.seal()

    def _stamps(self) -> tuple[Any, ...]:
        return tuple(map(_stamp, (self._home.vetoes, self._home.snapshot, self._home.baselines, self._run.wishes)))

    def _follow(self) -> None:
        """Do at once what can be done with the loaded versions: a rollback waits for no other version's loading."""
        stamps = self._stamps()
        vetoes = read_vetoes(self._home.vetoes)  # before the snapshot: see `serinus.serving.veto`
        snapshot = read_snapshot(self._home.snapshot)
        self._confirmed_ns = snapshot.confirmed_ns if snapshot.boot == boot_id() else 0
        self._stale = self._is_stale()
        self._heed(read_wishes(self._run.wishes))
        self._targets = self._decide(vetoes, snapshot)
        obeyed = [self._router.flip(name, target) or name not in vetoes.by_model
                  for name, target in self._targets.items()]
        self.app.rebuild()
        if self._observer is not None:
            self._observer.attach(self._router)
        if self._custom is not None:
            self._custom.attach(self._router)
        self._trials.attach(self._router, snapshot.records, read_baselines(self._home.baselines))
        self._mirrors.attach(self._router, snapshot.records, vetoes.by_model)
        if all(obeyed):
            self._board.acknowledge_veto(vetoes.sequence)
        self._seen, self._asked_generation = stamps, snapshot.generation
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_missing())

    async def _load_missing(self) -> None:
        """Load one version after another in a thread, look again after each, and let go of what is not wanted."""
        try:
            while missing := self._missing():
                name, version = missing[0]
                if version == self._targets[name].candidate:
                    self._base_loaded.set()
                began = time.monotonic_ns()
                with self._marked(name, version):
                    await asyncio.to_thread(self._router.load, name, version)
                self._board.tally("load_ns", name, version, amount=time.monotonic_ns() - began)
                self._follow()
                self._tell_memory()
                self._tell_standing()
            for name, target in self._targets.items():
                wanted = {target.stable, target.candidate, *target.keep}
                self._router.forget(name, {version for version in wanted if version is not None})
            if self._router.released:
                self._router.released = False
                self._tell_memory()
                self._tell_standing()
                asyncio.get_running_loop().run_in_executor(None, give_back)
            self._base_loaded.set()
            self._generation = self._asked_generation
            self._board.acknowledge_wishes(self._wishes.sequence)
        finally:
            self._loading = None

    @contextlib.contextmanager
    def _marked(self, name: str, version: str) -> Iterator[None]:
        """Leave a mark while a candidate is being loaded: one that kills its worker by that is not loaded again."""
        if version != self._targets[name].candidate:
            yield
            return
        mark = self._board.begin(2 | mark_tag(name, version) << 8, time.time_ns())
        try:
            yield
        finally:
            self._board.end(mark)

    def _tell_memory(self) -> None:
        """What each version takes, and that those which were let go take nothing."""
        memory = self._router.memory
        for name, version in self._told - memory.keys():
            self._board.level("memory", name, version, amount=0)
        for (name, version), grew in memory.items():
            self._board.level("memory", name, version, amount=grew)
        self._told = set(memory)

    def _tell_standing(self) -> None:
        """Which versions are in memory, and which could not be loaded: a rollout begins with them everywhere."""
        now = {("loaded", *key) for key in self._router.memory} | {("unloadable", *key) for key in self._router.failed}
        for fact in self._standing ^ now:
            self._board.level(*fact, amount=int(fact in now))
        self._standing = now

    def _cast_veto(self, model: str, reason: str) -> None:
        """Take a model's candidate off this host."""
        _log.error("The candidate of %s is taken off. %s", model, reason)
        with contextlib.suppress(ControlRefused):  # its rollout is over
            cast_veto(self._home, model, actor="serinus", reason=reason)

    def _missing(self) -> list[tuple[str, str]]:
        """Names and versions to load: those on trial last."""
        found = [(name, version) for name, target in self._targets.items()
                 for version in self._router.missing(target, name)]
        return sorted(found, key=lambda wanted: wanted[1] == self._targets[wanted[0]].candidate)

    def _heed(self, wishes: Wishes) -> None:
        """Let go of what was unloaded by hand, and try again what was asked for again."""
        for name, wish in wishes.by_model.items():
            if wish.sequence > self._wishes.sequence:
                self._router.retry(name)
            if wish.served is False:
                self._router.drop(name)
        self._wishes = wishes

    def _decide(self, vetoes: Vetoes, snapshot: Snapshot) -> dict[str, Target]:
        targets, wishes = {}, self._wishes.by_model
        for name, asked in served(self._settings, self._registry, wishes).items():
            record, veto = snapshot.records.get(name) or self._first_record(name, asked), vetoes.by_model.get(name)
            target = decide(record, veto, stale=self._stale, now=time.time()) if record else None
            if target is not None:
                targets[name] = _with_wish(target, wishes.get(name), "" if veto is None else veto.version)
        return targets

    def _first_record(self, name: str, asked: str | None) -> RolloutRecord | None:
        versions = self._registry.versions(name)
        return RolloutRecord.initial(name, asked or versions[0], time.time()) if versions else None

    def _is_stale(self) -> bool:
        """Whether the store has not confirmed the snapshot for long, or not yet in this worker's life."""
        return self._confirmed_ns < self._began_ns or time.monotonic_ns() - self._confirmed_ns > _STALE_NS

    def _beat(self) -> None:
        self._board.active(self.app.under_way)
        self._board.beat(ready=self.app.readiness()[0], generation=self._generation)

    def _load(self, name: str, version: str) -> Loaded:
        found = self._registry.get(name, version)
        ready = sum(board.ready for board in boards_of(self._run))
        self._admissions.ask(found, self._settings.server.workers if self.app.ready else
                             max(1, self._settings.server.workers - ready))
        before = resident_bytes()
        bundled = [digest for folder in bundle_folders() for digest in Trust(folder)]
        model = load(found, trust=Trust(self._settings.home, extra=bundled))
        loaded = prepared(model, found.adapter)
        grew = max(0, resident_bytes() - before)
        self._admissions.learn(found, grew)
        return loaded._replace(grew=grew, guard=guard_of(found, self._registry, self._settings.validation.mode))

    def _make_pipeline(self) -> Pipeline:
        settings = self._settings
        pipeline = Pipeline(self._router, self._board, settings.limits, settings.log.on_error)
        pipeline.answering = Answering.wanted(settings.referral, settings.security, self._board)
        pipeline.callers = Callers.wanted(settings.routing)
        pipeline.security = Security.wanted(settings, self._board, self._run, partial(baseline_of, self._registry))
        if settings.log.enabled:
            pipeline.log = SegmentWriter(self._home.log, pipeline.writer, settings.log.segment_bytes,
                                         settings.log.segment_seconds)
            pipeline.log_share = settings.log.sample_share
            pipeline.keys = CallerKeys.wanted(settings.log, self._home, pipeline.writer)
        return pipeline


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _with_wish(target: Target, wish: Wish | None, vetoed: str) -> Target:
    """The target with what a person wants loaded besides, but for what is on trial or taken back."""
    more = [version for version in wish.versions if version not in (target.candidate, vetoed)] if wish else ()
    return target._replace(keep=tuple(dict.fromkeys((*target.keep, *more))))


def prepared(model: Model, adapter: str) -> Loaded:
    """A model that is warm, with what was learned of it meanwhile."""
    platform = _PLATFORMS.get(adapter, f"{adapter}_model")
    return Loaded(model, platform, _warm_up(model), batches_safely(model))


def _warm_up(model: Model) -> dict[int, float]:
    """Call the model on one made-up row until caches are warm; what it cost tells whether it may run inline.

    A model that does not like made-up values is none the worse: its first real calls run in a thread.
    """
    inputs = example_rows(model.signature, 1)
    took = []
    try:
        for _ in range(_WARM_UPS):
            started = time.perf_counter_ns()
            model.predict(inputs)
            took.append(time.perf_counter_ns() - started)
    except Exception:
        return {}
    return {1: float(min(took))}


def make_worker(inner: Inner | None) -> Worker:
    """The worker of this process, with the settings that its parent handed over."""
    settings = Settings.handed_over()
    try:
        return Worker(settings, current_run_folder(Home(settings.home)), inner)
    except OSError as error:
        raise SerinusError(f"The run folder below {settings.home} cannot be used: {error}.") from error
