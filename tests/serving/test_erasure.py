"""Everything that a home keeps of some predictions goes, and nothing else does; who died in between can begin again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from serinus.monitors.features import category_hash
from serinus.monitors.record import PredictionRecord
from serinus.monitors.reference import Reference
from serinus.serving.erasure import erase, expand
from serinus.serving.errors import CommandError
from serinus.serving.expectations import deployment_key
from serinus.serving.ground_truth import Spool
from serinus.serving.ground_truth.spool import read_on, spooled
from serinus.serving.home import Home
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.monitoring import MonitorFiles, View
from serinus.serving.prediction_log import SegmentWriter, find, read, segments
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.prediction_log.keys import KeyWriter, hash_of, key_id, named
from serinus.serving.references import Chosen, choose
from serinus.serving.shadow.ledger import LedgerWriter, ledgers_in, read_ledger
from serinus.serving.steward.judge_drift import VIEW
from serinus.serving.store import Document, GroundTruth, SqliteStore

NOW_NS = 1_750_000_000_000_000_000
WHO = {"actor": "ana", "reason": "asked for it"}


class Kept:
    """A home with so many requests of two rows, in segments of a few requests each."""

    def __init__(self, folder: Path, requests: int = 12, **inputs: Any) -> None:
        self.home = Home(folder)
        self.source = IdSource(7)
        self.ids: list[str] = []
        self.writer = SegmentWriter(self.home.log, 7, 700)
        self.shadow = SegmentWriter(self.home.shadow_log, 8, 700)
        for number in range(requests):
            self.add(number, **inputs)
        self.writer.close()
        self.shadow.close()

    def add(self, number: int, **inputs: Any) -> None:
        sequence = self.source.sequence
        uuid, _ = self.source.next(NOW_NS)
        arrays = {"x": np.array([number, number + 0.5]), **inputs}
        record = PredictionRecord(uuid, f"r-{number}", NOW_NS, 1, "credit", "1", "stable", 2, arrays,
                                  {"y": np.array([number, -number])}, 0, 0, 0)
        self.writer.append(record, sequence)
        self.shadow.append(record._replace(version="2", role="shadow"), sequence)
        self.ids += [prediction_id(uuid, row) for row in range(2)]

    def name(self, key: str, *ids: str) -> bytes:
        found, writer = hash_of(key, deployment_key(self.home.path)), KeyWriter(self.home.keys, 7)
        for each in ids:
            writer.append([None] * int(each[37:]) + [found], bytes.fromhex(each[:36].replace("-", "")))
        return found

    def values(self, folder: Path | None = None) -> dict[str, float]:
        return {prediction_id(record.prediction_uuid, row): float(record.inputs["x"][row])
                for record in read(folder or self.home.log) for row in range(record.rows)}


@pytest.mark.parametrize("compacted", [False, True])
def test_a_row_goes_and_its_neighbours_stay(tmp_path: Path, compacted: bool) -> None:
    """By its key, of callers and of shadows, from segments or Parquet: a row, a whole request, and no other's."""
    kept = Kept(tmp_path)
    before, mine = kept.values(), [kept.ids[1], *kept.ids[8:10]]
    found = kept.name("order-1", *mine)
    if compacted:
        compact(kept.home.log)
        compact(kept.home.shadow_log)
    done = erase(kept.home, ["order-1"], [], **WHO)
    assert done == ({"credit": 6}, 0, 3, 0)
    for folder in (kept.home.log, kept.home.shadow_log):
        left = kept.values(folder)
        assert {each: left[each] for each in before if each not in mine} == {
            each: value for each, value in before.items() if each not in mine}
        assert not {left.get(each) for each in mine} & {before[each] for each in mine}
    assert find(kept.home.log, mine[1]) is None
    assert named(kept.home.keys, [found]) == {}
    assert not erase(kept.home, ["order-1"], [], **WHO).anything


def test_what_is_not_one_per_row_goes_with_any_of_its_rows(tmp_path: Path) -> None:
    """A tensor for the whole request may be of either person."""
    kept = Kept(tmp_path, 3, whole=np.arange(5.0))
    assert erase(kept.home, [], [kept.ids[2]], **WHO).predictions == {"credit": 4}
    assert kept.values().keys() == {*kept.ids[:2], *kept.ids[4:]}


def test_truths_go_from_spool_store_and_journalless_names(tmp_path: Path) -> None:
    """Those of the predictions, and those that wait under the key; the journal tells how many, by whom and why."""
    kept = Kept(tmp_path)
    mine, other = kept.ids[4], kept.ids[6]
    stand_in = key_id(kept.name("order-1", mine))
    spool, store = Spool(kept.home.spool, 1 << 20), SqliteStore(kept.home.store, create=True)
    for value in ("spooled", "stored"):
        rows = [GroundTruth(each, "", "final", f"{value}-{each}", 0.0, 1.0) for each in (mine, other, stand_in)]
        spool.append(rows) if value == "spooled" else store.add_ground_truths(rows)
    spool.close()
    done = erase(kept.home, ["order-1"], [], **WHO)
    assert (done.predictions, done.truths) == ({"credit": 2}, 4)
    (path,) = spooled(kept.home.spool)
    assert [row.value for portion in read_on(path, 0) for row in portion.rows] == [f"spooled-{other}"]
    assert [row.value for row in store.ground_truth_between("", "z")] == [f"stored-{other}"]
    (entry,) = store.journal("credit")
    assert (entry.kind, entry.actor, entry.reason, entry.body["predictions"]) == ("log.erase", "ana", "asked for it", 2)
    store.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if f"stored-{mine}".encode() in path.read_bytes()] == []
    assert [path for path in files if b"order-1" in path.read_bytes()] == []


def test_whoever_reads_on_in_a_spool_finds_his_place(tmp_path: Path) -> None:
    """A file from which was erased is as long as it was, frame by frame."""
    kept = Kept(tmp_path, 2)
    spool = Spool(kept.home.spool, 1 << 20)
    spool.append([GroundTruth(kept.ids[0], "", "final", "a", 0.0, 1.0)])
    (path,) = spooled(kept.home.spool)
    place = path.stat().st_size
    spool.append([GroundTruth(kept.ids[2], "", "final", "b", 0.0, 1.0)])
    spool.close()
    erase(kept.home, [], [kept.ids[0]], **WHO)
    assert [row.value for portion in read_on(path, place) for row in portion.rows] == ["b"]


def _learnt(store: SqliteStore, home: Home, version: str, origin: Any, at: float) -> tuple[str, list[bytes]]:
    """A reference of 400 rows from that time on, one of them with a name and a sum that nobody else has: its digest,
    and how it tells of them."""
    draw, salt = np.random.default_rng(0), b"salt" * 4
    city = np.array(["Oslo", "Rome"] * 200, object)
    income = draw.normal(40, 5, 400)
    city[7], income[8] = "Quillfeather", 73194.15625
    learner = Reference.learn(400, salt=salt)
    learner.add({"city": city, "income": income}, {}, at + np.arange(400.0))
    profile = learner.profile()
    key = category_hash("Quillfeather", salt)
    assert key is not None
    body = profile.to_bytes().decode()
    marks = [str(key), f"#{key:016x}"[:9], *re.findall(r"73194\.1\d*", body)]
    assert [mark for mark in marks if mark in body] == marks and len(marks) > 2
    store.put_document(Document("profile", profile.digest, 1, profile.to_bytes(), at), expected_revision=0)
    choose(store, "credit", version, Chosen(profile.digest, origin, at=at))
    view = {"format": 1, "model": "credit", "version": version, "reference": {"digest": profile.digest}}
    MonitorFiles(home.monitors).publish_profile(profile.digest, profile.to_bytes())
    MonitorFiles(home.monitors).publish(View(view))
    store.put_document(Document(VIEW, f"credit:{version}", 1, orjson.dumps(view), at), expected_revision=0)
    return profile.digest, [mark.encode() for mark in marks]


def _where(folder: Path, marks: list[bytes]) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and any(mark in path.read_bytes()
                                                                             for mark in marks)}


def test_a_reference_that_was_learnt_from_a_persons_rows_is_forgotten(tmp_path: Path) -> None:
    """Its largest number and its rare category, hashed as it is, may be his; the steward learns it anew."""
    kept, store = Kept(tmp_path), SqliteStore(Home(tmp_path).store, create=True)
    digest, marks = _learnt(store, kept.home, "1", "learnt", NOW_NS / 1e9 - 5)
    assert {name.partition("-")[0] for name in _where(tmp_path, marks)} == {f"{digest[7:]}.profile.json", "store.db"}
    erase(kept.home, [], [kept.ids[4]], **WHO)
    assert _where(tmp_path, marks) == set()
    assert [*store.documents("reference"), *store.documents("profile"), *store.documents(VIEW)] == []
    assert MonitorFiles(kept.home.monitors).views() == []
    assert {entry.kind for entry in store.journal("credit")} >= {"monitor.reset", "log.erase"}
    store.close()


@pytest.mark.parametrize(("origin", "at"), [("set", NOW_NS / 1e9 - 5), ("learnt", NOW_NS / 1e9 - 9_000)])
def test_other_references_stay(tmp_path: Path, origin: str, at: float) -> None:
    """What somebody gave, and what was learnt at another time."""
    kept, store = Kept(tmp_path), SqliteStore(Home(tmp_path).store, create=True)
    digest, _ = _learnt(store, kept.home, "1", origin, at)
    erase(kept.home, [], [kept.ids[4]], **WHO)
    assert store.document("profile", digest) is not None
    assert [view.digest for view in MonitorFiles(kept.home.monitors).views()] == [digest]
    store.close()


def test_pairs_of_shadows_are_overwritten(tmp_path: Path) -> None:
    """In a ledger that is still written; its other pairs stay where they are."""
    kept = Kept(tmp_path, 3)
    ledger = LedgerWriter(kept.home.pairs, "r-1", "credit", "s", ["no", "yes"], [])
    uuids = [bytes.fromhex(each[:36].replace("-", "")) for each in kept.ids]
    ledger.append([(uuids[0], 0, 1, 0, 3), (uuids[2], 1, 1, 1, 3)])
    assert erase(kept.home, [], [kept.ids[0]], **WHO).pairs == 1
    ledger.append([(uuids[4], 0, 0, 1, 3)])
    ledger.close()
    (path,) = ledgers_in(kept.home.pairs)
    found = read_ledger(path)
    assert found is not None
    assert [row["uuid"].tobytes() for row in found.rows] == [bytes(16), uuids[2], uuids[4]]


def test_a_file_that_nobody_ends_is_told_before_anything_is_erased(tmp_path: Path) -> None:
    """An application in somebody's own process does not look for the seal; another segment's writer is no hindrance."""
    kept = Kept(tmp_path, 1)
    kept.add(2)
    before = kept.values()
    with pytest.raises(CommandError, match=r"still written by a process that does not let go of it, so nothing was"):
        erase(kept.home, [], kept.ids, patience_s=0.1, **WHO)
    assert kept.values() == before
    assert erase(kept.home, [], kept.ids[:2], patience_s=0.1, **WHO).anything
    kept.writer.close()
    kept.shadow.close()
    assert erase(kept.home, [], kept.ids, **WHO).anything
    assert kept.values() == {}


def test_a_torn_end_goes_with_what_is_erased(tmp_path: Path) -> None:
    """Half a record behind the last whole one may be his, too."""
    kept = Kept(tmp_path, 1)
    (path,) = segments(kept.home.log)
    with path.open("ab") as stream:
        stream.write(b"\x90\x00\x00\x00Quillfeather")
    erase(kept.home, [], kept.ids[:1], **WHO)
    assert all(b"Quillfeather" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_request_is_meant_by_its_stem(tmp_path: Path) -> None:
    """As the Open Inference Protocol's answers carry it."""
    kept = Kept(tmp_path, 2)
    assert expand(kept.home, kept.ids[2]) == [kept.ids[2]]
    assert expand(kept.home, kept.ids[2][:36]) == kept.ids[2:]
    with pytest.raises(CommandError, match="is no prediction id: wanted one that an answer carried"):
        expand(kept.home, "order-7")


def test_who_erases_is_taken_down_without_whom(tmp_path: Path) -> None:
    """Also where nothing was found."""
    home = Home(tmp_path)
    assert not erase(home, ["order-1"], [], **WHO).anything
    (line,) = home.access.read_text().splitlines()
    assert {name: value for name, value in orjson.loads(line).items() if name != "time"} == {
        "actor": "ana", "how": "cli", "what": "erase", "rows": 0}
