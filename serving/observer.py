"""The observer: what a worker looks at for its monitors, beside the request line.

Before an answer is rendered, its rows' novelty is told; after it was recorded, the rows wait to be counted. They are
counted together, 256 rows or 100 ms at a time, into the version's sheet, which the steward reads. What a version is
compared with, and what is known of it by now, the worker finds in small files that the steward publishes.

All rows are observed while that costs no more than a share of the request's own time (parse and predict); beyond, a
random sample of its rows is, chosen by a hash of the request's UUID and the row's number, of 32 rows at least.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isnan
from pathlib import Path
from traceback import format_tb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.counts import Counts
from serinus.monitors.features import MISSING
from serinus.monitors.novelty import Novelty
from serinus.monitors.profile import Profile
from serinus.serving.monitoring import MonitorFiles, View
from serinus.serving.request import InferenceRequest
from serinus.serving.router import Arm, Router
from serinus.serving.settings import MonitorSettings
from serinus.serving.sheet import Pane, Sheet, Unusual

__all__ = ["Look", "Observer", "Waiting", "Watch"]

_log = logging.getLogger("serinus.observer")
_FLUSH_ROWS = 256
_FLUSH_NS = 100_000_000
_LEAST = 32
_LOOK_S = 0.5
_UNUSUAL = 0.01
"""A row with a smaller novelty p-value is kept as an example."""
_EXAMPLES = 2
"""Of rows that are counted together, the most unusual ones are kept as examples, so many at most."""
_LOOK_NS, _COUNT_NS = 1000.0, 3000.0
"""What a row is thought to cost before it was measured."""
_STEP = 0.1
_GOLDEN, _MASK64 = 0x9E3779B97F4A7C15, (1 << 64) - 1

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]


class Look(NamedTuple):
    """What was seen of one request before it was answered."""

    inputs: Arrays
    rows: int
    """How many of its rows are observed."""
    chosen: NDArray[np.intp] | None
    """Which ones; None: all of them."""
    novelty: Novelty | None = None
    """What tells how unusual a row is; None where that is off."""
    scores: Sequence[float] | Floats = ()
    """Their novelty scores."""
    least: float = 1.0
    """The smallest of their p-values."""

    def p_values(self) -> Floats | None:
        """The novelty p-value of each observed row; None where novelty is off."""
        return None if self.novelty is None else self.novelty.p_values(np.asarray(self.scores))

    def logged(self, rows: int) -> Floats | None:
        """The p-value of each of a request's rows, NaN for those that are not observed; None where none is."""
        if self.novelty is None or not self.rows:
            return None
        if rows == 1:
            return np.array([self.least])
        p = self.novelty.p_values(np.asarray(self.scores))
        if self.chosen is None:
            return p
        found = np.full(rows, np.nan)
        found[self.chosen] = p
        return found

    def by_row(self, rows: int) -> tuple[float | None, ...] | None:
        """The p-value of each of a request's rows, None for those that are not observed."""
        if self.novelty is None:
            return None
        p = self.logged(rows)
        return () if p is None else tuple(None if isnan(one) else one for one in p.tolist())


class Waiting:
    """A version that is not compared with anything yet; its answers say so."""

    def __init__(self, view: View) -> None:
        self.state = view.state
        self._head = b"x-serinus-monitor: schema=%%b; %b\r\n" % view.brief.encode()

    def look(self, request: InferenceRequest, uuid: bytes, own_ns: int) -> Look | None:
        """Nothing to see."""
        return None

    def keep(self, look: Look | None, request: InferenceRequest, outputs: Arrays, uuid: bytes,
             received_ns: int) -> None:
        """Nothing to count."""

    def head(self, look: Look | None, violations: bool = False) -> bytes:
        """The header line."""
        return self._head % (b"warn" if violations else b"ok")


class _Rows(NamedTuple):
    inputs: Arrays
    outputs: Arrays
    look: Look
    uuid: bytes
    received_ns: int


class Watch:
    """One version that is compared with its reference: rows that wait to be counted, and what its answers say."""

    def __init__(self, profile: Profile, sheet: Sheet, view: View, settings: MonitorSettings) -> None:
        self.profile, self.sheet = profile, sheet
        self._encoder = profile.encoder
        self._novelty = profile.novelty if settings.novelty else None
        self._has_categories = any(one.kind == "categorical" and one.side == "input" for one in profile.features)
        self._share = settings.observe_share
        self._look_ns, self._count_ns = _LOOK_NS, _COUNT_NS
        self._pending: dict[tuple[str, ...], list[_Rows]] = {}
        self._pending_rows = 0
        self._since_ns = 0
        self._silent = False
        self._parts = _contributors(profile)
        self._outputs = {name: [index for index, one in enumerate(profile.features)
                                if one.side == "output" and one.field == name]
                         for name in {one.field for one in profile.features if one.side == "output"}}
        self.follow(view)

    def follow(self, view: View) -> None:
        """Tell what is known by now."""
        self.state = view.state
        self._plain_head = b"x-serinus-monitor: schema=%%b; %b\r\n" % view.brief.encode()
        self._head = b"x-serinus-monitor: schema=%%b; novelty_p=%%b; %b\r\n" % view.brief.encode()

    def look(self, request: InferenceRequest, uuid: bytes, own_ns: int) -> Look | None:
        """See how unusual the rows of a request are. `own_ns` is the time that parsing and the model took."""
        if self._silent:
            return None
        try:
            return self._look(request, uuid, own_ns)
        except Exception as error:
            self._fail(error)
            return None

    def _look(self, request: InferenceRequest, uuid: bytes, own_ns: int) -> Look:
        inputs, rows, chosen = request.sent or request.inputs, request.rows, None
        affordable = self._share * own_ns / (self._look_ns + self._count_ns)
        if rows > _LEAST and rows > affordable:
            wanted = max(_LEAST, int(affordable))
            chosen = sample(uuid, rows, wanted)
            inputs, rows = _rows_of(inputs, chosen, rows), wanted
        novelty = self._novelty
        if novelty is None:
            return Look(inputs, rows, chosen)
        started = time.perf_counter_ns()
        numbers = self._encoder.numbers(inputs)
        codes = self._encoder.categories(inputs) if self._has_categories else None
        if rows == 1:
            score = novelty.score(numbers[0], None if codes is None else codes[0])
            return Look(inputs, rows, chosen, novelty, (score,), novelty.p_value(score))
        scores = novelty.scores(numbers, codes)
        least = novelty.p_value(float(scores.max(initial=0.0)))
        if rows > _LEAST:  # few rows cost more each, and are always observed
            self._look_ns += _STEP * ((time.perf_counter_ns() - started) / rows - self._look_ns)
        return Look(inputs, rows, chosen, novelty, scores, least)

    def head(self, look: Look | None, violations: bool = False) -> bytes:
        """The header line: the smallest p-value of the answer's rows, and where the stream stands."""
        schema = b"warn" if violations else b"ok"
        if look is None or look.novelty is None:
            return self._plain_head % schema
        return self._head % (schema, b"%.3g" % look.least)

    def keep(self, look: Look | None, request: InferenceRequest, outputs: Arrays, uuid: bytes,
             received_ns: int) -> None:
        """Let the rows of an answered request wait to be counted."""
        if self._silent:
            return
        self.sheet.see(request.rows)
        if look is None or not look.rows:
            return
        if look.chosen is not None:
            outputs = _rows_of(outputs, look.chosen, request.rows)
        self._pending.setdefault((*look.inputs, "", *outputs), []).append(
            _Rows(look.inputs, outputs, look, uuid, received_ns))
        if not self._pending_rows:
            self._since_ns = time.monotonic_ns()
        self._pending_rows += look.rows
        if self._pending_rows >= _FLUSH_ROWS:
            self.flush()

    def flush_due(self, now_ns: int) -> None:
        """Count what has waited long enough, at monotonic time `now_ns`."""
        if self._pending_rows and now_ns - self._since_ns >= _FLUSH_NS:
            self.flush()

    def flush(self) -> None:
        """Count what waits."""
        pending, rows = self._pending, self._pending_rows
        self._pending, self._pending_rows = {}, 0
        if not rows or self._silent:
            return
        started = time.perf_counter_ns()
        try:
            pane = self.sheet.begin()
            for together in pending.values():
                self._count(pane.counts, together)
            self._remember(pane, [rows for together in pending.values() for rows in together
                                  if rows.look.least <= _UNUSUAL])
            self.sheet.flip(time.time_ns())
        except Exception as error:
            self._fail(error)
        if rows > _LEAST:
            self._count_ns += _STEP * ((time.perf_counter_ns() - started) / rows - self._count_ns)

    def _count(self, counts: Counts, together: list[_Rows]) -> None:
        for inputs, outputs, rows in _joined(together):
            seen = self._encoder.observe(inputs, outputs)
            counts.add(seen.codes, seen.deviations)
            for name, positions in self._outputs.items():
                if name not in outputs:  # nobody asked for it: that is not the same as a missing value
                    counts.table[positions, MISSING] -= rows

    def _remember(self, pane: Pane, requests: list[_Rows]) -> None:
        """Keep examples of unusual rows: looking for what is unusual about a row costs more than counting it."""
        if not requests:
            return
        number = sum(int(np.count_nonzero(p <= _UNUSUAL)) for rows in requests
                     if (p := rows.look.p_values()) is not None)
        examples = []
        for rows in sorted(requests, key=lambda rows: rows.look.least)[:_EXAMPLES]:
            look = rows.look
            index = int(np.argmax(look.scores))
            row = index if look.chosen is None else int(look.chosen[index])
            examples.append(Unusual(rows.uuid, row, rows.received_ns, look.least, self._reason(rows, index)))
        self.sheet.remember(pane, examples, number)

    def _reason(self, rows: _Rows, index: int) -> int:
        """The feature that adds most to a row's novelty."""
        assert self._novelty is not None
        one = _rows_of(rows.inputs, np.array([index]), rows.look.rows)
        codes = self._encoder.categories(one)[0] if self._has_categories else None
        adds = self._novelty.contributions(self._encoder.numbers(one)[0], codes)
        return self._parts[int(adds.argmax())] if adds.size else -1

    def _fail(self, error: Exception) -> None:
        """A monitor must never fail an answer: it falls silent, and the log says where it failed. What an exception
        says may hold a value of somebody's, so that is not told."""
        self._silent = True
        _log.error("A monitor failed (%s); %s is not observed by this worker any more\n%s", type(error).__name__,
                   self.sheet.path.stem, "".join(format_tb(error.__traceback__)))

    def close(self) -> None:
        """Count what waits, and give the sheet up. A request that is under way may still hold on to this watch."""
        self.flush()
        self._silent = True
        self.sheet.close()


class Observer:
    """All watches of one worker. `incarnation` names the worker's life; `sheets` is where it counts."""

    def __init__(self, settings: MonitorSettings, files: MonitorFiles, sheets: Path, incarnation: str) -> None:
        self._settings = settings
        self._files = files
        self._sheets = sheets
        self._incarnation = incarnation
        self._watches: dict[tuple[str, str], Watch | Waiting] = {}
        self._stamps: dict[tuple[str, str], Any] = {}
        self._looked = 0.0
        self._following: asyncio.Task[None] | None = None

    def turn(self, router: Router) -> None:
        """Count what has waited; now and then, see whether the steward has published anything. Called often."""
        now_ns = time.monotonic_ns()
        for watch in self._watches.values():
            if isinstance(watch, Watch):
                watch.flush_due(now_ns)
        if self._following is None and now_ns / 1e9 - self._looked >= _LOOK_S:
            self._looked = now_ns / 1e9
            self._following = asyncio.create_task(self.look(router))

    def attach(self, router: Router) -> None:
        """Let every arm know its watch; watches of versions that are gone end."""
        wanted = set()
        for arm in _arms(router):
            arm.watch = self._watches.get((arm.name, arm.version))
            wanted.add((arm.name, arm.version))
        for key in set(self._watches) - wanted:
            self._end(key)

    async def look(self, router: Router) -> None:
        """Follow what the steward has published anew."""
        try:
            for key in {(arm.name, arm.version) for arm in _arms(router)}:
                stamp = self._files.stamp(*key)
                if stamp is not None and stamp != self._stamps.get(key):
                    self._stamps[key] = stamp
                    await self._read(*key)
            self.attach(router)
        except Exception:
            _log.exception("What the monitors published cannot be followed")
        finally:
            self._following = None

    async def _read(self, model: str, version: str) -> None:
        view = await asyncio.to_thread(self._files.view, model, version)
        if view is None:
            return
        known = self._watches.get((model, version))
        if isinstance(known, Watch) and view.digest == known.profile.digest:
            known.follow(view)
            return
        profile = None if view.digest is None else await asyncio.to_thread(self._files.profile, view.digest)
        self._end((model, version), keep_stamp=True)
        if profile is None:
            self._watches[model, version] = Waiting(view)
        else:
            sheet = Sheet(self._sheets, self._incarnation, model, version, profile.digest, len(profile.features))
            self._watches[model, version] = Watch(profile, sheet, view, self._settings)

    def _end(self, key: tuple[str, str], *, keep_stamp: bool = False) -> None:
        watch = self._watches.pop(key, None)
        if isinstance(watch, Watch):
            watch.close()
        if not keep_stamp:
            self._stamps.pop(key, None)

    def close(self) -> None:
        """Count what waits everywhere, and give all sheets up."""
        if self._following is not None:
            self._following.cancel()
        for key in list(self._watches):
            self._end(key)


def sample(uuid: bytes, rows: int, wanted: int) -> NDArray[np.intp]:
    """`wanted` of a request's rows, in order, each as likely as any other: a stretch of a shuffled deck, which the
    UUID begins."""
    number = int.from_bytes(uuid[8:], "big") * _GOLDEN & _MASK64
    return _hand(rows, wanted, (number >> 32) % rows)


@lru_cache(4096)
def _hand(rows: int, wanted: int, start: int) -> NDArray[np.intp]:
    deck = _deck(rows)
    return np.sort(deck[(start + np.arange(wanted)) % rows])


@lru_cache(64)
def _deck(rows: int) -> NDArray[np.intp]:
    return np.random.default_rng(rows).permutation(rows)


def _arms(router: Router) -> Iterator[Arm]:
    for route in router.routes.values():
        yield from route.arms


def _contributors(profile: Profile) -> list[int]:
    """The features behind novelty's contributions, in their order."""
    encoder = profile.encoder
    return [*encoder.number_features.tolist(), *encoder.category_features.tolist()]


def _rows_of(arrays: Arrays, chosen: NDArray[np.intp], rows: int) -> Arrays:
    """The chosen rows of what has one element for each row; nothing of what has not."""
    return {name: array.take(chosen, 0) for name, array in arrays.items() if array.shape[:1] == (rows,)}


def _joined(together: list[_Rows]) -> Iterator[tuple[Arrays, Arrays, int]]:
    """The rows of requests that have the same fields, as one; apart where their tensors have different sizes."""
    total = sum(rows.look.rows for rows in together)
    if len(together) > 1:
        try:
            yield _stacked([rows.inputs for rows in together], total), _stacked(
                [rows.outputs for rows in together], total), total
            return
        except ValueError:
            pass
    for rows in together:
        yield _stacked([rows.inputs], rows.look.rows), _stacked([rows.outputs], rows.look.rows), rows.look.rows


def _stacked(parts: list[Arrays], total: int) -> Arrays:
    """Fields that have one element for each row, one request's rows after the other's."""
    if len(parts) == 1:
        return {name: array for name, array in parts[0].items() if array.shape[:1] == (total,)}
    stacked = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: array for name, array in stacked.items() if len(array) == total}
