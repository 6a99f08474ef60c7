"""A veto reaches the store, then the snapshot, and only then it is lifted."""

from __future__ import annotations

import dataclasses
import time

import pytest

from serinus.serving import veto as veto_module
from serinus.serving.rollout import Phase, controller
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward import carry_vetoes
from serinus.serving.steward.carry_vetoes import CarryVetoes
from serinus.serving.steward.job import Shared
from serinus.serving.steward.restore_records import RestoreRecords
from serinus.serving.store import JournalEntry, StoreUnavailable
from serinus.serving.veto import cast_veto, read_vetoes
from tests.serving.steward.hosts import host, lose_store, start

__all__ = ["host"]


def test_a_veto_becomes_a_rollback_in_the_store(host: Shared) -> None:
    """With its actor and reason; workers read the same from the snapshot when it is gone."""
    start(host)
    cast_veto(host.home, "wine", actor="bob", reason="complaints")
    CarryVetoes().run(host)
    found = host.store.record("wine")
    assert found is not None
    assert (found.phase, found.stable, found.weight, found.actor) == (Phase.ROLLING_BACK, "1", 0, "bob")
    assert read_snapshot(host.home.snapshot).records["wine"] == found
    assert read_vetoes(host.home.vetoes).by_model == {}


def test_the_veto_is_lifted_after_the_snapshot(host: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of lifting, the snapshot on disk says the same: a worker never sees a gap."""
    start(host)
    cast_veto(host.home, "wine", actor="bob", reason="")
    seen = []
    lift = veto_module.remove_veto

    def watched(home, veto):
        seen.append((read_snapshot(home.snapshot).records["wine"].weight, list(read_vetoes(home.vetoes).by_model)))
        lift(home, veto)

    monkeypatch.setattr(carry_vetoes, "remove_veto", watched)
    CarryVetoes().run(host)
    assert seen == [(0, ["wine"])]


def test_a_veto_stands_while_the_store_is_away(host: Shared) -> None:
    """And is carried when it is back."""
    start(host)
    cast_veto(host.home, "wine", actor="bob", reason="")
    store = host.home.store
    assert host.store.record("wine") is not None  # the store is open
    for name in ("", "-wal", "-shm"):
        path = store.with_name(store.name + name)
        if path.exists():
            path.rename(path.with_name(f"away-{path.name}"))
    with pytest.raises(StoreUnavailable):
        CarryVetoes().run(host)
    assert list(read_vetoes(host.home.vetoes).by_model) == ["wine"]
    assert read_snapshot(host.home.snapshot).records["wine"].weight == 500
    for path in list(store.parent.glob("away-*")):
        path.rename(path.with_name(path.name.removeprefix("away-")))
    CarryVetoes().run(host)
    assert read_vetoes(host.home.vetoes).by_model == {}
    assert read_snapshot(host.home.snapshot).records["wine"].weight == 0


def test_a_veto_after_a_promotion_brings_the_version_before_back(host: Shared) -> None:
    """In the store too."""
    start(host)
    controller.promote(host.store, "wine", "ana", now=time.time(), force=True)
    host.publish()
    cast_veto(host.home, "wine", actor="bob", reason="")
    CarryVetoes().run(host)
    found = host.store.record("wine")
    assert found is not None and found.stable == "1"
    assert read_vetoes(host.home.vetoes).by_model == {}


def test_a_rollback_that_happened_elsewhere_is_not_done_twice(host: Shared) -> None:
    """Another host was faster: the veto goes, the record stays."""
    start(host)
    cast_veto(host.home, "wine", actor="bob", reason="")
    controller.roll_back(host.store, "wine", "eve", now=time.time())
    before = host.store.record("wine")
    CarryVetoes().run(host)
    assert host.store.record("wine") == before
    assert read_vetoes(host.home.vetoes).by_model == {}


def test_a_veto_waits_for_the_stores_restoration(host: Shared) -> None:
    """A store that knows nothing is put right first; the host stays safe meanwhile."""
    start(host)
    controller.promote(host.store, "wine", "ana", now=time.time(), force=True)
    host.publish()
    cast_veto(host.home, "wine", actor="bob", reason="")
    host.forget_store()
    lose_store(host.home)
    CarryVetoes().run(host)
    assert list(read_vetoes(host.home.vetoes).by_model) == ["wine"]
    assert host.store.records() == {}
    RestoreRecords().run(host)
    CarryVetoes().run(host)
    found = host.store.record("wine")
    assert found is not None and found.stable == "1"
    assert read_vetoes(host.home.vetoes).by_model == {}


def test_a_veto_that_the_store_refuses_stands(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has made another version stable meanwhile: the host stays as it was told, and the log says so."""
    start(host)
    cast_veto(host.home, "wine", actor="bob", reason="")
    record = host.store.record("wine")
    assert record is not None
    gone = dataclasses.replace(record, generation=9, phase=Phase.IDLE, stable="3", candidate=None, weight=0, step_id="")
    host.store.swap(gone, expected_generation=record.generation, journal=[JournalEntry("wine", "x", 1.0, 9, "ana")])
    CarryVetoes().run(host)
    assert list(read_vetoes(host.home.vetoes).by_model) == ["wine"]
    assert "The rollback of wine stands on this host, but the store refuses it" in caplog.text


def test_no_vetoes_are_no_work(host: Shared) -> None:
    """The store is not even asked."""
    host.forget_store()
    lose_store(host.home)
    CarryVetoes().run(host)
    assert not host.home.store.exists()
