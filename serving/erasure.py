"""Erases one person: whatever a home keeps of some predictions, in files that are being written, too.

    1  callers' keys lead to predictions, and these by their ids to what holds them
    2  the workers end their files (`run/seal`), so that everything lies in finished ones
    3  segments that hold the predictions become Parquet, and Parquet files are written anew without them
    4  pairs of shadows, and what a canary's arms answered, are overwritten
    5  the steward, or this process where none runs, forgets truths: in the spool, in the store and its write-ahead log,
       and in the windows, which are counted anew; and references that were learnt from live rows at that time
    6  the key index is overwritten last: who dies before can be asked to do it all again

What is known of many people together (counts, windows, references that somebody gave) stays, but for the windows that
held the predictions, and for learnt references: their ends may be one person's, so they are learnt again.
"""

from __future__ import annotations

import socket
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.serving.access import note_access
from serinus.serving.errors import CommandError
from serinus.serving.expectations import deployment_key
from serinus.serving.files import reachable
from serinus.serving.ground_truth.spool import is_finished, spooled
from serinus.serving.home import Home, RunFolder
from serinus.serving.ids import parse_prediction_id
from serinus.serving.prediction_log import Entry, entries, find, is_open
from serinus.serving.prediction_log.compaction import compact_segment, recover, rewrite
from serinus.serving.prediction_log.keys import blank_keys, hash_of, key_id, key_text, named
from serinus.serving.prediction_log.manifest import Part, exclusive, parquet_folder
from serinus.serving.prediction_log.writer import segment_name
from serinus.serving.rollout.answers import answers_in, blank_answers
from serinus.serving.shadow.ledger import blank_pairs, ledgers_in
from serinus.serving.steward.forget import forget
from serinus.serving.store import SqliteStore

__all__ = ["Erased", "erase", "expand"]

_HOUR_MS = 3_600_000
_LOOK_S = 0.02
_PATIENCE_S = 15.0
_STEWARDS_PATIENCE_S = 600.0


class Erased(NamedTuple):
    """What was erased; `predictions` by model, from the log, and by shadows."""

    predictions: Mapping[str, int]
    truths: int
    keys: int
    pairs: int

    @property
    def anything(self) -> bool:
        """Whether there was something."""
        return bool(sum(self.predictions.values()) or self.truths or self.keys or self.pairs)


def expand(home: Home, given: str) -> list[str]:
    """The prediction ids that one stands for: itself or, without its row, those of its request. Raises CommandError."""
    if parse_prediction_id(given) is not None:
        return [given]
    if parse_prediction_id(f"{given}-0") is None:
        raise CommandError(f"{given!r} is no prediction id: wanted one that an answer carried, such as "
                           "0190a6b2-7c3e-7000-8000-000000000000-0.")
    record = find(home.log, f"{given}-0")
    return [f"{given}-{row}" for row in range(1 if record is None else record.rows)]


def erase(home: Home, keys: Collection[str], ids: Collection[str], *, actor: str, reason: str,
          patience_s: float = _PATIENCE_S) -> Erased:
    """Erase what callers' keys and prediction ids stand for. Raises CommandError where something is left, and says
    what; then it can be done again."""
    secret = deployment_key(home.path) if keys else b""
    hashes = [hash_of(text, secret) for text in map(key_text, keys) if text is not None]
    predictions = sorted({*ids, *(each for found in named(home.keys, hashes).values() for each in found)})
    note_access(home, actor, "cli", "erase", len(predictions))
    waiting = _seal(home, patience_s)
    touched = [(folder, _holders(folder, predictions, everywhere=folder != home.log))
               for folder in (home.log, home.shadow_log)]
    _refuse_open(waiting, (entry.path for _, found in touched for entry in found))
    counts: Counter[str] = Counter()
    for folder, found in touched:
        counts.update(_erase_records(folder, found, predictions))
    halves = {_halves(each) for each in predictions}
    pairs = sum(blank_pairs(path, halves) for path in ledgers_in(home.pairs))
    pairs += sum(blank_answers(path, halves) for paths in answers_in(home.pairs).values() for path in paths)
    request = {"ids": [*predictions, *map(key_id, hashes)], "segments": [entry.name for entry in touched[0][1]],
               "predictions": dict(counts), "actor": actor, "reason": reason}
    truths = _forget(home, request)
    blanked = blank_keys(home.keys, hashes, halves)
    if left := named(home.keys, hashes):
        number = sum(map(len, left.values()))
        raise CommandError(f"{number} predictions were answered under that key meanwhile: erase it again.")
    return Erased(dict(counts), truths, blanked, pairs)


def _halves(each: str) -> tuple[bytes, int]:
    return bytes.fromhex(each[:36].replace("-", "")), int(each[37:])


def _seal(home: Home, patience_s: float) -> set[Path]:
    """Have every process end its files; those that are still written after a time."""
    home.run.mkdir(parents=True, exist_ok=True)
    open_now = {entry.path for folder in (home.log, home.shadow_log) for entry in entries(folder)
                if is_open(entry.path)} | {path for path in spooled(home.spool) if not is_finished(path)}
    home.seal.write_bytes(time.time_ns().to_bytes(8))
    deadline = time.monotonic() + patience_s
    while open_now and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        open_now = {path for path in open_now if is_open(path)}
    return open_now


def _refuse_open(waiting: Collection[Path], wanted: Iterable[Path]) -> None:
    stuck = [path for path in wanted if path in waiting] + [path for path in waiting if path.suffix == ".spool"]
    if stuck:
        raise CommandError(f"{stuck[0]} is still written by a process that does not let go of it, so nothing was "
                           "erased: end that process (an application made by create_app?) and erase again.")


def _holders(folder: Path, predictions: Sequence[str], *, everywhere: bool) -> list[Entry]:
    """What may hold predictions of a log: an id says its segment. Shadows use the ids of others, so all are asked."""
    known = entries(folder)
    if everywhere:
        uuids = {_halves(each)[0] for each in predictions}
        return [entry for entry in known if _may_hold(entry, uuids)]
    names, found = [entry.name for entry in known], set()
    for each in predictions:
        parsed = parse_prediction_id(each)
        assert parsed is not None
        place = bisect_right(names, segment_name(parsed.writer, parsed.sequence)) - 1
        if place >= 0 and names[place].startswith(f"{parsed.writer:09x}-"):
            found.add(names[place])
    return [entry for entry in known if entry.name in found]


def _may_hold(entry: Entry, uuids: Collection[bytes]) -> bool:
    manifest = entry.manifest
    if manifest is not None:
        return bool({part.hour for part in manifest.parts} & set(map(_hour, uuids)))
    try:
        data = entry.path.read_bytes()
    except FileNotFoundError:  # compacted meanwhile, or the log is capped
        return True
    return any(uuid in data for uuid in uuids)


def _hour(uuid: bytes) -> int:
    return int.from_bytes(uuid[:6]) // _HOUR_MS


def _erase_records(folder: Path, holders: Iterable[Entry], predictions: Sequence[str]) -> Counter[str]:
    """Write anew what holds them; how many there were, by model."""
    counts: Counter[str] = Counter()
    wanted, requests = frozenset(predictions), frozenset(each[:36] for each in predictions)
    hours = {_hour(_halves(each)[0]) for each in predictions}
    for entry in holders:
        with exclusive(folder):
            recover(folder)
            for part in _parts(entry):
                if part.hour in hours:
                    whole = any(column.whole for column in (*part.shape.inputs, *part.shape.outputs))
                    keep = partial(_kept, requests if whole else wanted, 36 if whole else None)
                    counts[part.shape.model] += rewrite(parquet_folder(folder) / part.path, keep)
    return +counts


def _kept(erased: Collection[str], length: int | None, ids: Sequence[str]) -> list[bool]:
    """Which of these predictions stay, by their ids or the beginnings of them."""
    return [each[:length] not in erased for each in ids]


def _parts(entry: Entry) -> tuple[Part, ...]:
    """The Parquet files of what a segment held, which it becomes now where it has not yet."""
    if entry.manifest is None and entry.path.exists():
        compact_segment(entry.path)
    manifest = entry.manifest
    return () if manifest is None else manifest.parts


def _forget(home: Home, request: dict[str, Any]) -> int:
    """By every steward of this home, each of which remembers something; or by this process."""
    servers = home.servers()
    if servers:
        return max(_ask(server, request) for server in servers)
    if not home.store.exists() and not spooled(home.spool):
        return 0
    store = SqliteStore(home.store, create=True)
    try:
        return forget(store, home, request)
    finally:
        store.close()


def _ask(server: RunFolder, request: dict[str, Any]) -> int:
    try:
        with reachable(server.steward_socket) as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_STEWARDS_PATIENCE_S)
            connection.connect(path)
            with connection.makefile("rwb") as stream:
                stream.write(orjson.dumps({"verb": "forget", **request}) + b"\n")
                stream.flush()
                answer = orjson.loads(stream.readline())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"The steward does not answer ({error}), so ground truth was not erased. It is restarted by "
                           "itself: erase again.") from None
    if "error" in answer:
        raise CommandError(f"Ground truth was not erased: {answer['error']} Erase again.")
    return int(answer["truths"])
