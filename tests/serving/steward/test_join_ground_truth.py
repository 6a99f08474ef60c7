"""Truths that come late, twice and in any order are joined to the log exactly, over restarts and outages."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from serinus.models import register
from serinus.monitors.metrics import Sums
from serinus.monitors.performance import Outcomes
from serinus.monitors.record import PredictionRecord
from serinus.serving.ground_truth import Spool
from serinus.serving.ground_truth.columns import answers_of
from serinus.serving.ground_truth.published import published
from serinus.serving.ground_truth.resolution import PROBABILITY
from serinus.serving.ground_truth.spool import spooled
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.ground_truth.windows import COUNTS, merged
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter, entries, segments
from serinus.serving.prediction_log.compaction import compact, compact_segment, finished, rewrite
from serinus.serving.prediction_log.frame import HEADER_BYTES
from serinus.serving.prediction_log.keys import KeyWriter, hash_of, key_id
from serinus.serving.prediction_log.manifest import exclusive, parquet_folder
from serinus.serving.prediction_log.sampling import is_logged
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import INTAKE, WINDOW, JoinGroundTruth
from serinus.serving.store import GroundTruth, StoreError
from tests.serving.ground_truth.simulation import LATE_S, START, Simulated, batch, simulate
from tests.serving.steward.hosts import shared


class Clock:
    """A time that a test turns on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _host(home: Path, **settings: Any) -> Shared:
    draw = np.random.default_rng(0)
    fitted = LogisticRegression().fit(draw.normal(size=(50, 1)), draw.integers(0, 2, 50))
    for strength in (1, 2):
        register(fitted.set_params(C=strength).fit(draw.normal(size=(50, 1)), draw.integers(0, 2, 50)), "credit",
                 home=home)
    made = shared(home, ground_truth={"late_seconds": LATE_S, **settings})
    HoldLease().run(made)
    return made


@pytest.fixture
def host(tmp_path: Path) -> Shared:
    """A host with two versions, this steward in the lead."""
    return _host(tmp_path)


def _windows(host: Shared) -> dict[WindowName, dict[str, Any]]:
    return {WindowName.of(document.key): orjson.loads(document.body) for document in host.store.documents(WINDOW)}


def _is_done(host: Shared) -> bool:
    found = host.store.document(INTAKE, "all")
    return found is not None and not orjson.loads(found.body)["dirty"] and not any(
        path.stat().st_size > 16 for path in _waiting(host))


def _waiting(host: Shared) -> list[Path]:
    found = host.store.document(INTAKE, "all")
    places = orjson.loads(found.body)["places"] if found else {}
    return [path for path in spooled(host.home.spool) if places.get(path.name, 0) < path.stat().st_size]


def _finish(host: Shared, job: JoinGroundTruth) -> None:
    for _ in range(10_000):
        job.run(host)
        if _is_done(host):
            return
    raise AssertionError("the job does not come to an end")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_it_is_what_a_batch_over_all_facts_comes_to(host: Shared, seed: int) -> None:
    """Two workers, delays by class, duplicates, conflicts, revisions, any order, restarts: every count is exact."""
    simulated = simulate(host.home.log, seed)
    _deliver_with_accidents(host, simulated, random.Random(seed))
    windows, expected = _windows(host), batch(simulated)
    assert expected[["duplicates", "conflicts", "revised", "retracted", "late"]].sum().min() > 10
    assert {(name.version, name.hour) for name in windows} == set(expected.index)
    for name, window in windows.items():
        whole = merged(window["parts"].values())
        wanted = expected.loc[(name.version, name.hour)]
        shared_counts = [kind for kind in COUNTS if kind in wanted]
        assert {kind: whole[kind] for kind in shared_counts} == {kind: int(wanted[kind]) for kind in shared_counts}
        assert whole["weights"][2] == wanted["right"]
        assert len(window["parts"]) >= 2
    assert sum(len(window["parts"]) for window in windows.values()) > len(entries(host.home.log)) > 4
    assert 1 < len(segments(host.home.log)) < len(entries(host.home.log))


def test_the_sums_of_performance_are_those_of_all_rows_at_once(host: Shared) -> None:
    """Whatever came in which part, the sums of a window are bit for bit those of its rows in one piece."""
    simulated = simulate(host.home.log, 5, requests=400, hours=2)
    _deliver_with_accidents(host, simulated, random.Random(5))
    answers = answers_of(host.registry.get("credit", "1").signature)
    assert answers is not None
    known = host.store.ground_truth(simulated.predictions["id"])
    for name, window in _windows(host).items():
        frame = simulated.predictions
        frame = frame[(frame["version"] == name.version) & (frame["time"] // 3600 == name.hour)]
        truths = {each: _last(known[each]) for each in frame["id"] if each in known}
        frame = frame[[truths.get(each) is not None for each in frame["id"]]]
        scores = frame["score"].to_numpy()
        wanted = answers.definition.sums(Outcomes(
            np.array([truths[each] for each in frame["id"]]), frame["said"].to_numpy(),
            np.column_stack([1 - scores, scores])))
        parts = [Sums.from_json(part["sums"]) for part in window["parts"].values()]
        assert sum(parts[1:], parts[0]).to_json() == wanted.to_json()


def _last(rows: list[GroundTruth]) -> Any:
    return max(rows, key=lambda row: row.event_time).value


def _deliver_with_accidents(host: Shared, simulated: Simulated, picks: random.Random) -> None:
    """Two workers take the outcomes in; the steward dies and the store is away now and then, and segments are replaced
    by Parquet files meanwhile."""
    spools = [Spool(host.home.spool, 10**9, file_bytes=20_000) for _ in range(2)]
    clock = Clock(simulated.now)
    job = JoinGroundTruth(clock)
    rest = list(simulated.outcomes)
    while rest:
        size = picks.randrange(1, 400)
        picks.choice(spools).append(rest[:size])
        rest = rest[size:]
        what = picks.random()
        if what < 0.3:
            job = JoinGroundTruth(clock, budget_s=picks.choice((0.0, 0.001, 0.2)))  # a new steward
        if what < 0.1:
            host.forget_store()
        if what > 0.8:
            _compact_one(host, picks)
        job.run(host)
    for spool in spools:
        spool.close()
    job = JoinGroundTruth(clock)
    _finish(host, job)
    job.run(host)
    assert spooled(host.home.spool) == []


def _compact_one(host: Shared, picks: random.Random) -> None:
    with exclusive(host.home.log):
        for segment in picks.sample(finished(host.home.log), 1) if len(segments(host.home.log)) > 2 else ():
            compact_segment(segment)


# What is not plain

NOW = START + 7 * 3600.0


def _logged(host: Shared, *scores: float, at: float = START + 60.0, writer: int = 5) -> list[str]:
    """One request with a row for each score, in a segment of its own; the prediction ids."""
    source = IdSource(writer)
    rows, score = len(scores), np.array(scores)
    uuid, _ = source.next(int(at * 1e9))
    log = SegmentWriter(host.home.log, writer, 1 << 20)
    log.append(PredictionRecord(uuid, "", int(at * 1e9), 1, "credit", "1", "stable", rows, {"x": score}, {
        "predict": (score > 0.5).astype(np.int64), "predict_proba": np.column_stack([1 - score, score])}, 0, 0, 0), 0)
    log.close()
    return [prediction_id(uuid, row) for row in range(rows)]


def _say(host: Shared, *rows: GroundTruth) -> None:
    spool = Spool(host.home.spool, 10**9)
    spool.append(rows)
    spool.close()


def _truth(prediction: str, value: Any, *, received: float = NOW, kind: str = "final", **more: Any) -> GroundTruth:
    return GroundTruth(prediction, "crm", kind, value, 0.0, received, **more)


def _whole(host: Shared) -> dict[str, Any]:
    (window,) = _windows(host).values()
    return merged(window["parts"].values())


def test_an_orphan_is_kept_for_a_while(host: Shared) -> None:
    """Then it is forgotten, and counted; a truth whose prediction is there stays."""
    clock = Clock(NOW)
    job = JoinGroundTruth(clock)
    (known,) = _logged(host, 0.9)
    (unknown,) = [prediction_id(IdSource(6).next(int((START + 60) * 1e9))[0], 0)]
    _say(host, _truth(known, 1), _truth(unknown, 1))
    _finish(host, job)
    for days, orphans, forgotten in ((0, 1, 0), (6, 1, 0), (8, 0, 1)):
        clock.now = NOW + days * 86_400
        _finish_again(host, job)
        found = orjson.loads(host.store.document(INTAKE, "all").body)
        assert (sum(found["orphans"].values()), found["forgotten"]) == (orphans, forgotten)
        assert len(host.store.ground_truth([known, unknown])) == 1 + orphans
    assert _whole(host)["labelled"] == 1


def _finish_again(host: Shared, job: JoinGroundTruth) -> None:
    """With what the job looks at once an hour, when its rest is over."""
    for _ in range(20):
        job.run(host)
        time.sleep(0.01)
    _finish(host, job)


def test_a_forged_id_matches_nothing(host: Shared) -> None:
    """Writer, sequence, row and time must all be those of a prediction."""
    (known,) = _logged(host, 0.9)
    other = prediction_id(IdSource(5).next(int((START + 61) * 1e9))[0], 0)
    _say(host, _truth(other, 1), _truth(f"{known[:-1]}1", 1))
    _finish(host, JoinGroundTruth(Clock(NOW)))
    assert _whole(host)["labelled"] == 0
    assert sum(orjson.loads(host.store.document(INTAKE, "all").body)["orphans"].values()) == 2


def test_what_a_removed_segment_gave_stays(host: Shared) -> None:
    """The log's cap takes nothing away from a window; what comes later for it is no orphan, and is not forgotten."""
    clock = Clock(NOW)
    job = JoinGroundTruth(clock)
    ids = _logged(host, 0.9, 0.8)
    _say(host, _truth(ids[0], 1))
    _finish(host, job)
    before = _windows(host)
    for path in segments(host.home.log):
        path.unlink()
    _say(host, _truth(ids[1], 1))
    clock.now += 10 * 86_400
    _finish_again(host, JoinGroundTruth(clock))
    assert _windows(host) == before
    assert orjson.loads(host.store.document(INTAKE, "all").body)["orphans"] == {}
    assert len(host.store.ground_truth(ids)) == 2


def test_a_late_truth_finds_its_prediction_in_parquet(host: Shared) -> None:
    """Under the name of the segment that was: nothing is counted twice, and nothing is an orphan."""
    job = JoinGroundTruth(Clock(NOW))
    ids = _logged(host, 0.9, 0.8, 0.1)
    _say(host, _truth(ids[0], 1))
    _finish(host, job)
    (before,) = _windows(host).values()
    compact(host.home.log)
    assert segments(host.home.log) == []
    _say(host, _truth(ids[2], 0), _truth(ids[1], 0))
    _finish(host, job)
    (after,) = _windows(host).values()
    assert after["parts"].keys() == before["parts"].keys()
    assert (_whole(host)["predictions"], _whole(host)["labelled"], _whole(host)["weights"][2]) == (3, 3, 2)
    assert orjson.loads(host.store.document(INTAKE, "all").body)["orphans"] == {}


def test_a_row_that_was_erased_is_no_prediction_any_more(host: Shared) -> None:
    """What is counted anew is what is left, also by a steward that has read the file before."""
    job = JoinGroundTruth(Clock(NOW))
    ids = _logged(host, 0.9, 0.8)
    compact(host.home.log)
    _say(host, _truth(ids[0], 1))
    _finish(host, job)
    (path,) = parquet_folder(host.home.log).rglob("*.parquet")
    rewrite(path, lambda found: [each != ids[0] for each in found])
    _say(host, _truth(ids[1], 1))
    _finish(host, job)
    assert (_whole(host)["predictions"], _whole(host)["labelled"]) == (1, 1)


def test_a_window_that_is_counted_again_keeps_its_revision(host: Shared) -> None:
    """Only what changes it raises it; one more copy is a change, another hour is none."""
    ids = _logged(host, 0.9, 0.2)
    job = JoinGroundTruth(Clock(NOW))
    revisions = []
    for rows in ([_truth(ids[0], 1)], [_truth(ids[0], 1)], [_truth(f"{ids[0][:-1]}7", 1)], [_truth(ids[1], 1)]):
        _say(host, *rows)
        _finish(host, job)
        (window,) = _windows(host).values()
        revisions.append(window["revision"])
    assert revisions == [1, 2, 2, 3]


def test_a_store_that_is_away_holds_nothing_up(host: Shared) -> None:
    """What waits is taken once the store is back, and counted once."""
    ids = _logged(host, 0.9, 0.2)
    job = JoinGroundTruth(Clock(NOW))
    _say(host, _truth(ids[0], 1))
    _finish(host, job)
    aside = host.home.store.with_name("aside.db")
    host.store.close()
    host.home.store.rename(aside)
    host.home.store.mkdir()
    host.forget_store()
    _say(host, _truth(ids[1], 0))
    for _ in range(3):
        with pytest.raises(StoreError):
            job.run(host)
        host.forget_store()
    host.home.store.rmdir()
    aside.rename(host.home.store)
    _finish(host, job)
    assert (_whole(host)["labelled"], _whole(host)["duplicates"]) == (2, 0)


def test_old_windows_are_let_go(tmp_path: Path) -> None:
    """With the truths of their predictions."""
    host = _host(tmp_path, keep_days=30)
    clock = Clock(NOW)
    job = JoinGroundTruth(clock)
    ids = _logged(host, 0.9)
    _say(host, _truth(ids[0], 1))
    _finish(host, job)
    for days, kept in ((29, 1), (31, 0)):
        clock.now = START + days * 86_400
        _finish_again(host, job)
        assert (len(_windows(host)), len(host.store.ground_truth(ids))) == (kept, kept)


def test_only_the_leader_joins(host: Shared) -> None:
    """Another steward leaves everything where it is, and one that takes over goes on."""
    ids = _logged(host, 0.9)
    _say(host, _truth(ids[0], 1))
    lease, host.lease = host.lease, None
    job = JoinGroundTruth(Clock(NOW))
    job.run(host)
    assert len(_waiting(host)) == 1
    host.lease = lease
    _finish(host, job)
    assert _whole(host)["labelled"] == 1


def test_a_window_is_judged_when_it_is_mature(host: Shared) -> None:
    """Until most truths are known or due there are no measures; then every one has its interval."""
    draw = np.random.default_rng(8)
    scores = draw.random(400)
    ids = _logged(host, *scores)
    job = JoinGroundTruth(Clock(NOW))
    told = []
    for part in (ids[:100], ids[100:]):
        _say(host, *(_truth(each, int(draw.random() < 0.5)) for each in part))
        _finish(host, job)
        job._publish_at = float("-inf")
        job.run(host)
        (window,) = published(host.home.run, "credit")["models"]["credit"]["windows"]
        told.append((window["labelled"], window["mature"], window["measures"] is not None))
    assert told == [(100, False, False), (400, True, True)]
    accuracy = window["measures"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] == window["naive_accuracy"] < accuracy["high"]


def test_truths_that_are_learnt_by_score_are_told(host: Shared) -> None:
    """Nobody learns what became of those who were refused: it is said, and weights put the figure right."""
    draw = np.random.default_rng(9)
    scores = draw.random(9000)
    ids = _logged(host, *scores)
    chance = np.where(scores > 0.5, 1.0, 0.1)
    acted = draw.random(9000) < chance
    right = draw.random(9000) < np.where(scores > 0.5, 0.9, 0.6)
    value = np.where(right, scores > 0.5, scores <= 0.5).astype(int)
    rows = [[_truth(ids[row], int(value[row])), _truth(ids[row], float(chance[row]), kind="event", name=PROBABILITY)]
            for row in np.flatnonzero(acted)]
    _say(host, *(each for pair in rows for each in pair))
    job = JoinGroundTruth(Clock(NOW))
    host.settings = host.settings.model_copy(update={
        "ground_truth": host.settings.ground_truth.model_copy(update={"mature_share": 0.3})})
    _finish(host, job)
    job._publish_at = float("-inf")
    job.run(host)
    found = published(host.home.run, "credit")["models"]["credit"]
    (window,) = found["windows"]
    assert found["selection"]["depends"] and found["selection"]["z"] > 10
    assert abs(window["naive_accuracy"] - right.mean()) > 0.1
    assert window["weighted_accuracy"] == pytest.approx(right.mean(), abs=0.04)
    assert window["effective_rows"] < acted.sum()


def test_a_regression_is_measured_by_numbers(tmp_path: Path) -> None:
    """Its truths are numbers, whatever text they came as; what is none counts as labelled and measures nothing."""
    host = _host(tmp_path)
    register(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), "price", home=tmp_path)
    source, log = IdSource(5), SegmentWriter(host.home.log, 5, 1 << 20)
    uuid, _ = source.next(int((START + 60) * 1e9))
    said = np.linspace(0, 10, 60)
    log.append(PredictionRecord(uuid, "", 1, 1, "price", "1", "stable", 60, {"x": said}, {"predict": said}, 0, 0, 0), 0)
    log.close()
    ids = [prediction_id(uuid, row) for row in range(60)]
    values = [*(said[:58] + 0.5).tolist(), str(said[58] + 0.5), "a lot"]
    _say(host, *(_truth(each, value) for each, value in zip(ids, values, strict=True)))
    job = JoinGroundTruth(Clock(NOW))
    _finish(host, job)
    job._publish_at = float("-inf")
    job.run(host)
    (window,) = published(host.home.run, "price")["models"]["price"]["windows"]
    assert (window["labelled"], window["measures"]["mae"]["rows"], window["naive_accuracy"]) == (60, 59, None)
    assert window["measures"]["mae"]["value"] == pytest.approx(0.5)


def test_a_damaged_segment_holds_no_other_up(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """It is named, and what others hold is counted."""
    (lost,), (known,) = _logged(host, 0.9, writer=4), _logged(host, 0.8)
    path = segments(host.home.log)[0]
    data = path.read_bytes()
    first = 8 + int.from_bytes(data[HEADER_BYTES:HEADER_BYTES + 4], "little")  # the frame of the context
    path.write_bytes(data[:HEADER_BYTES] + data[HEADER_BYTES + first:])
    _say(host, _truth(lost, 1), _truth(known, 1))
    _finish(host, JoinGroundTruth(Clock(NOW)))
    assert _whole(host)["labelled"] == 1
    assert "refers to context 0, which it does not hold" in caplog.text


def test_a_truth_by_a_key_holds_for_every_prediction_of_that_key(host: Shared) -> None:
    """It is joined like one by id; sent again it is a duplicate; of an unknown key it waits, and then is forgotten."""
    simulated = simulate(host.home.log, 3, requests=20, hours=1)
    ids = sorted(simulated.predictions["id"])[:3]
    _name(host, "order-1", ids[:2])
    known, unknown = (key_id(hash_of(key, b"s")) for key in ("order-1", "order-2"))
    job, clock = _clocked(host)
    spool = Spool(host.home.spool, 1 << 20)
    for each, value, received in ((known, 1, clock.now), (known, 1, 1.0), (ids[2], 0, clock.now),
                                  (unknown, 1, clock.now)):
        spool.append([GroundTruth(each, "crm", "final", value, 0.0, received)])
    _finish(host, job)
    assert {each: [row.value for row in rows] for each, rows in host.store.ground_truth([*ids, unknown]).items()} == {
        ids[0]: [1], ids[1]: [1], ids[2]: [0], unknown: [1]}
    whole = merged(part for window in _windows(host).values() for part in window["parts"].values())
    assert (whole["labelled"], whole["duplicates"]) == (3, 2)
    assert published(host.home.run)["orphans"] == 1
    _name(host, "order-2", ids[2:])
    clock.now += 3601
    job.run(host)
    _finish(host, job)
    assert host.store.ground_truth([unknown]) == {}
    assert [row.value for row in host.store.ground_truth(ids)[ids[2]]] == [0, 1]


def test_a_key_that_nobody_knows_is_an_orphan_for_a_time(host: Shared) -> None:
    """Then its truths are forgotten, and counted."""
    unknown = key_id(hash_of("order-2", b"s"))
    job, clock = _clocked(host)
    Spool(host.home.spool, 1 << 20).append([GroundTruth(unknown, "crm", "final", 1, 0.0, clock.now)])
    job.run(host)
    clock.now += host.settings.ground_truth.orphan_seconds + 3601
    job.run(host)
    job.run(host)
    clock.now += 61
    job.run(host)
    assert host.store.ground_truth([unknown]) == {}
    found = host.store.document(INTAKE, "all")
    assert found is not None
    intake = orjson.loads(found.body)
    assert (intake["forgotten"], intake["unnamed"]) == (1, 0)


def test_what_was_not_logged_is_no_orphan(tmp_path: Path) -> None:
    """Where a share of the requests is logged, a truth of another one is counted as that, and not kept."""
    host = shared(tmp_path, log={"sample_share": 0.5})
    HoldLease().run(host)
    source = IdSource()
    ids = [prediction_id(source.next(int(START * 1e9))[0], 0) for _ in range(40)]
    left_out = [each for each in ids if not is_logged(bytes.fromhex(each[:36].replace("-", "")), 0.5)]
    assert 5 < len(left_out) < 35
    Spool(host.home.spool, 1 << 20).append([GroundTruth(each, "", "final", 1, 0.0, time.time()) for each in ids])
    job = JoinGroundTruth()
    _finish(host, job)
    assert host.store.ground_truth(ids).keys() == set(ids) - set(left_out)
    found = host.store.document(INTAKE, "all")
    assert found is not None
    intake = orjson.loads(found.body)
    assert (intake["unlogged"], sum(intake["orphans"].values()), intake["forgotten"]) == (
        len(left_out), 40 - len(left_out), 0)


def _clocked(host: Shared) -> tuple[JoinGroundTruth, Clock]:
    clock = Clock(START + 10_000.0)
    return JoinGroundTruth(clock), clock


def _name(host: Shared, key: str, ids: list[str]) -> None:
    """Note a key for predictions, as a worker does."""
    writer = KeyWriter(host.home.keys, 1)
    for each in ids:
        row = int(each[37:])
        writer.append([None] * row + [hash_of(key, b"s")], bytes.fromhex(each[:36].replace("-", "")))
    writer.close()
