"""Every served model gets a record; later versions get traffic by a rollout, or because a person named them."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.models import ModelError
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.first_records import FirstRecords
from tests.serving.steward.hosts import shared, trained


def stable(host, name: str = "wine") -> str | None:
    record = host.store.record(name)
    return record.stable if record else None


def test_the_first_registered_version_is_stable(tmp_path: Path) -> None:
    """Not the newest: nobody decided about that one."""
    trained(tmp_path, "wine", 1.0, 2.0)
    host = shared(tmp_path)
    FirstRecords().run(host)
    found = host.store.record("wine")
    assert found is not None
    assert (found.stable, found.stable_digest) == ("1", host.registry.get("wine", "1").digest)
    assert read_snapshot(host.home.snapshot).records == {"wine": found}


def test_a_later_version_changes_nothing(tmp_path: Path) -> None:
    """Registering is not serving."""
    trained(tmp_path, "wine", 1.0)
    host, job = shared(tmp_path), FirstRecords()
    job.run(host)
    trained(tmp_path, "wine", 2.0)
    job.run(host)
    assert stable(host) == "1"
    assert len(host.store.journal("wine")) == 1


def test_a_model_registered_later_is_served(tmp_path: Path) -> None:
    """At the next look."""
    trained(tmp_path, "wine", 1.0)
    host, job = shared(tmp_path), FirstRecords()
    job.run(host)
    trained(tmp_path, "beer", 1.0)
    job.run(host)
    assert (stable(host), stable(host, "beer")) == ("1", "1")


def test_a_named_version_is_stable(tmp_path: Path) -> None:
    """Naming it to `serve` is a person's decision, once per start: a later promotion is not undone."""
    trained(tmp_path, "wine", 1.0, 2.0)
    FirstRecords().run(shared(tmp_path))
    host, job = shared(tmp_path, server={"models": ("wine:2",)}), FirstRecords()
    job.run(host)
    assert stable(host) == "2"
    from serinus.serving.rollout import controller

    controller.set_stable(host.store, "wine", "1", "d", "ana", now=2e9)
    job.run(host)
    assert stable(host) == "1"


def test_a_restart_does_not_undo_a_promotion(tmp_path: Path) -> None:
    """The command line names the version of long ago; the one that became stable since stays."""
    trained(tmp_path, "wine", 1.0, 2.0)
    FirstRecords().run(shared(tmp_path, server={"models": ("wine:2",)}))
    host = shared(tmp_path, server={"models": ("wine:1",)})
    FirstRecords().run(host)
    assert stable(host) == "2"


def test_a_model_that_is_not_asked_for_has_no_record(tmp_path: Path) -> None:
    """Of several, only those that were named."""
    trained(tmp_path, "wine", 1.0)
    trained(tmp_path, "beer", 1.0)
    host = shared(tmp_path, server={"models": ("wine",)})
    FirstRecords().run(host)
    assert (stable(host), stable(host, "beer")) == ("1", None)


def test_a_version_that_does_not_exist_is_said(tmp_path: Path) -> None:
    """And nothing is recorded."""
    trained(tmp_path, "wine", 1.0)
    host = shared(tmp_path, server={"models": ("wine:9",)})
    with pytest.raises(ModelError, match="no version '9'"):
        FirstRecords().run(host)
    assert stable(host) is None
