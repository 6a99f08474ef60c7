"""Parquet files of the log are copied elsewhere once each, and again after rows were erased; a store that is away is
tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec import AbstractFileSystem
from fsspec.registry import _registry

from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import segments
from serinus.serving.prediction_log.compaction import compact, remove, rewrite
from serinus.serving.prediction_log.manifest import parquet_folder
from serinus.serving.prediction_log.shipping import Shipment, ship, waiting
from tests.serving.prediction_log.examples import records, write


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A compacted log of two files."""
    folder = tmp_path / "home" / "log"
    write(folder, records()).close()
    compact(folder)
    return folder


def copied(url: str) -> dict[str, bytes]:
    """What lies there, by its path below the URL."""
    system, root = fsspec.core.url_to_fs(url)
    return {path.split(root.strip("/"), 1)[1].strip("/"): system.cat_file(path)
            for path in system.find(root)} if system.exists(root) else {}


def own(folder: Path) -> dict[str, bytes]:
    """What lies here."""
    root = parquet_folder(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.parquet")}


@pytest.mark.parametrize("kind", ["folder", "file", "memory"])
def test_each_file_is_copied_once(log: Path, tmp_path: Path, kind: str) -> None:
    """A plain folder and any URL of fsspec alike, under the same names; the second time there is nothing to do."""
    url = {"folder": f"{tmp_path}/there", "file": f"file://{tmp_path}/there", "memory": f"memory://{tmp_path}"}[kind]
    assert waiting(log, url)
    assert ship(log, url) == Shipment(2)
    assert copied(url) == own(log)
    assert len(own(log)) == 2
    assert not waiting(log, url)
    assert ship(log, url) == Shipment(0)


class Buckets(AbstractFileSystem):
    """A store with one bucket, as s3fs shows it: a folder that is made may be a bucket."""

    protocol = "s3"
    cachable = False

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        if rpath.partition("/")[0] != "bucket":
            raise FileNotFoundError("The specified bucket does not exist")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        raise AssertionError(f"{path} was made")


def test_a_bucket_is_never_made(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was mistyped is a problem that is told, and the next call tries again."""
    monkeypatch.setitem(_registry, "s3", Buckets)
    assert ship(log, "s3://bukcet/log") == Shipment(0, "FileNotFoundError: The specified bucket does not exist")
    assert waiting(log, "s3://bukcet/log")
    assert ship(log, "s3://bucket/log") == Shipment(2)


def test_a_file_that_was_written_anew_is_copied_again(log: Path, tmp_path: Path) -> None:
    """An erased row is nowhere then, be its file empty."""
    url = f"{tmp_path}/there"
    ship(log, url)
    unwanted = prediction_id(records()[0].prediction_uuid, 0)
    for path in parquet_folder(log).rglob("*.parquet"):
        rewrite(path, lambda ids: [text != unwanted for text in ids])
    assert ship(log, url) == Shipment(1)
    assert copied(url) == own(log)
    assert not any(unwanted in pq.read_table(path, partitioning=None)["prediction_id"].to_pylist()
                   for path in (tmp_path / "there").rglob("*.parquet"))


def test_what_is_removed_here_stays_there(log: Path, tmp_path: Path) -> None:
    """How long it is kept there is that store's own rule."""
    url, before = f"{tmp_path}/there", own(log)
    ship(log, url)
    remove(log, next(iter(before)).rpartition("/")[2].partition(".")[0] + ".segment")
    assert own(log) == {}
    assert ship(log, url) == Shipment(0)
    assert copied(url) == before


def test_a_store_that_is_away_is_tried_again(log: Path, tmp_path: Path) -> None:
    """Why is said; what was copied before is not copied twice, and nothing is lost."""
    (tmp_path / "there").write_text("no folder")
    failed = ship(log, f"{tmp_path}/there")
    assert failed.files == 0
    assert "there" in failed.problem
    assert waiting(log, f"{tmp_path}/there")
    (tmp_path / "there").unlink()
    assert ship(log, f"{tmp_path}/there") == Shipment(2)
    assert ship(log, "nosuch://bucket").problem.startswith("ValueError: Protocol not known: nosuch")


def test_another_url_gets_everything(log: Path, tmp_path: Path) -> None:
    """What was copied to the old one counts for that one."""
    assert ship(log, f"{tmp_path}/one") == ship(log, f"{tmp_path}/two") == Shipment(2)
    assert segments(log) == []
