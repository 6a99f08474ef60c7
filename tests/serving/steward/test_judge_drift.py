"""Judged once, by whoever leads, from what all workers counted; others go on where a leader stopped."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import Field, Signature, register
from serinus.monitors.counts import Counts
from serinus.monitors.profile import Profile
from serinus.serving.alerting import conditions
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.prediction_log import SegmentWriter, segments
from serinus.serving.references import Chosen, Columns, attached, choose, chosen, keep_reference, profile_bytes
from serinus.serving.rollout import controller
from serinus.serving.steward.commands import carry_out
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_drift import STATE, VIEW, JudgeDrift, forget_evidence
from serinus.serving.steward.learn_references import LearnReferences
from serinus.serving.steward.publish_monitors import PublishMonitors
from serinus.serving.store import Tick
from serinus.serving.ticks import KIND, packed
from tests.serving.prediction_log.examples import records
from tests.serving.steward.hosts import shared

DRAW = np.random.default_rng(0)
FRAME = pd.DataFrame({"age": DRAW.normal(40, 10, 2000), "income": DRAW.normal(0, 1, 2000)})
FRAME["y"] = (FRAME["age"] > 40).astype(int)
NOW = 1_700_000_000


class Clock:
    """A time that a test turns on."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host(tmp_path: Path) -> Shared:
    """A host with a version that has a reference, served, and this steward in the lead."""
    return _host(tmp_path, reference=True)


def _host(home: Path, *, reference: bool, **settings: object) -> Shared:
    fitted = LogisticRegression().fit(FRAME[["age", "income"]], FRAME["y"])
    given = {"reference": FRAME, "target": "y"} if reference else {}
    register(fitted, "credit", home=home, **given)
    made = shared(home, **settings)
    controller.set_stable(made.store, "credit", "1", "d", "ana", now=float(NOW))
    HoldLease().run(made)
    return made


def _profile(host: Shared) -> Profile:
    choice = chosen(host.store, host.registry, "credit", "1", "1")
    assert choice is not None
    data = profile_bytes(host.store, host.registry, "credit", choice.digest)
    assert data is not None
    return Profile.from_bytes(data)


class Rows:
    """Ticks of two workers that answer rows, each with a shifted age."""

    def __init__(self, host: Shared, worker: str = "w") -> None:
        self._host, self._profile, self._worker = host, _profile(host), worker
        self._totals = [Counts(len(self._profile.features)) for _ in range(2)]
        self._draw, self._sequence = np.random.default_rng(1), 0

    def answer(self, second: int, shift: float = 0.0, rows: int = 200) -> None:
        """What both had counted by the end of a second."""
        self._sequence += 1
        for number, total in enumerate(self._totals):
            inputs = {"age": self._draw.normal(40 + shift, 10, rows // 2), "income": self._draw.normal(0, 1, rows // 2)}
            label = (inputs["age"] > 40).astype(np.int64)
            seen = self._profile.encoder.observe(inputs, {"predict": label})
            total.add(seen.codes, seen.deviations)
            for index, feature in enumerate(self._profile.features):
                if feature.field == "predict_proba":
                    total.table[index] = 0
            body = {"kind": KIND, "format": 1, "model": "credit", "version": "1", "digest": self._profile.digest,
                    "seen": total.rows, "counts": packed(total), "examples": [], "unusual": 0, "ended": False}
            self._host.store.add_tick(Tick(f"{self._worker}{number}", self._sequence, second, body))


def _view(host: Shared) -> dict[str, object]:
    document = host.store.document(VIEW, "credit:1")
    assert document is not None
    return dict(orjson.loads(document.body))


def _run(host: Shared, job: JudgeDrift, clock: Clock, rows: Rows, seconds: int, shift: float = 0.0) -> None:
    for _ in range(seconds):
        rows.answer(int(clock.now), shift)
        clock.now += 1
        job.run(host)


def _settle(host: Shared, job: JudgeDrift, clock: Clock) -> None:
    clock.now += 6
    job.run(host)


def test_an_alarm_is_judged_from_what_all_workers_counted(host: Shared) -> None:
    """Clean, then changed: the view says so, and alerts hear of it."""
    clock = Clock()
    job, rows = JudgeDrift(clock), Rows(host)
    _run(host, job, clock, rows, 10)
    _settle(host, job, clock)
    view = _view(host)
    assert (view["state"], view["rows"], view["seen"]) == ("ok", 2000, 2000)
    assert [condition.active for condition in conditions(host.store, clock.now)] == [False, False]
    _run(host, job, clock, rows, 10, shift=15)
    _settle(host, job, clock)
    view = _view(host)
    assert view["state"] == "act" and "age" in str(view["text"])
    (told,) = [condition for condition in conditions(host.store, clock.now) if condition.kind == "drift"]
    assert told.active and (told.model, told.version) == ("credit", "1") and "age" in told.features


def test_another_steward_goes_on_with_the_evidence(host: Shared) -> None:
    """One that is killed between two saves, at any moment, changes no verdict."""
    clock = Clock()
    rows = Rows(host)
    jobs = [JudgeDrift(clock) for _ in range(8)]
    for job in jobs:
        _run(host, job, clock, rows, 3, shift=2.5)  # and is never seen again
    _settle(host, jobs[-1], clock)
    taken_over = _view(host)
    other = _host(host.home.path / "other", reference=True)
    clock, job = Clock(), JudgeDrift()
    job = JudgeDrift(clock)
    _run(other, job, clock, Rows(other), 24, shift=2.5)
    _settle(other, job, clock)
    alone = _view(other)
    assert taken_over["rows"] == alone["rows"] == 4800
    assert taken_over["evidence"] == pytest.approx(alone["evidence"]) and float(str(alone["evidence"])) > 0.05


def test_only_the_leader_judges(host: Shared) -> None:
    """And one that has lost the lease changes nothing, whatever it thinks."""
    clock = Clock()
    job, rows = JudgeDrift(clock), Rows(host)
    _run(host, job, clock, rows, 5)
    lease, host.lease = host.lease, None
    _settle(host, job, clock)
    before = _view(host)["rows"]
    host.lease = lease
    assert host.store.acquire_lease("steward", "another", 15, now=clock.now + 1e6) is not None
    _run(host, job, clock, rows, 8)
    assert _view(host)["rows"] == before


def test_ticks_are_pruned_once_they_are_in_a_saved_state(host: Shared) -> None:
    """The store does not grow, and what is not saved yet stays."""
    clock = Clock()
    job, rows = JudgeDrift(clock), Rows(host)
    _run(host, job, clock, rows, 100)
    intervals = [tick.interval for tick in host.store.ticks()]
    assert len(set(intervals)) < 80
    saved = orjson.loads(host.store.document(STATE, "credit:1").body)["interval"]  # type: ignore[union-attr]
    assert min(intervals) < saved < max(intervals)


def test_a_new_reference_begins_new_evidence(host: Shared) -> None:
    """A person names another one: rows are compared with it from then on, and the journal says who."""
    clock = Clock()
    job, rows = JudgeDrift(clock), Rows(host)
    _run(host, job, clock, rows, 8, shift=15)
    _settle(host, job, clock)
    assert _view(host)["state"] == "act"
    later = FRAME.assign(age=FRAME["age"] + 15)
    version = host.registry.get("credit", "1")
    profile = keep_reference(version, host.home.path, later, Columns("y")).profile
    assert len(attached(host.registry, version)) == 2
    choose(host.store, "credit", "1", Chosen(profile.digest, "set", "ana", "the new normal", clock.now))
    _settle(host, job, clock)
    view = _view(host)
    assert (view["state"], view["rows"]) == ("collecting", 0)
    _run(host, job, clock, Rows(host, "v"), 8, shift=15)
    _settle(host, job, clock)
    assert (_view(host)["state"], _view(host)["rows"]) == ("ok", 1600)
    assert [entry.actor for entry in host.store.journal("credit") if entry.kind == "reference"] == ["ana"]


def test_a_person_may_have_the_evidence_begin_anew(host: Shared) -> None:
    """By name; the leader takes it over, and rows that were counted before are not counted again."""
    clock = Clock()
    job, rows = JudgeDrift(clock), Rows(host)
    with pytest.raises(LookupError, match="no evidence about credit:1"):
        forget_evidence(host.store, "credit", "1", "ana", "")
    _run(host, job, clock, rows, 12, shift=15)
    _settle(host, job, clock)
    assert _view(host)["state"] == "act"
    forget_evidence(host.store, "credit", "1", "ana", "a known change", clock.now)
    clock.now += 1
    _run(host, job, clock, rows, 20)
    _settle(host, job, clock)
    view = _view(host)
    assert view["state"] == "ok" and view["seen"] == 32 * 200
    told = [entry.reason for entry in host.store.journal("credit") if entry.kind == "monitor.reset"]
    assert told == ["a known change"]


def test_what_is_judged_is_published_on_every_host(host: Shared) -> None:
    """The profile lies there before the view that names it; what is not served any more goes."""
    clock = Clock()
    job = JudgeDrift(clock)
    job.run(host)
    publish = PublishMonitors()
    publish.run(host)
    files = MonitorFiles(host.home.monitors)
    view = files.view("credit", "1")
    assert view is not None and view.state == "collecting" and view.digest is not None
    assert files.profile(view.digest) == _profile(host)
    host.settings = host.settings.model_copy(update={"monitors": SimpleNamespace(enabled=False)})
    publish.run(host)
    assert list(host.home.monitors.iterdir()) == []


def test_a_damaged_reference_is_told_once(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """The steward goes on, and says which."""
    choose(host.store, "credit", "1", Chosen("sha256:gone", "set", "ana", "", 1.0))
    clock = Clock()
    job = JudgeDrift(clock)
    for _ in range(3):
        clock.now += 5
        job.run(host)
    assert [record.getMessage() for record in caplog.records] == [
        "The reference of credit:1 (sha256:gone) cannot be used: it is nowhere in registry and store"]


def _log(host: Shared, rows: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    writer = SegmentWriter(host.home.log, seed, 10**7)
    for sequence in range(rows // 10):
        age = draw.normal(40, 10, 10)
        made = records()[0]._replace(
            model="credit", version="1", rows=10, received_ns=NOW * 10**9 + sequence,
            inputs={"age": age, "income": draw.normal(0, 1, 10)}, outputs={"predict": (age > 40).astype(np.int64)})
        writer.append(made, sequence)
    writer.close()


def test_without_a_reference_the_first_rows_are_learnt(tmp_path: Path) -> None:
    """Said loudly while it lasts; then they are compared with what came first."""
    host = _host(tmp_path, reference=False, monitors={"learn_rows": 500})
    clock = Clock()
    learn, judge = LearnReferences(clock), JudgeDrift(clock)
    _log(host, 300, seed=1)
    learn.run(host)
    view = _view(host)
    assert (view["state"], view["rows"], view["wanted_rows"]) == ("learning", 300, 500)
    assert "broken already would become the norm" in str(view["text"])
    _log(host, 300, seed=2)
    learn.run(host)
    choice = chosen(host.store, host.registry, "credit", "1", "1")
    assert choice is not None and choice.origin == "learnt" and choice.reason == "learnt from the first 500 live rows"
    assert [entry.kind for entry in host.store.journal("credit")][-1] == "reference"
    judge.run(host)
    view = _view(host)
    assert (view["state"], view["reference"]["origin"]) == ("collecting", "learnt")  # type: ignore[index]


def test_what_was_learnt_is_learnt_anew_when_somebody_was_erased(tmp_path: Path) -> None:
    """From what the log has then, and what was being learnt meanwhile is begun anew."""
    host = _host(tmp_path, reference=False, monitors={"learn_rows": 500})
    clock = Clock()
    learn, judge = LearnReferences(clock), JudgeDrift(clock)
    _log(host, 600, seed=1)
    learn.run(host)
    judge.run(host)
    before = _profile(host)
    erased = prediction_id(IdSource(1).next(NOW * 10**9)[0], 0)
    carry_out(host, {"verb": "forget", "ids": [erased], "segments": [], "predictions": {}, "actor": "ana",
                     "reason": "asked for it"})
    assert chosen(host.store, host.registry, "credit", "1", "1") is None
    for path in segments(host.home.log):
        path.unlink()
    _log(host, 300, seed=2)
    learn.run(host)
    judge.run(host)
    assert (_view(host)["state"], _view(host)["rows"]) == ("learning", 300)
    carry_out(host, {"verb": "forget", "ids": [erased], "segments": [], "predictions": {}, "actor": "ana",
                     "reason": "asked for it"})
    for path in segments(host.home.log):
        path.unlink()
    _log(host, 400, seed=3)
    learn.run(host)
    assert (_view(host)["state"], _view(host)["rows"]) == ("learning", 400)
    _log(host, 200, seed=4)
    learn.run(host)
    again = _profile(host)
    assert (again.rows, again.digest != before.digest) == (500, True)


def test_personal_fields_are_not_learnt_from_the_log(tmp_path: Path) -> None:
    """There they are hashed: what comes in requests would look new for ever."""
    signature = Signature((Field("age", "FP64", (-1,)), Field("email", "BYTES", (-1,), expect={"personal": "hash"})),
                          (Field("y", "FP64", (-1,)),))
    artifact = tmp_path / "m.onnx"
    artifact.write_bytes(b"x")
    host = shared(tmp_path / "home", monitors={"learn_rows": 100})
    host.registry.add("credit", artifact, adapter="onnx", signature=signature)
    controller.set_stable(host.store, "credit", "1", "d", "ana", now=float(NOW))
    HoldLease().run(host)
    writer = SegmentWriter(host.home.log, 3, 10**7)
    emails = np.array([f"hash{number % 3}" for number in range(100)], object)
    writer.append(records()[0]._replace(model="credit", rows=100, received_ns=NOW, outputs={"y": np.arange(100.0)},
                                        inputs={"age": np.arange(100.0), "email": emails}), 0)
    writer.close()
    LearnReferences(Clock()).run(host)
    assert [one.field for one in _profile(host).features if one.side == "input"] == ["age"]


@pytest.mark.parametrize(("settings", "says"), [
    ({"monitors": {"learn_rows": 0}}, "learning one is off"), ({"log": {"enabled": False}}, "prediction log")])
def test_what_cannot_be_learnt_is_off_and_says_why(tmp_path: Path, settings: dict[str, object], says: str) -> None:
    """Missing data is unknown, never fine."""
    host = _host(tmp_path, reference=False, **settings)
    LearnReferences(Clock()).run(host)
    view = _view(host)
    assert view["state"] == "off" and says in str(view["text"])
