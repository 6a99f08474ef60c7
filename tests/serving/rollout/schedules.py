"""Random schedules of a rollout: two hosts with a steward and two workers each, one store, people, and what goes wrong.

The state machine, the controller, the judgement, the routing, what a worker does with what it knows, and the store
(SQLite) are the real ones. Made up are clocks (each steward's is off by up to five minutes), traffic, processes, which
die at any point and forget everything that they should, and the way between store, hosts and workers. After each move
the invariants I1–I12 of a rollout are looked at; the first that is broken ends the schedule with its name.

    python -m tests.serving.rollout.schedules --schedules 100000 --seed 1
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from serinus.serving.rollout import (
    Advance,
    Bucketer,
    Event,
    Judgement,
    Phase,
    Plan,
    RollBack,
    RolloutRecord,
    SetStable,
    Start,
    TransitionRefused,
    advance,
    controller,
)
from serinus.serving.rollout.analysis import Action, Verdict, judge
from serinus.serving.rollout.evidence import Arms, Evidence, Window
from serinus.serving.rollout.transitions import Abort, Acknowledged, Approve, Freeze, Pause, Promote, Reject, Resume
from serinus.serving.router import Target, decide
from serinus.serving.snapshot import is_behind
from serinus.serving.steward.judge_rollouts import next_event
from serinus.serving.steward.restore_records import without_candidate
from serinus.serving.store import Conflict, CounterRow, Fenced, JournalEntry, Lease, SqliteStore, StoreUnavailable
from serinus.serving.veto import Veto

__all__ = ["INVARIANTS", "MOVES", "Broken", "Schedules", "moves_of"]

INVARIANTS = {
    "I1": "stable is loaded wherever anything is routed, and the version before it until its window ends",
    "I2": "only a committed transition of the present epoch raises the weight; any host may lower it by itself",
    "I3": "who met the candidate goes on meeting it while its share does not fall",
    "I4": "a rollback needs no store: the host that took the call gives the candidate nothing from then on",
    "I5": "a shadow answers nobody",
    "I6": "a transition and its journal row are one",
    "I7": "missing data holds or waits, and never goes on",
    "I8": "another steward comes from the same counts to the same decision, and no count is lost or doubled",
    "I9": "promotion rests on evidence, or on a person named in the journal",
    "I10": "an automatic rollback quarantines the artifact",
    "I11": "weights lie in their range, and stable and candidate are two",
    "I12": "a worker that does not know its record gives the candidate nothing",
}
_KEYS = tuple(f"caller-{number}" for number in range(12))
_JUDGED = Plan((500, 2500, 5000), False, 600.0, Judgement(
    shadow=0, step_s=60.0, step_units=20, patience_s=300.0, hold_s=900.0, soak_s=30.0))
_WITH_SHADOW = Plan((2500, 5000), False, 600.0, Judgement(
    shadow=1000, shadow_s=30.0, shadow_pairs=1, step_s=30.0, step_units=5, patience_s=60.0, hold_s=300.0))
_APPROVED = replace(_WITH_SHADOW, judgement=replace(_WITH_SHADOW.judgement, approve=1))  # type: ignore[type-var]
_MANUAL = Plan((1000, 5000), rollback_window_s=600.0)
_STALE_S = 30.0
_LEASE_S = 15.0
_PEOPLE = ("ana", "bob")
_ARMS = ("candidate", "stable")


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class _Worker:
    """One life of one process: what it follows, and what it counted."""

    incarnation: str
    knows: RolloutRecord | None = None
    target: Target | None = None
    counted: Counter[tuple[str, CounterRow]] = field(default_factory=Counter)


@dataclass
class _Host:
    """What lies on a host's disk, and its steward, whose clock is `skew` seconds off."""

    name: str
    store: SqliteStore
    skew: float
    workers: list[_Worker]
    snapshot: RolloutRecord | None = None
    confirmed: float = 0.0
    veto: Veto | None = None
    lease: Lease | None = None


class Schedules:
    """Plays schedules on the store in one file, each with a model of its own."""

    def __init__(self, path: Path) -> None:
        self._stores = [SqliteStore(path, create=number == 0) for number in range(2)]
        self._number = itertools.count()
        self.seen: Counter[str] = Counter()
        """How often what happened, so that one can see that it did."""

    def play(self, moves: Iterable[tuple[str, int]]) -> None:
        """Make the moves, each with a seed of its own. Raises Broken."""
        _World(f"m{next(self._number)}", self._stores, self.seen).play(moves)

    def close(self) -> None:
        """Let go of the store."""
        for store in self._stores:
            store.close()


class _World:
    def __init__(self, model: str, stores: list[SqliteStore], seen: Counter[str]) -> None:
        self.model = model
        self.seen = seen
        self.now = 1_000_000.0
        self.out = False
        self.names = itertools.count()
        self.hosts = [_Host(f"h{number}", store, 0.0, []) for number, store in enumerate(stores)]
        for host in self.hosts:
            host.workers = [self._born(host), self._born(host)]
        self.last: RolloutRecord | None = None
        self.highest = 0
        self.bad = self.lost = False
        self.true: Counter[tuple[str, str, str]] = Counter()
        self.met: dict[tuple[str, str], int] = {}
        self.taken_off: dict[str, str] = {}
        controller.apply(stores[0], model, SetStable("1", "d1", actor="serinus"), now=self.now)
        self._look()

    def play(self, moves: Iterable[tuple[str, int]]) -> None:
        for name, seed in moves:
            rng = random.Random(seed)
            try:
                MOVES[name][1](self, rng)
            except StoreUnavailable:
                self.seen["store out of reach"] += 1
            except (Conflict, Fenced, TransitionRefused) as error:
                self.seen[type(error).__name__] += 1
            self.seen[name] += 1
            if MOVES[name][2]:
                self._look()
            self.out = self.out and rng.random() < 0.8
        self._settle()

    # What people do

    def start(self, rng: random.Random) -> None:
        plan = rng.choice((_JUDGED, _WITH_SHADOW, _APPROVED, _MANUAL))
        version = str(rng.randint(1, 4))
        self.bad = rng.random() < 0.3
        rollout = f"{self.model}-r{next(self.names)}"
        self._decide(rng, Start(rollout, version, f"d{version}", plan, f"salt-{rollout}", force=rng.random() < 0.2,
                                actor=rng.choice(_PEOPLE)))

    def act(self, rng: random.Random) -> None:
        who = rng.choice(_PEOPLE)
        self._decide(rng, rng.choice((Promote(actor=who), Approve(actor=who), Promote(force=True, actor=who),
                                      Pause(actor=who), Resume(actor=who), Resume(actor=who), Freeze(actor=who),
                                      Abort(actor=who), RollBack(actor=who))))

    def act_on_what_was_seen(self, rng: random.Random) -> None:
        """Two read the same record, and both write: one of them has to decide anew, or give up."""
        first, second = rng.sample(self.hosts, 2)
        seen = self._store(first).record(self.model)
        assert seen is not None
        for host, event in ((first, Promote(step_id=seen.step_id, actor="ana")), (second, Pause(actor="bob"))):
            try:
                new, _ = advance(seen, event, self._clock(host))
            except TransitionRefused:
                continue
            if new is not seen:
                entry = JournalEntry(self.model, type(event).__name__.lower(), new.updated, new.generation, new.actor)
                before = self._record().generation
                try:
                    self._store(host).swap(new, expected_generation=seen.generation, journal=[entry])
                except Conflict:
                    self.seen["lost races"] += 1
                else:
                    self._must("I2", before == seen.generation, "a record was replaced by one made from an older one")

    def roll_back_here(self, rng: random.Random) -> None:
        """On one host, by its last-known-good file, whatever the store does."""
        host = rng.choice(self.hosts)
        if host.snapshot is None or host.veto is not None:
            return
        _, commands = advance(host.snapshot, RollBack(actor="ana"), self._clock(host))
        decision = next((command for command in commands if isinstance(command, controller.Veto)), None)
        if decision is not None:
            host.veto = Veto(self.model, 1, host.snapshot.rollout_id, decision.version, decision.stable, None, "ana",
                             "", self.now)
            for worker in host.workers:
                self._follow(host, worker)
                target = worker.target
                self._must("I4", target is None or (target.weight == 0 and target.stable == decision.stable),
                           f"after a rollback on its host a worker still does {target}")
            self.seen["rollbacks while the store was out" if self.out else "rollbacks by a veto"] += 1

    # What stewards do

    def judge(self, rng: random.Random) -> None:
        """A steward that holds the lease judges; it may die before or after the commit, or believe that it leads."""
        host = rng.choice(self.hosts)
        store = self._store(host)
        lease = store.acquire_lease("steward", host.name, _LEASE_S, self._lease_clock())
        late = lease is None and host.lease is not None and rng.random() < 0.5
        if lease is None and not late:
            return
        host.lease = lease or host.lease
        assert host.lease is not None
        record = store.record(self.model)
        assert record is not None
        judged = record.plan is not None and record.plan.judgement is not None and record.running
        if not judged or self._is_behind(host, record):
            return
        if record.phase is Phase.PREFLIGHT:
            sound = rng.random() < 0.9
            event: Event | None = (Advance if sound else Reject)(record.step_id, actor=host.name, reason="checked")
        else:
            event = self._judged_event(host, record, rng)
        if event is None or rng.random() < 0.1:  # nothing to do, or it died before the commit
            return
        try:
            after = controller.apply(store, self.model, event, now=self._clock(host), epoch=host.lease.epoch)
        except Fenced:
            self._must("I2", late, "the steward with the present lease was refused")
            raise
        present = host.store.lease("steward")
        self._must("I2", present is not None and host.lease.epoch == present.epoch, "an old epoch changed the record")
        self._check_judged(record, after, event)
        if rng.random() < 0.7:  # else it died after the commit
            self._publish(host)

    def _judged_event(self, host: _Host, record: RolloutRecord, rng: random.Random) -> Event | None:
        plan, now = record.plan, self._clock(host)
        assert plan is not None and plan.judgement is not None
        silent = rng.choice((0.0, 0.0, 0.0, 400.0))
        verdict = self._verdict(host.store, record, now, silent)
        other = next(each for each in self.hosts if each is not host)
        self._must("I8", verdict == self._verdict(other.store, record, now, silent), "two stewards judged differently")
        self._must("I7", silent < 300 or verdict.action in (Action.HOLD, Action.ROLL_BACK), "silence was no hold")
        event = next_event(record, plan.judgement, verdict, now, rng.random() < 0.05, host.name)
        going = isinstance(event, Advance)
        self._must("I9", not going or verdict.action is Action.ADVANCE, "it went on without evidence")
        self._must("I7", not going or record.phase is Phase.SHADOW or self._units(host.store, record) > 0
                   or record.phase is Phase.SOAK, "it went on without a single unit in the step")
        return event

    def _check_judged(self, before: RolloutRecord, after: RolloutRecord, event: Event) -> None:
        if isinstance(event, RollBack):
            self.seen["rollbacks on evidence"] += 1
            self._must("I10", before.candidate_digest in after.quarantined
                       or before.candidate_digest == after.stable_digest, "the artifact is not in quarantine")
            self.taken_off[str(before.candidate_digest)] = after.rollout_id
        if after.phase is Phase.PROMOTED:
            self.seen["promotions on evidence"] += 1
            self._must("I9", isinstance(event, Advance), f"{event} made the candidate stable")
            self._must("I9", before.approvers_missing == 0, "nobody approved what a person has to approve")

    def refresh(self, rng: random.Random) -> None:
        """A steward writes what the store says to its host's disk."""
        self._publish(rng.choice(self.hosts))

    def acknowledge(self, rng: random.Random) -> None:
        """Once every worker follows the latest record, its rollback is over."""
        record = self._record()
        if record.phase is Phase.ROLLING_BACK and all(
                worker.knows is not None and worker.knows.generation >= record.generation
                for host in self.hosts for worker in host.workers):
            self._decide(rng, Acknowledged(record.generation, actor="steward"))

    def carry(self, rng: random.Random) -> None:
        """A veto is carried into the store, published, and lifted; each of the three may be the last."""
        for host in self.hosts:
            if host.veto is not None:
                if self._is_behind(host, self._store(host).record(self.model)):
                    continue
                try:
                    controller.roll_back(self._store(host), self.model, "ana", now=self._clock(host))
                except TransitionRefused:
                    if self._record().stable != host.veto.stable:
                        continue
                if rng.random() < 0.8 and self._publish(host):
                    host.veto = None

    # What workers and callers do

    def follow(self, rng: random.Random) -> None:
        host = rng.choice(self.hosts)
        self._follow(host, rng.choice(host.workers))

    def everybody_follows(self, rng: random.Random) -> None:
        for host in self.hosts:
            self._publish(host)
            for worker in host.workers:
                self._follow(host, worker)

    def ask(self, rng: random.Random) -> None:
        """Callers ask one worker; assignment is counted before the outcome."""
        host = rng.choice(self.hosts)
        worker = rng.choice(host.workers)
        record, target = worker.knows, worker.target
        if record is None or target is None:
            return
        candidate = target.candidate if target.weight else None
        self._must("I5", record.phase is not Phase.SHADOW or candidate is None, "a shadow answers")
        bucketer = Bucketer(target.salt)
        for key in _KEYS:
            theirs = candidate is not None and bucketer(key) < target.weight
            self._must("I3", not theirs or bucketer(key) < record.weight, f"{key} met a candidate it should not have")
            least = self.met.get((target.salt, key))
            if candidate is not None:
                self._must("I3", least is None or target.weight < least or theirs, f"{key} lost the candidate")
                if theirs:
                    self.met[target.salt, key] = min(target.weight, least or target.weight)
        if record.step_id and record.weight == target.weight > 0:
            self._count(worker, record, rng)

    def ship(self, rng: random.Random) -> None:
        """What workers counted goes to the store: all, some of it, twice, or as it was before."""
        for host in self.hosts:
            for worker in host.workers:
                self._ship(host, worker, rng)

    def _ship(self, host: _Host, worker: _Worker, rng: random.Random) -> None:
        store, lost = self._store(host), rng.random() < 0.1
        for step_id in {step_id for step_id, _ in worker.counted}:
            rows = {row: count for (step, row), count in worker.counted.items() if step == step_id}
            if not lost:
                store.upsert_counters(step_id.partition("/")[0], step_id, rows)
            if rng.random() < 0.2:  # a repeated or an older message
                older = {row: count // 2 for row, count in rows.items()}
                store.upsert_counters(step_id.partition("/")[0], step_id, older)
                self.seen["late and repeated counts"] += 1

    def die(self, rng: random.Random) -> None:
        """A worker is killed; its board outlives it, and another one begins with what lies on the disk."""
        host = rng.choice(self.hosts)
        dead = host.workers.pop(rng.randrange(len(host.workers)))
        self.out, was = False, self.out
        self._ship(host, dead, random.Random(2))  # the board is adopted when the store is there
        self.out = was
        born = self._born(host)
        host.workers.append(born)
        self._must("I12", born.target is None or born.knows is not None, "it answers by a record nobody gave it")

    def host_restarts(self, rng: random.Random) -> None:
        """Only what lies on the disk is left; nobody has confirmed it."""
        host = rng.choice(self.hosts)
        host.lease, host.confirmed = None, -1e9
        while any(not worker.incarnation.startswith("new") for worker in host.workers):
            self.die_on(host)
        for worker in host.workers:
            self._must("I12", worker.target is None or worker.target.weight == 0, "an unconfirmed record is believed")
            worker.incarnation = worker.incarnation.removeprefix("new")

    def die_on(self, host: _Host) -> None:
        dead = host.workers.pop(0)
        self.out, was = False, self.out
        self._ship(host, dead, random.Random(2))
        self.out = was
        born = self._born(host)
        born.incarnation = f"new{born.incarnation}"
        host.workers.append(born)

    # What goes wrong

    def wait(self, rng: random.Random) -> None:
        self.now += rng.choice((0.5, 5.0, 20.0, 45.0, 120.0, 700.0))

    def skew(self, rng: random.Random) -> None:
        rng.choice(self.hosts).skew = rng.uniform(-300, 300)

    def outage(self, rng: random.Random) -> None:
        self.out = True

    def lose_writes(self, rng: random.Random) -> None:
        """The store comes back as it was some time ago; whoever knows more puts it right, without a candidate."""
        record = self._record()
        if record.generation < 2:
            return
        older = replace(record, generation=record.generation - 1, phase=Phase.IDLE, weight=0, shadow_weight=0,
                        step_id="", candidate=None, candidate_digest=None, held=None, cause="")
        with self.hosts[0].store._file.writing() as connection:
            connection.execute("UPDATE rollout SET generation = ?, body = ? WHERE model = ?",
                               (older.generation, older.to_json(), self.model))
        self.last, self.lost = None, True
        for host in self.hosts:
            self._must("I2", not (self._is_behind(host, older) and self._publish(host)),
                       "a host went back to an older record")
        known = [host.snapshot for host in self.hosts if host.snapshot is not None]
        newest = max(known, key=lambda each: each.generation, default=None)
        if newest is not None and newest.generation > older.generation:
            safe = replace(without_candidate(newest), updated=self.now, held=None, cause="")
            entry = JournalEntry(self.model, "restored", self.now, safe.generation, "serinus")
            self.hosts[0].store.swap(safe, expected_generation=older.generation, journal=[entry])
            self.seen["restored records"] += 1

    def a_good_while(self, rng: random.Random) -> None:
        """Nothing goes wrong: callers ask, counts arrive, time passes, a steward judges."""
        self.everybody_follows(rng)
        for _ in range(4):
            self.ask(rng)
        self.ship(rng)
        self.now += rng.choice((40.0, 70.0))
        self.judge(rng)
        self._look()
        self.everybody_follows(rng)

    # Helpers

    def _must(self, invariant: str, holds: bool, what: str) -> None:
        if not holds:
            _fail(invariant, what)
        self.seen[invariant] += 1

    def _clock(self, host: _Host) -> float:
        return self.now + host.skew

    def _lease_clock(self) -> float:
        return self.now + 1e7 * int(self.model[1:])  # the lease is one for all models of the file

    def _store(self, host: _Host) -> SqliteStore:
        if self.out:
            raise StoreUnavailable("The store is out of reach.")
        return host.store

    def _record(self) -> RolloutRecord:
        found = self.hosts[0].store.record(self.model)
        assert found is not None
        return found

    def _is_behind(self, host: _Host, record: RolloutRecord | None) -> bool:
        known = {} if host.snapshot is None else {self.model: host.snapshot}
        return is_behind({} if record is None else {self.model: record}, known)

    def _decide(self, rng: random.Random, event: Event) -> None:
        host = rng.choice(self.hosts)
        after = controller.apply(self._store(host), self.model, event, now=self._clock(host))
        if isinstance(event, Start) and after.rollout_id == event.rollout_id:
            gone = self.taken_off.get(event.candidate_digest)
            self._must("I10", gone is None or event.force or self._lifted(event.candidate_digest),
                       "a quarantine was passed by")
            if event.force:
                self.taken_off.pop(event.candidate_digest, None)

    def _lifted(self, digest: str) -> bool:
        """A store that has lost writes may not know a quarantine; a version that is stable again lost it."""
        return self.lost or digest == self._record().stable_digest

    def _publish(self, host: _Host) -> bool:
        record = self._store(host).record(self.model)
        if record is None or self._is_behind(host, record):
            return False
        host.snapshot, host.confirmed = record, self.now
        return True

    def _born(self, host: _Host) -> _Worker:
        worker = _Worker(f"{host.name}-{next(self.names)}")
        self._follow(host, worker)
        return worker

    def _follow(self, host: _Host, worker: _Worker) -> None:
        record = host.snapshot
        if record is None:
            worker.knows = worker.target = None
            return
        stale = self.now - host.confirmed > _STALE_S
        target = decide(record, host.veto, stale=stale, now=self.now)
        worker.knows, worker.target = record, target
        assert target is not None
        self._must("I1", bool(target.stable) and target.stable != target.candidate, f"no stable version in {target}")
        previous = record.previous_at(self.now)
        self._must("I1", previous is None or previous in (*target.keep, target.stable), "the previous one was let go")
        self._must("I12", not stale or target.weight == 0, "a record that nobody confirms is believed")
        self._must("I2", target.weight <= record.weight, "a worker raised the weight")
        self._must("I4", host.veto is None or target.weight == 0, "a veto is not obeyed")

    def _count(self, worker: _Worker, record: RolloutRecord, rng: random.Random) -> None:
        theirs = rng.randint(5, 60)
        wrong = {"candidate": 0.3 if self.bad else 0.01, "stable": 0.01}
        share = record.weight / 10_000
        for arm, units in (("candidate", theirs), ("stable", round(theirs * (1 - share) / share))):
            errors = round(units * wrong[arm] + rng.random() * 0.5)
            for check, number in (("units", units), ("errors", errors)):
                worker.counted[record.step_id, CounterRow(0, check, "", arm, worker.incarnation)] += number
                self.true[record.step_id, check, arm] += number

    def _totals(self, store: SqliteStore, rollout: str) -> Counter[tuple[str, str, str]]:
        totals: Counter[tuple[str, str, str]] = Counter()
        for key, number in store.counters(rollout).items():
            totals[key.step_id, key.check, key.arm] += number
        return totals

    def _units(self, store: SqliteStore, record: RolloutRecord) -> int:
        return self._totals(store, record.rollout_id)[record.step_id, "units", "candidate"]

    def _verdict(self, store: SqliteStore, record: RolloutRecord, now: float, silent: float) -> Verdict:
        plan, totals = record.plan, self._totals(store, record.rollout_id)
        assert plan is not None and plan.judgement is not None
        windows = []
        for step_id in sorted({key[0] for key in totals}):
            weight = _weight(plan, step_id)
            units = [totals[step_id, "units", arm] for arm in _ARMS]
            events = [min(totals[step_id, "errors", arm], most) for arm, most in zip(_ARMS, units, strict=True)]
            windows.append(Window(weight, *units, {"errors": Arms(events[0], units[0], events[1], units[1])}, step_id))
        evidence = Evidence(tuple(windows), elapsed_s=record.elapsed_at(now), silent_s=silent)
        if record.phase is Phase.SHADOW:
            evidence = replace(evidence, pairs=evidence.pairs._replace(pairs=10))
        return judge(plan.judgement, record.held or record.phase, record.weight, evidence, step_id=record.step_id,
                     approvers=record.approvers_missing)

    def _look(self) -> None:
        """What must hold of the store after every move."""
        record, before = self._record(), self.last
        two = record.stable is not None and record.stable != record.candidate
        self._must("I11", two and 0 <= record.weight <= 10_000, f"{record}")
        unseen = record.phase in (Phase.SHADOW, Phase.PREFLIGHT)
        self._must("I5", not unseen or record.weight == 0, "a shadow has weight")
        if before is not None:
            self._must("I2", record.generation >= before.generation, "the record went back")
            raised = record.rollout_id == before.rollout_id and record.weight > before.weight
            self._must("I2", not raised or record.generation > before.generation, "a weight rose by itself")
        self.last = record

    def _settle(self) -> None:
        """In the end: the journal is whole, promotions have their reasons, and the counts are exact."""
        self.out = False
        entries = self.hosts[0].store.journal(self.model, limit=100_000)
        counts = Counter(entry.generation for entry in entries)
        self._must("I6", self.lost or counts == Counter(range(1, self._record().generation + 1)),
                   f"generations {sorted(counts.items())} in the journal, {self._record().generation} on record")
        for entry in entries:
            if entry.kind == "promote":
                person = entry.actor in _PEOPLE
                text = str(entry.body.get("text", ""))
                self._must("I9", not person or " by force" in text or self._by_hand(entries, entry), f"{entry}")
        for host in self.hosts:
            for worker in host.workers:
                self._ship(host, worker, _Quiet())
        for (step_id, check, arm), number in self.true.items():
            kept = self._totals(self.hosts[0].store, step_id.partition("/")[0])[step_id, check, arm]
            self._must("I8", kept == number, f"{kept} {check} of {arm} in step {step_id} are kept, {number} happened")

    def _by_hand(self, entries: list[JournalEntry], promoted: JournalEntry) -> bool:
        """Whether a person takes the steps of the plan that the promotion belongs to."""
        started = [entry for entry in entries if entry.kind == "start" and entry.seq < promoted.seq]  # type: ignore[operator]
        return bool(started) and "preflight" not in str(started[-1].body["text"])


class _Quiet(random.Random):
    """Nothing is lost or repeated."""

    def random(self) -> float:
        return 0.99


def _weight(plan: Plan, step_id: str) -> float:
    name = step_id.rpartition("/")[2]
    return plan.steps[int(name)] / 10_000 if name.isdigit() else 0.9


def _fail(invariant: str, what: str) -> NoReturn:
    raise Broken(f"{invariant} ({INVARIANTS[invariant]}): {what}")


Move = Callable[[_World, random.Random], Any]
MOVES: dict[str, tuple[int, Move, bool]] = {
    "start": (5, _World.start, True), "act": (3, _World.act, True), "race": (2, _World.act_on_what_was_seen, True),
    "roll back here": (1, _World.roll_back_here, False), "judge": (10, _World.judge, True),
    "a good while": (16, _World.a_good_while, True), "refresh": (5, _World.refresh, False),
    "acknowledge": (4, _World.acknowledge, True), "carry": (4, _World.carry, True),
    "follow": (4, _World.follow, False), "everybody follows": (4, _World.everybody_follows, False),
    "ask": (8, _World.ask, False), "ship": (4, _World.ship, False), "die": (3, _World.die, False),
    "host restarts": (1, _World.host_restarts, False), "wait": (6, _World.wait, False),
    "skew": (1, _World.skew, False), "outage": (2, _World.outage, False),
    "lose writes": (1, _World.lose_writes, True),
}
"""By name: how often a move is made, relative to the others, what it does, and whether it may change the record."""
_NAMES = list(MOVES)
_OFTEN = [often for often, _, _ in MOVES.values()]


def moves_of(seed: int, length: int = 25) -> Iterator[tuple[str, int]]:
    """The schedule of a seed; it begins with a rollout, so that there is something to go wrong."""
    rng = random.Random(seed)
    yield "start", rng.getrandbits(32)
    for _ in range(length):
        yield rng.choices(_NAMES, _OFTEN)[0], rng.getrandbits(32)


def run(seeds: range) -> Counter[str]:
    """Play the schedules of these seeds; what was seen. Raises Broken with the seed."""
    shared = Path("/dev/shm")  # no power cut is part of it: a file in memory will do
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        schedules = Schedules(Path(folder) / "store.db")
        for seed in seeds:
            try:
                schedules.play(moves_of(seed))
            except Broken as error:
                raise Broken(f"seed {seed}: {error}") from None
        schedules.close()
    return schedules.seen


def main() -> None:
    """Play many schedules in all processes, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began, seen, part = time.monotonic(), Counter[str](), 500
    first = options.seed * 10_000_000
    parts = [range(start, min(start + part, first + options.schedules))
             for start in range(first, first + options.schedules, part)]
    with ProcessPoolExecutor() as processes:
        for found in processes.map(run, parts):
            seen.update(found)
    print(f"{options.schedules:,} schedules, seed {options.seed}, {time.strftime('%Y-%m-%d')}, "
          f"{time.monotonic() - began:,.0f} s: no invariant was broken.\n")
    print("| invariant | looked at |\n|---|---|")
    for name, sentence in INVARIANTS.items():
        print(f"| {name}: {sentence} | {seen[name]:,} times |")
    print("\n| what happened | times |\n|---|---|")
    for name, number in sorted(seen.items()):
        if name not in INVARIANTS:
            print(f"| {name} | {number:,} |")


if __name__ == "__main__":
    main()
