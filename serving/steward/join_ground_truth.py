"""Job: bring accepted ground truth into the store, join it to the prediction log, and say what is known.

Reading on in the spool and what is to be counted anew are one transaction with the truths themselves. Counting anew
gives the same however often it is done. So a death at any moment loses nothing and counts nothing twice.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from serinus.models.errors import ModelError
from serinus.monitors.performance import Definition
from serinus.serving.ground_truth.columns import (
    HOUR_MS,
    Answers,
    SegmentColumns,
    first_ms,
    id_at,
    keys_of,
    worth_answers,
)
from serinus.serving.ground_truth.compacted import CompactedColumns
from serinus.serving.ground_truth.published import publish
from serinus.serving.ground_truth.spool import is_finished, read_on, spooled, waiting_bytes
from serinus.serving.ground_truth.summary import Summary, WindowName
from serinus.serving.ground_truth.windows import Truths, count, match, truths
from serinus.serving.performance.promise import promise_of
from serinus.serving.prediction_log import Entry, entries
from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.prediction_log.keys import KEY_IDS, hash_in, named
from serinus.serving.prediction_log.sampling import is_logged
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict, Document, GroundTruth

__all__ = ["INTAKE", "INTAKE_KEY", "WINDOW", "JoinGroundTruth"]

INTAKE, WINDOW = "ground_truth.intake", "ground_truth.window"
"""Kinds of documents: how far the spool was read and what is to be counted anew; a window, by its name."""

FORMAT = 1
INTAKE_KEY = "all"
_BUDGET_S = 0.2
_ROWS = 20_000
_RECORDS = 3_000_000
"""Kept in columns, of all segments together."""
_REST = 9.0
"""A window is counted anew after so many times as long as it took to count it."""
_LOOK_AGAIN_S = 3600.0
_PUBLISH_S = 1.0
_REFRESH_S = 60.0
_SLACK_MS = 300_000

_log = logging.getLogger("serinus.steward")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for cycles among a million tuples that have none, which takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class JoinGroundTruth:
    """By the steward that holds the lease; another one that takes over goes on with what is in the store."""

    name = "join_ground_truth"
    period_s = 0.05

    def __init__(self, clock: Callable[[], float] = time.time, budget_s: float = _BUDGET_S) -> None:
        self._clock = clock
        self._refused: set[Path] = set()
        self._budget_s = budget_s
        self._forget()

    def _forget(self) -> None:
        self._intake: dict[str, Any] | None = None
        self._revision = 0
        self._windows: dict[WindowName, dict[str, Any]] = {}
        self._columns: OrderedDict[Path, SegmentColumns | CompactedColumns] = OrderedDict()
        self._known: dict[tuple[str, str], Answers | None] = {}
        self._due: dict[int, float] = {}
        self._firsts: dict[Path, int] = {}
        self._work: Iterator[None] | None = None
        self._hour = -1
        self._summary = Summary()
        self._publish_at = float("-inf")
        self._changed = False
        self._looked = self._clock()

    @property
    def windows(self) -> Mapping[WindowName, Mapping[str, Any]] | None:
        """What the store says of all windows; None while that is not known here."""
        return None if self._intake is None else self._windows

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None:
            self._forget()
            return
        if shared.truths_forgotten:
            shared.truths_forgotten = False
            self._forget()
        try:
            self._load(shared)
            until = time.monotonic() + self._budget_s
            with _uncollected():
                self._take(shared, until)
                self._join(shared, until)
                self._tell(shared)
        except Conflict:  # another steward led meanwhile: read again
            self._forget()
        except Exception:
            self._forget()
            raise

    # What is known

    def _load(self, shared: Shared) -> None:
        if self._intake is not None:
            return
        found = shared.store.document(INTAKE, INTAKE_KEY)
        self._revision = found.revision if found else 0
        self._intake = orjson.loads(found.body) if found else {
            "format": FORMAT, "places": {}, "dirty": [], "orphans": {}, "received": 0, "forgotten": 0}
        self._windows = {WindowName.of(document.key): orjson.loads(document.body)
                         for document in shared.store.documents(WINDOW)}
        self._changed = True

    def _next(self, **changed: Any) -> Document:
        """The intake's next revision."""
        assert self._intake is not None
        body = orjson.dumps({**self._intake, **changed})
        return Document(INTAKE, INTAKE_KEY, self._revision + 1, body, self._clock())

    def _put(self, document: Document) -> None:
        self._intake, self._revision = orjson.loads(document.body), document.revision

    # From the spool into the store

    def _take(self, shared: Shared, until: float) -> None:
        for path in spooled(shared.home.spool):
            if time.monotonic() >= until:
                return
            finished = is_finished(path)  # before it is read: what is read then is all there is
            if self._take_file(shared, path, until) and finished:
                path.unlink(missing_ok=True)

    def _take_file(self, shared: Shared, path: Path, until: float) -> bool:
        """Whether all of it is in the store."""
        assert self._intake is not None
        rows: list[GroundTruth] = []
        end = place = self._intake["places"].get(path.name, 0)
        try:
            for portion in read_on(path, place):
                rows, end = rows + portion.rows, portion.end
                if len(rows) >= _ROWS:
                    self._keep(shared, path, rows, end)
                    rows = []
                    if time.monotonic() >= until:
                        return False
        except FileNotFoundError:
            return False
        except FrameError as error:
            if path not in self._refused:
                _log.error("Ground truth is left where it is: %s.", error)
            self._refused.add(path)
            return False
        if rows:
            self._keep(shared, path, rows, end)
        return True

    def _keep(self, shared: Shared, path: Path, rows: list[GroundTruth], end: int) -> None:
        assert self._intake is not None
        found, waiting = _by_key(shared, rows)
        places = {name: place for name, place in self._intake["places"].items()
                  if (shared.home.spool / name).exists()}
        document = self._next(places={**places, path.name: end}, received=self._intake["received"] + len(rows),
                              unnamed=self._intake.get("unnamed", 0) + len(waiting),
                              dirty=sorted(_hours(found).union(self._intake["dirty"])))
        shared.store.add_ground_truths(sorted(found + waiting), document=document, expected_revision=self._revision)
        self._put(document)
        self._changed = True

    # From the store to the log

    def _join(self, shared: Shared, until: float) -> None:
        while time.monotonic() < until:
            if self._work is None:
                self._work = self._begin(shared)
            if self._work is None:
                return
            if next(self._work, self) is self:
                self._work = None

    def _begin(self, shared: Shared) -> Iterator[None] | None:
        assert self._intake is not None
        now = self._clock()
        dirty = self._intake["dirty"]
        if now - self._looked >= _LOOK_AGAIN_S:
            self._looked = now
            self._let_go(shared, int(now // 3600) - shared.settings.ground_truth.keep_days * 24)
            dirty = sorted({*dirty, *map(int, self._intake["orphans"])})
            self._intake["dirty"] = dirty
            self._look_for_keys(shared, now - shared.settings.ground_truth.orphan_seconds)
            dirty = self._intake["dirty"]
        ready = [hour for hour in dirty if self._due.get(hour, 0.0) <= time.monotonic()]
        return self._count_anew(shared, ready[0]) if ready else None

    def _look_for_keys(self, shared: Shared, old: float) -> None:
        """Whether predictions are known by now of which truths came by a key."""
        assert self._intake is not None
        rows = shared.store.ground_truth_between(*KEY_IDS)
        if not rows:
            return
        found, waiting = _by_key(shared, rows)
        over = {row.prediction_id for row in waiting if row.received_time < old}
        kept = {row.prediction_id for row in waiting} - over
        document = self._next(dirty=sorted(_hours(found).union(self._intake["dirty"])),
                              unnamed=sum(row.prediction_id in kept for row in waiting),
                              forgotten=self._intake["forgotten"] + sum(row.prediction_id in over for row in waiting))
        shared.store.add_ground_truths(sorted(found), document=document, expected_revision=self._revision,
                                       forget={row.prediction_id for row in rows} - kept)
        self._put(document)

    def _count_anew(self, shared: Shared, hour: int) -> Iterator[None]:
        columns: list[SegmentColumns | CompactedColumns] = []
        for entry in self._segments_of(shared.home.log, hour):
            for columns_read in self._read(shared, entry):
                if columns_read is not None:
                    columns.append(columns_read)
                yield
        began = time.monotonic()
        settings = shared.settings.ground_truth
        rows = shared.store.ground_truth_between(id_at(hour), id_at(hour + 1))
        known = truths(rows, settings.conflict, settings.sources)
        matched: set[int] = set()
        for segment in columns:
            try:
                matched |= self._count_segment(shared, segment, hour, known)
            except FrameError as error:
                self._columns.pop(segment.path, None)
                _log.error("Predictions are left out of windows: %s.", error)
        self._settle(shared, hour, known, matched)
        self._changed = True
        ended = time.monotonic()
        self._due[hour] = ended + _REST * (ended - began)

    def _segments_of(self, log: Path, hour: int) -> list[Entry]:
        """What may hold predictions of an hour, by the first one and by when the last one was written."""
        found = []
        for entry in entries(log):
            first = self._first_of(entry)
            if first is not None and first < (hour + 1) * HOUR_MS + _SLACK_MS and (
                    entry.last_ns // 1_000_000 >= hour * HOUR_MS - _SLACK_MS):
                found.append(entry)
        return found

    def _first_of(self, entry: Entry) -> int | None:
        path = entry.path
        if path not in self._firsts:
            manifest = entry.manifest
            try:
                first = first_ms(path) if manifest is None else manifest.first_ms
            except FileNotFoundError:  # replaced meanwhile, or the log is capped
                manifest = entry.manifest
                first = None if manifest is None else manifest.first_ms
            if first is None:
                return None
            self._firsts[path] = first
        return self._firsts[path]

    def _read(self, shared: Shared, entry: Entry) -> Iterator[SegmentColumns | CompactedColumns | None]:
        """Once more where the segment is replaced by Parquet files just now."""
        path = entry.path
        for _ in range(2):
            try:
                for _ in self._columns_of(shared, entry).read():
                    yield None
                break
            except FileNotFoundError:
                self._columns.pop(path, None)
            except FrameError:  # the segment is just begun
                self._columns.pop(path, None)
                return
        else:  # the log is capped
            return
        found = self._columns[path]
        self._columns.move_to_end(path)
        while sum(each.records for each in self._columns.values()) > _RECORDS and len(self._columns) > 1:
            self._columns.popitem(last=False)
        yield found

    def _columns_of(self, shared: Shared, entry: Entry) -> SegmentColumns | CompactedColumns:
        path = entry.path
        if path not in self._columns:
            manifest = entry.manifest
            answers = partial(self._answers, shared)
            self._columns[path] = SegmentColumns(path, answers) if manifest is None else CompactedColumns(
                path, manifest, answers)
        return self._columns[path]

    def _count_segment(self, shared: Shared, segment: SegmentColumns | CompactedColumns, hour: int,
                       known: Truths) -> set[int]:
        matched: set[int] = set()
        for block in segment.blocks():
            found = match(block, segment.writer, hour, known)
            if not len(found.block.keys):
                continue
            matched.update(found.found.tolist())
            part = count(found, self._answers(shared, block.model, block.version),
                         shared.settings.ground_truth.late_seconds)
            self._keep_part(shared, WindowName(block.model, block.version, block.role, hour), segment.path.name, part)
        return matched

    def _keep_part(self, shared: Shared, name: WindowName, segment: str, part: dict[str, Any]) -> None:
        """A window is told anew only where something changed."""
        before = self._windows.get(name, {"format": FORMAT, "revision": 0, "parts": {}})
        part = orjson.loads(orjson.dumps(part))
        if before["parts"].get(segment) == part:
            return
        after = {**before, "revision": before["revision"] + 1, "parts": {**before["parts"], segment: part}}
        document = Document(WINDOW, name.key, after["revision"], orjson.dumps(after), self._clock())
        shared.store.put_document(document, expected_revision=before["revision"],
                                  epoch=shared.lease.epoch if shared.lease else None)
        self._windows[name] = after

    def _settle(self, shared: Shared, hour: int, known: Truths, matched: set[int]) -> None:
        """What has no prediction in the log is an orphan for some time, and is then forgotten; but not where the log
        is gone that it belonged to."""
        assert self._intake is not None
        gone = {int(segment.partition("-")[0], 16) for name, window in self._windows.items() if name.hour == hour
                for segment in window["parts"] if not Entry(shared.home.log, segment).exists}
        writers = known.keys.writers.tolist()
        orphans = [index for index in range(len(known.ids)) if index not in matched and writers[index] not in gone]
        old, share = self._clock() - shared.settings.ground_truth.orphan_seconds, shared.settings.log.sample_share
        unlogged = {index for index in orphans if not is_logged(_uuid(known.ids[index]), share)}
        over = [known.ids[index] for index in orphans if index in unlogged or known.truths[index].updated < old]
        left = {**self._intake["orphans"], str(hour): len(orphans) - len(over)}
        document = self._next(dirty=[each for each in self._intake["dirty"] if each != hour],
                              orphans={key: number for key, number in left.items() if number},
                              unlogged=self._intake.get("unlogged", 0) + len(unlogged),
                              forgotten=self._intake["forgotten"] + len(over) - len(unlogged))
        shared.store.put_document(document, expected_revision=self._revision)
        self._put(document)
        if over:
            shared.store.forget_ground_truth(over)

    def _let_go(self, shared: Shared, before: int) -> None:
        """Of the windows of hours before that one, and of their truths."""
        old = [name for name in self._windows if name.hour < before]
        for hour in sorted({name.hour for name in old}):
            rows = shared.store.ground_truth_between(id_at(hour), id_at(hour + 1))
            shared.store.forget_ground_truth({row.prediction_id for row in rows})
        for name in old:
            shared.store.delete_document(WINDOW, name.key, expected_revision=self._windows.pop(name)["revision"])

    def _answers(self, shared: Shared, model: str, version: str) -> Answers | None:
        key = model, version
        if key not in self._known:
            try:
                found = shared.registry.get(model, version)
                answers = worth_answers(found, shared.settings.performance)
                promise = promise_of(shared.registry, found) if answers is not None else None
                self._known[key] = answers._replace(scale=promise.scale) if answers and promise else answers
            except ModelError:  # removed since
                self._known[key] = None
        return self._known[key]

    # What is said

    def _tell(self, shared: Shared) -> None:
        began = time.monotonic()
        if began < self._publish_at + (0.0 if self._changed else _REFRESH_S) or self._intake is None:
            return
        definitions: dict[tuple[str, str], Definition] = {
            name[:2]: found.definition for name in self._windows
            if (found := self._answers(shared, name.model, name.version)) is not None}
        publish(shared.home.run, {
            "received": self._intake["received"], "waiting_bytes": waiting_bytes(shared.home.spool),
            "orphans": sum(self._intake["orphans"].values()) + self._intake.get("unnamed", 0),
            "unlogged": self._intake.get("unlogged", 0), "forgotten": self._intake["forgotten"],
            "models": self._summary.of(self._windows, definitions, self._clock(),
                                       shared.settings.ground_truth.mature_share)})
        ended, self._changed = time.monotonic(), False
        self._publish_at = ended + max(_PUBLISH_S, _REST * (ended - began))


def _by_key(shared: Shared, rows: list[GroundTruth]) -> tuple[list[GroundTruth], list[GroundTruth]]:
    """Truths of predictions, those of a key for each one that it stands for; and truths of keys that stand for none."""
    keyed = [row for row in rows if row[0].startswith(KEY_IDS[0])]
    if not keyed:
        return rows, []
    known = named(shared.home.keys, {hash_in(row[0]) for row in keyed})
    found = [row for row in rows if not row[0].startswith(KEY_IDS[0])]
    waiting = []
    for row in keyed:
        ids = known.get(hash_in(row[0]), ())
        found += [row._replace(prediction_id=each) for each in ids]
        waiting += [] if ids else [row]
    return found, waiting


def _hours(rows: list[GroundTruth]) -> set[int]:
    return set((keys_of([row[0] for row in rows]).times_ms // HOUR_MS).tolist())


def _uuid(prediction_id: str) -> bytes:
    return bytes.fromhex(prediction_id[:36].replace("-", ""))
