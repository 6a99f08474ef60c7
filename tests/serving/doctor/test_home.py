"""A home that cannot be used, that others can use, or that has no room."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.serving.doctor.check import Check
from serinus.serving.doctor.home import look_at_home, look_at_log
from serinus.serving.home import Home
from serinus.serving.settings import LogSettings, Settings
from tests.serving.doctor.privileges import NOBODY, without_privileges


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home, below a folder that anybody may enter."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    folder = top / "home"
    folder.mkdir(0o700)
    yield Home(folder)
    shutil.rmtree(top)


def states(home: Home, settings: Settings | None = None) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {"ok": [], "warning": [], "problem": []}
    for check in look_at_home(home, settings or Settings(home=home.path)):
        found[check.state].append(check)
    return found


def with_log(**log: int) -> Settings:
    return Settings(log=LogSettings(**log))  # type: ignore[arg-type]


def test_a_home_of_ones_own_is_in_order(home: Home) -> None:
    """Nothing is left in it by looking."""
    found = states(home, with_log(cap_bytes=4096, segment_bytes=4096))
    assert not found["warning"] and not found["problem"] and list(home.path.iterdir()) == []


def test_a_home_that_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    """It may be a slip; looking does not make it."""
    found = states(Home(tmp_path / "hmoe"))
    assert "does not exist yet" in found["warning"][0].says and not found["problem"]
    assert not (tmp_path / "hmoe").exists()


def test_a_file_is_no_home(tmp_path: Path) -> None:
    """The path may name anything."""
    (tmp_path / "file").touch()
    assert "is no folder" in states(Home(tmp_path / "file"))["problem"][0].says


def test_a_folder_that_cannot_be_written_to_is_a_problem(home: Home) -> None:
    """Found out by trying."""
    home.path.chmod(0o555)
    with without_privileges():
        (found,) = states(home)["problem"]
    assert found.says == f"{home.path} cannot be written to: Permission denied." and "chown" in found.advice


def test_a_home_that_others_may_write_to_is_a_problem(home: Home) -> None:
    """A model in it is code that the server runs."""
    home.path.chmod(0o777)
    (found,) = states(home)["problem"]
    assert "Others of this host may write" in found.says and found.advice == f"chmod go-w {home.path}"


def test_private_files_that_others_can_open_are_a_warning(home: Home) -> None:
    """Only where they can enter the home at all."""
    home.store.touch()
    home.store.chmod(0o644)
    assert not states(home)["warning"]
    home.path.chmod(0o755)
    (found,) = states(home)["warning"]
    assert found.says == f"Others of this host may open {home.store}." and found.advice == f"chmod 700 {home.path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_anothers_home_is_a_warning(home: Home) -> None:
    """What root makes in it, its owner's server cannot change."""
    os.chown(home.path, NOBODY, -1)
    (found,) = states(home)["warning"]
    assert found.says == f"{home.path} belongs to user {NOBODY}, you are user 0."


def test_a_log_that_may_outgrow_its_disk_is_a_warning(home: Home) -> None:
    """What is free must hold what the cap still allows."""
    (found,) = states(home, with_log(cap_bytes=10**18))["warning"]
    assert "may grow by 1e+09 GB more" in found.says


def test_a_full_disk_is_a_problem(home: Home) -> None:
    """When not even one more segment fits."""
    (found,) = states(home, with_log(segment_bytes=10**18))["problem"]
    assert found.subject == "disk" and "predictions may be refused" in found.says


def test_the_log_is_measured_against_its_cap(home: Home) -> None:
    """Without a server its rate is not known; switched off is said."""
    home.log.mkdir(parents=True)
    (home.log / "a.segment").write_bytes(b"x" * 2_500_000)
    (found,) = look_at_log(home, with_log(cap_bytes=10**9))
    assert found.says.startswith("The prediction log holds 2.5 MB of at most 1 GB; no server")
    (off,) = look_at_log(home, Settings(log=LogSettings(enabled=False)))
    assert off.state == "warning" and "off (log.enabled)" in off.says
