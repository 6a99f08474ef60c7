"""What every store must do; subclass StoreContract and give it the fixture `opener`.

`opener` is a picklable callable that opens the same empty store again and again, in this and in other processes.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from serinus.serving.rollout import Phase, Plan, RolloutRecord
from serinus.serving.store import (
    STEWARD_LEASE,
    Conflict,
    CounterKey,
    CounterRow,
    Document,
    Fenced,
    GroundTruth,
    JournalEntry,
    Lease,
    LeaseLost,
    Store,
    StoreError,
    Tick,
)

Opener = Callable[[], Store]
_ROOT = Path(__file__).parents[3]
_CONTENDERS = Path(__file__).with_name("contenders.py")


def record(generation: int = 1, **changes: object) -> RolloutRecord:
    return replace(RolloutRecord("m", generation, stable="1"), **changes)  # type: ignore[arg-type]


def entry(new: RolloutRecord, **changes: object) -> JournalEntry:
    made = JournalEntry(new.model, "step", 1.5, new.generation, "ana", "because", {"text": "é"})
    return replace(made, **changes)  # type: ignore[arg-type]


def put(store: Store, new: RolloutRecord, epoch: int | None = None) -> None:
    store.swap(new, expected_generation=new.generation - 1, journal=[entry(new)], epoch=epoch)


def contender(opener: Opener, role: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(_CONTENDERS), role, pickle.dumps(opener).hex(), *arguments]
    environment = {"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin:/bin"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=_ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)


def let_go(processes: list[subprocess.Popen[str]]) -> None:
    """Start them together, once all are ready."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def answers(processes: list[subprocess.Popen[str]]) -> list[list[list[float]]]:
    let_go(processes)
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [json.loads(output) for output in outputs]


class StoreContract:
    """The contract, as tests."""

    @pytest.fixture
    def store(self, opener: Opener) -> Iterator[Store]:
        opened = opener()
        yield opened
        opened.close()

    def test_it_is_a_store(self, store: Store) -> None:
        """An implementation has every method of the interface."""
        assert isinstance(store, Store)
        store.check()

    def test_a_close_may_be_repeated(self, opener: Opener) -> None:
        """Closing twice is fine, and a closed store says that it is closed."""
        store = opener()
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.records()

    # The record

    def test_a_record_comes_back_equal(self, store: Store, opener: Opener) -> None:
        """What was swapped in is what is read, here and by others."""
        new = record(
            phase=Phase.CANARY, plan=Plan((500, 10000)), weight=500, candidate="2", quarantined=("d",), reason="é\ud800"
        )
        put(store, new)
        assert store.record("m") == new
        assert opener().records() == {"m": new}

    def test_an_unknown_model_has_no_record(self, store: Store) -> None:
        """Nothing is made up for a model without events."""
        assert store.record("other") is None
        assert store.records() == {}

    def test_a_swap_on_an_old_generation_conflicts(self, store: Store) -> None:
        """Who decided on an old record changes neither the record nor the journal."""
        put(store, record(1))
        put(store, record(2))
        with pytest.raises(Conflict) as raised:
            put(store, record(2, stable="9"))
        assert (raised.value.expected, raised.value.found) == (1, 2)
        assert store.record("m") == record(2)
        assert [row.generation for row in store.journal("m")] == [1, 2]

    def test_a_swap_on_a_lost_record_conflicts(self, store: Store) -> None:
        """A store that lost its writes is behind its writers, who notice."""
        with pytest.raises(Conflict):
            put(store, record(5))

    @pytest.mark.parametrize(
        ("new", "expected", "model"), [(record(1), 1, "m"), (record(1), 0, "other")]
    )
    def test_a_swap_that_breaks_the_rules_is_a_mistake(
        self, store: Store, new: RolloutRecord, expected: int, model: str
    ) -> None:
        """Generations rise, and the journal is about the same model."""
        with pytest.raises(ValueError):
            store.swap(new, expected_generation=expected, journal=[entry(new, model=model)])
        assert store.records() == {}

    def test_a_swap_needs_a_journal_entry(self, store: Store) -> None:
        """No transition goes unrecorded."""
        with pytest.raises(ValueError):
            store.swap(record(1), expected_generation=0, journal=[])

    def test_a_swap_whose_journal_fails_changes_nothing(self, store: Store) -> None:
        """A transition and its journal entries are atomic."""
        broken = entry(record(1), generation=2**80)
        with pytest.raises((OverflowError, StoreError)):
            store.swap(record(1), expected_generation=0, journal=[entry(record(1)), broken])
        assert store.record("m") is None
        assert store.journal("m") == []
        put(store, record(1))

    # The journal

    def test_the_journal_is_in_order_and_in_pages(self, store: Store) -> None:
        """Entries come in the order they were written, from any place on."""
        for number in range(5):
            store.append(entry(record(number), kind=f"k{number}"))
        store.append(entry(record(1), model="other"))
        first = store.journal("m", limit=2)
        assert [row.kind for row in first] == ["k0", "k1"]
        rest = store.journal("m", after=first[-1].seq or 0)
        assert [row.kind for row in rest] == ["k2", "k3", "k4"]

    def test_an_entry_comes_back_equal(self, store: Store) -> None:
        """An entry keeps its body and gets a number."""
        written = store.append(entry(record(1), body={"n": [1, 2.5, None], "é": {"t": True}}))
        assert written.seq is not None
        assert store.journal("m") == [written]

    # The lease

    def test_a_lease_is_held_renewed_and_taken_over(self, store: Store) -> None:
        """One holder at a time; renewing keeps the epoch, taking over raises it."""
        assert store.acquire_lease("l", "a", 15, now=100.0) == Lease("l", "a", 1, 115.0)
        assert store.acquire_lease("l", "b", 15, now=114.9) is None
        assert store.acquire_lease("l", "a", 15, now=110.0) == Lease("l", "a", 1, 125.0)
        assert store.acquire_lease("l", "b", 15, now=125.0) == Lease("l", "b", 2, 140.0)
        assert store.acquire_lease("l", "a", 15, now=126.0) is None
        assert store.acquire_lease("other", "a", 15, now=126.0) == Lease("other", "a", 1, 141.0)

    def test_a_released_lease_is_free_and_its_epoch_goes_on(self, store: Store) -> None:
        """After a release nobody waits, and old epochs stay old."""
        lease = store.acquire_lease("l", "a", 15, now=100.0)
        assert lease is not None
        store.release_lease(lease)
        assert store.acquire_lease("l", "b", 15, now=101.0) == Lease("l", "b", 2, 116.0)
        with pytest.raises(LeaseLost):
            store.release_lease(lease)

    def test_a_clock_set_back_does_not_block_the_lease(self, store: Store) -> None:
        """A dead holder's lease from the future is over."""
        store.acquire_lease("l", "a", 15, now=1000.0)
        assert store.acquire_lease("l", "b", 15, now=500.0) == Lease("l", "b", 2, 515.0)

    def test_the_store_has_a_clock_of_its_own(self, store: Store) -> None:
        """Without a given time a lease ends by the store's clock."""
        lease = store.acquire_lease("l", "a", 0.05)
        assert lease is not None
        assert abs(lease.expires - time.time()) < 60
        time.sleep(0.1)
        taken = store.acquire_lease("l", "b", 15)
        assert taken is not None and taken.epoch == 2

    @pytest.mark.parametrize(("holder", "ttl_s"), [("", 1.0), ("a", 0.0), ("a", float("nan"))])
    def test_a_lease_needs_a_holder_and_time(self, store: Store, holder: str, ttl_s: float) -> None:
        """A lease of nobody or of no time is a mistake."""
        with pytest.raises(ValueError):
            store.acquire_lease("l", holder, ttl_s)

    def test_an_old_leader_is_fenced(self, store: Store) -> None:
        """A swap under a lease that has passed on changes nothing, whatever the clocks say."""
        store.acquire_lease(STEWARD_LEASE, "a", 15, now=100.0)
        put(store, record(1), epoch=1)
        store.acquire_lease(STEWARD_LEASE, "b", 15, now=200.0)
        with pytest.raises(Fenced):
            put(store, record(2), epoch=1)
        assert store.record("m") == record(1)
        put(store, record(2), epoch=2)
        put(store, record(3))

    # Ticks

    def test_ticks_are_kept_once_and_in_order(self, store: Store) -> None:
        """A tick sent again is not counted again; order of arrival does not matter."""
        late, early = Tick("w1", 2, 11, {"n": 2}), Tick("w1", 1, 10, {"n": [1]})
        other = Tick("w0", 7, 11, {})
        assert [store.add_tick(tick) for tick in (late, early, other, late, early)] == [True] * 3 + [False] * 2
        assert store.ticks() == [early, other, late]
        assert store.ticks(10) == [other, late]
        assert store.ticks(11) == []

    def test_a_page_of_ticks_ends_with_an_interval(self, store: Store) -> None:
        """Reading on from the last interval of a page loses no tick."""
        ticks = [Tick(f"w{worker}", interval, interval, {}) for interval in range(4) for worker in range(3)]
        for tick in ticks:
            store.add_tick(tick)
        assert store.ticks(limit=4) == ticks[:6]
        assert store.ticks(1, limit=4) == ticks[6:]

    def test_pruned_ticks_do_not_come_back(self, store: Store) -> None:
        """A late retry of a pruned tick is refused."""
        ticks = [Tick("w", number, number, {}) for number in range(4)]
        for tick in ticks:
            store.add_tick(tick)
        assert store.prune_ticks(2) == 2
        assert store.prune_ticks(1) == 0
        assert store.add_tick(ticks[1]) is False
        assert store.ticks() == ticks[2:]

    # Counters

    def test_counters_only_grow_and_sum_over_workers(self, store: Store) -> None:
        """Repeated and late reports are harmless: the largest count of each worker counts."""
        one, two = CounterRow(0, "errors", "all", "stable", "w1"), CounterRow(0, "errors", "all", "stable", "w2")
        store.upsert_counters("r", "s", {one: 5, two: 7})
        store.upsert_counters("r", "s", {one: 3, two: 9})
        store.upsert_counters("r", "s", {one: 5})
        store.upsert_counters("r", "t", {one: 1})
        store.upsert_counters("other", "s", {(0, "errors", "all", "stable", "w1"): 100})
        key = CounterKey("s", 0, "errors", "all", "stable")
        assert store.counters("r") == {key: 14, key._replace(step_id="t"): 1}
        assert store.counters("none") == {}

    # Documents

    def test_a_document_comes_back_equal(self, store: Store, opener: Opener) -> None:
        """Any bytes are kept under their kind and key, and read by others."""
        documents = [Document("state", key, 1, bytes(range(256)), 1.5) for key in ("a", "é:1")]
        for document in (*documents, Document("other", "a", 7, b"", 2.0)):
            store.put_document(document, expected_revision=0)
        assert store.document("state", "é:1") == documents[1]
        assert opener().documents("state") == documents
        assert store.document("state", "none") is None
        assert store.documents("none") == []

    def test_a_document_changed_by_another_conflicts(self, store: Store) -> None:
        """Who decided on an old revision, or on a missing document, changes nothing."""
        first = Document("state", "a", 1, b"1", 1.0)
        store.put_document(first, expected_revision=0)
        second = replace(first, revision=2, body=b"2")
        store.put_document(second, expected_revision=1)
        for revision in (0, 1):
            with pytest.raises(Conflict) as raised:
                store.put_document(replace(first, revision=9), expected_revision=revision)
            assert (raised.value.expected, raised.value.found) == (revision, 2)
        with pytest.raises(Conflict):
            store.put_document(Document("state", "b", 4, b"", 1.0), expected_revision=3)
        assert store.documents("state") == [second]

    def test_a_revision_rises(self, store: Store) -> None:
        """A change that keeps the revision would go unnoticed, so it is a mistake."""
        with pytest.raises(ValueError, match="later"):
            store.put_document(Document("state", "a", 0, b"", 1.0), expected_revision=0)
        assert store.documents("state") == []

    def test_a_document_is_deleted_at_its_revision(self, store: Store) -> None:
        """Nobody deletes what they have not seen; once deleted it may be made anew."""
        document = Document("state", "a", 1, b"1", 1.0)
        store.put_document(document, expected_revision=0)
        with pytest.raises(Conflict):
            store.delete_document("state", "a", expected_revision=2)
        store.delete_document("state", "a", expected_revision=1)
        with pytest.raises(Conflict):
            store.delete_document("state", "a", expected_revision=1)
        store.put_document(document, expected_revision=0)
        assert store.documents("state") == [document]

    def test_an_old_leader_changes_no_document(self, store: Store) -> None:
        """A document written under a lease that has passed on stays as it was."""
        store.acquire_lease(STEWARD_LEASE, "a", 15, now=100.0)
        document = Document("state", "a", 1, b"1", 1.0)
        store.put_document(document, expected_revision=0, epoch=1)
        store.acquire_lease(STEWARD_LEASE, "b", 15, now=200.0)
        with pytest.raises(Fenced):
            store.put_document(replace(document, revision=2), expected_revision=1, epoch=1)
        assert store.documents("state") == [document]

    # Ground truth

    def test_ground_truth_is_kept_once(self, store: Store) -> None:
        """The same value of one kind from one source is one outcome, however often it came; another is another."""
        first = GroundTruth("p-0", "crm", "final", {"b": 1, "a": [True]}, 1.0, 10.0)
        again = first._replace(value={"a": [True], "b": 1}, received_time=9.0, weight=2.0)
        others = [first._replace(value="no"), first._replace(kind="event", name="click", value=1, event_time=2.0),
                  first._replace(kind="event", name="click", value=1), first._replace(value=1),
                  first._replace(value=1.5), first._replace(value=True)]
        assert [store.add_ground_truths([row]) for row in (first, again, *others)] == [1, 0, *[1] * len(others)]
        assert store.add_ground_truths([first, others[0], first]) == 0
        found = store.ground_truth(["p-0", "p-1", "p-0"])
        assert found["p-0"][0] == first._replace(received_time=9.0, weight=2.0, copies=4)
        assert {repr(row) for row in found["p-0"][1:]} == {
            repr(row) for row in [others[0]._replace(copies=2), *others[1:]]}
        assert list(found) == ["p-0"]

    def test_much_ground_truth_is_kept_at_once(self, store: Store) -> None:
        """Thousands of outcomes are one transaction, and are read by any number of ids, or from one id to another."""
        rows = [GroundTruth(f"p-{n:04}", "crm", "final", n % 3, 1.0, float(n)) for n in range(2500)]
        assert store.add_ground_truths(rows) == 2500
        assert store.add_ground_truths(rows[:10]) == 0
        assert store.add_ground_truths([]) == 0
        found = store.ground_truth(f"p-{n:04}" for n in range(3000))
        assert sorted(found) == sorted(row.prediction_id for row in rows)
        assert store.ground_truth_between("p-1000", "p-1003") == rows[1000:1003]
        assert store.ground_truth_between("p-9", "q") == []

    def test_ground_truth_is_forgotten(self, store: Store) -> None:
        """All outcomes of a prediction go, and of no other."""
        rows = [GroundTruth(f"p-{n % 3}", "crm", "final", n, 1.0, float(n)) for n in range(6)]
        store.add_ground_truths(rows)
        assert store.forget_ground_truth(["p-1", "p-2", "none"]) == 4
        assert store.forget_ground_truth([]) == 0
        assert list(store.ground_truth(["p-0", "p-1", "p-2"])) == ["p-0"]

    def test_ground_truth_and_how_far_it_was_read_are_one(self, store: Store) -> None:
        """A document that another has changed keeps the outcomes out, so that nothing is added twice."""
        row = GroundTruth("p-0", "crm", "final", 1, 1.0, 1.0)
        place = Document("place", "a", 1, b"1", 1.0)
        assert store.add_ground_truths([row], document=place) == 1
        with pytest.raises(Conflict):
            store.add_ground_truths([row._replace(value=2)], document=place)
        assert store.ground_truth(["p-0"]) == {"p-0": [row]}
        assert store.document("place", "a") == place
        moved = row._replace(prediction_id="p-1")
        with pytest.raises(Conflict):
            store.add_ground_truths([moved], document=place, forget=["p-0"])
        store.add_ground_truths([moved], document=replace(place, revision=2), expected_revision=1, forget=["p-0"])
        assert store.ground_truth(["p-0", "p-1"]) == {"p-1": [moved]}

    def test_what_is_forgotten_can_be_scrubbed(self, store: Store) -> None:
        """Nothing else is lost by it."""
        rows = [GroundTruth(f"p-{n}", "crm", "final", f"Quillfeather-{n}", 1.0, float(n)) for n in range(100)]
        store.add_ground_truths(rows)
        store.forget_ground_truth([row.prediction_id for row in rows[:50]])
        store.scrub()
        assert store.ground_truth_between("p", "q") == sorted(rows[50:])

    # Threads and processes

    def test_threads_may_share_a_store(self, store: Store) -> None:
        """Eight threads with one store lose nothing."""
        def write(number: int) -> None:
            for sequence in range(20):
                store.add_tick(Tick(f"w{number}", sequence, sequence, {}))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.ticks()) == 160

    def test_one_process_wins_each_generation(self, store: Store, opener: Opener) -> None:
        """Of many processes that swap one record, exactly one wins each generation; the journal has the winners."""
        names = [f"p{number}" for number in range(4)]
        won = answers([contender(opener, "swap_many", name, "400") for name in names])
        winners = {generation: name for name, generations in zip(names, won, strict=True) for generation in generations}
        assert sorted(winners) == list(range(1, 401))
        assert sum(map(len, won)) == 400
        assert sum(map(bool, won)) > 1, "there was no race"
        assert [(row.generation, row.actor) for row in store.journal("m")] == sorted(winners.items())

    def test_one_process_wins_each_revision(self, store: Store, opener: Opener) -> None:
        """Of many processes that count up one document, none loses another's step."""
        names = [f"p{number}" for number in range(4)]
        won = answers([contender(opener, "count_up", name, "200") for name in names])
        assert sorted(revision for revisions in won for revision in revisions) == list(range(1, 201))
        assert sum(map(bool, won)) > 1, "there was no race"
        found = store.document("state", "shared")
        assert found is not None and (found.revision, found.body) == (200, b"200")

    def test_one_process_leads_each_epoch(self, opener: Opener) -> None:
        """Two processes that contend for a lease never share an epoch, and epochs follow each other in time."""
        led = answers([contender(opener, "lead", name, "1.5") for name in ("a", "b")])
        terms = sorted(term for terms in led for term in terms)
        assert [term[0] for term in terms] == list(range(1, len(terms) + 1))
        assert len(terms) > 2
        assert all(renewed < taken for (_, _, renewed), (_, taken, _) in pairwise(terms))

    def test_a_killed_writer_leaves_record_and_journal_in_step(self, store: Store, opener: Opener) -> None:
        """SIGKILL at any moment loses nothing that was confirmed and leaves no half transition."""
        for delay in (0.001, 0.005, 0.02, 0.05, 0.1):
            process = contender(opener, "swap_for_ever", "p")
            let_go([process])
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
            confirmed = [int(line) for line in process.communicate()[0].splitlines() if line]
            found = store.record("m")
            assert found is not None
            assert found.generation >= max(confirmed, default=1)
            written = [(row.generation, row.kind) for row in store.journal("m", limit=100_000)]
            generations = range(1, found.generation + 1)
            assert written == [(n, kind) for n in generations for kind in ("step", "second")]
