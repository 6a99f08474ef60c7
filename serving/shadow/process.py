"""The shadow's process: one for each server, which runs only when nothing else wants the processor.

It follows the snapshot for what is in a shadow now, takes copies from the workers, and publishes the pairs. It may die
or hang at any time: the steward starts it again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

from serinus.models.loading import load
from serinus.models.registry import Registry
from serinus.models.trust import Trust
from serinus.serving.expectations import Guard, guard_of
from serinus.serving.files import reachable
from serinus.serving.home import Home, RunFolder, current_run_folder
from serinus.serving.ids import IdSource
from serinus.serving.memory import Admissions
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.router import Loaded
from serinus.serving.served_models import bundle_folders, open_registry
from serinus.serving.settings import Settings
from serinus.serving.shadow.copies import MESSAGE_BYTES, unpack
from serinus.serving.shadow.mirror import is_mirrored
from serinus.serving.shadow.pairs import Answers, PairCounts
from serinus.serving.shadow.published import LOAD, Mark, ShadowFiles, source_of
from serinus.serving.shadow.shadow import Journals, Shadow
from serinus.serving.shadow.slices import Slices
from serinus.serving.shadow.spans import ShadowSpans
from serinus.serving.snapshot import read_snapshot
from serinus.serving.telemetry.logs import end_logging, set_up_logging
from serinus.serving.telemetry.resource import resource_of
from serinus.serving.telemetry.variables import adopt
from serinus.serving.veto import read_vetoes

__all__ = ["ShadowServer", "work"]

_log = logging.getLogger("serinus.shadow")
_TURN_S = 0.2
_PUBLISH_S = 0.5
_NICENESS = 19


class ShadowServer:
    """Listens for copies and has them answered, one after the other."""

    def __init__(self, settings: Settings, run: RunFolder, registry: Registry, spans: ShadowSpans) -> None:
        self._settings, self._registry = settings, registry
        self._home = Home(settings.home)
        self._files = ShadowFiles(run.shadow)
        ids = IdSource()
        log = SegmentWriter(self._home.shadow_log, ids.writer, settings.log.segment_bytes,
                            settings.log.segment_seconds) if settings.log.enabled else None
        self._admissions = Admissions(run.admissions, settings.limits.memory_reserve)
        self._journals = Journals(Mark(self._files.mark), self._home.pairs, source_of(run), log, ids, spans)
        self._counts = self._files.pairs()
        self._slices = {rollout_id: Slices(names) for rollout_id, names in self._files.slices().items()}
        self._shadows: dict[str, Shadow] = {}
        self._hopeless: set[str] = set()
        self._stopping = False
        self._published = 0.0
        self._sealed = self._seal_asked()

    def stop(self, *_: Any) -> None:
        """End after the present copy. Fit to be a signal handler."""
        self._stopping = True

    def serve_for_ever(self) -> None:
        """Work until `stop`."""
        with contextlib.closing(selectors.DefaultSelector()) as selector:
            self._follow()
            listener = self._listen()
            selector.register(listener, selectors.EVENT_READ)
            followed = time.monotonic()
            while not self._stopping:
                for key, _ in selector.select(_TURN_S):
                    if key.fileobj is listener:
                        selector.register(listener.accept()[0], selectors.EVENT_READ)
                    else:
                        self._take(selector, key.fileobj)  # type: ignore[arg-type]
                if time.monotonic() - followed >= _TURN_S:
                    self._follow()
                    self._seal()
                    self._publish()
                    followed = time.monotonic()
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
        self._close()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._files.socket.unlink(missing_ok=True)
        with reachable(self._files.socket) as name:
            listener.bind(name)
        self._files.socket.chmod(0o600)
        listener.listen(64)
        return listener

    def _take(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        """One message; what waits behind it stays in the socket, which is bounded."""
        try:
            message = connection.recv(MESSAGE_BYTES + 1)
        except OSError:
            message = b""
        if not message:
            selector.unregister(connection)
            connection.close()
            return
        try:
            rollout_id, copies = unpack(message)
            shadow = self._shadows.get(rollout_id)
            for record in copies if shadow is not None else ():
                shadow.pair(record)  # type: ignore[union-attr]
                if self._stopping:
                    return
        except FrameError:
            _log.exception("A message of copies cannot be read")

    def _seal_asked(self) -> int:
        try:
            return self._home.seal.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _seal(self) -> None:
        """End the segment that is written where somebody asks for it."""
        if (asked := self._seal_asked()) != self._sealed:
            self._sealed = asked
            if self._journals.log is not None:
                self._journals.log.close()

    def _follow(self) -> None:
        """Begin what is wanted and not there, end what is not wanted any more."""
        vetoed = read_vetoes(self._home.vetoes).by_model
        wanted = {record.rollout_id: record for name, record in read_snapshot(self._home.snapshot).records.items()
                  if is_mirrored(record) and name not in vetoed}
        for rollout_id in self._shadows.keys() - wanted.keys():
            self._shadows.pop(rollout_id).close()
        for rollout_id, record in wanted.items():
            if rollout_id not in self._shadows and rollout_id not in self._hopeless:
                self._begin(record)

    def _begin(self, record: RolloutRecord) -> None:
        self._journals.mark.set(LOAD, record.rollout_id)
        try:
            loaded, guards = self._load(record)
        except Exception as error:  # whatever a model file does, the other shadows go on
            self._hopeless.add(record.rollout_id)
            _log.error("%s:%s cannot be loaded into the shadow: %s", record.model, record.candidate, error)
            return
        finally:
            self._journals.mark.clear()
        counts = self._counts.setdefault(record.rollout_id, PairCounts(
            record.rollout_id, record.model, str(record.stable), str(record.candidate),
            Answers(loaded.model.signature).labels))
        slices = self._slices.setdefault(record.rollout_id, Slices())
        self._shadows[record.rollout_id] = Shadow(record, loaded, guards, counts, slices, self._journals,
                                                 self._settings.shadow.deadline_seconds)

    def _load(self, record: RolloutRecord) -> tuple[Loaded, tuple[Guard, ...]]:
        versions = [self._registry.get(record.model, str(version)) for version in (record.candidate, record.stable)]
        self._admissions.ask(versions[0], 1)
        bundled = [digest for folder in bundle_folders() for digest in Trust(folder)]
        model = load(versions[0], trust=Trust(self._settings.home, extra=bundled))
        guards = [guard_of(version, self._registry, self._settings.validation.mode) for version in versions]
        return Loaded(model, "", {}), tuple(guard for guard in guards if guard is not None and guard.personal)

    def _publish(self) -> None:
        if time.monotonic() - self._published >= _PUBLISH_S:
            self._published = time.monotonic()
            self._files.publish(self._counts.values(), {
                rollout_id: slices.names for rollout_id, slices in self._slices.items() if slices.names is not None})
            for shadow in self._shadows.values():
                shadow.enter()
            if self._journals.log is not None:
                self._journals.log.end_if_old()

    def _close(self) -> None:
        self._published = 0.0
        self._publish()
        for shadow in self._shadows.values():
            shadow.close()
        if self._journals.log is not None:
            self._journals.log.close()


def work() -> int:
    """Work until SIGTERM, or until the steward ends."""
    settings = Settings.handed_over()
    _step_back(settings.shadow.priority)
    adopt(settings.telemetry)
    resource: Mapping[str, str] = resource_of(f"{os.getpid()}-shadow")
    set_up_logging(settings.telemetry.log_format, resource)
    spans = ShadowSpans(resource, enabled=settings.telemetry.traces == "on")
    server = ShadowServer(settings, current_run_folder(Home(settings.home)), open_registry(settings), spans)
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.serve_for_ever()
    spans.close()
    end_logging(1.0)
    return 0


def _step_back(priority: str) -> None:
    """Let others go first."""
    with contextlib.suppress(OSError):
        if priority != "normal":
            os.nice(_NICENESS)
        if priority == "idle":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
