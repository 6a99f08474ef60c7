"""The ledger keeps pairs over deaths of its writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.serving.shadow import ledger
from serinus.serving.shadow.ledger import LedgerWriter, ledgers_in, read_ledger

UUIDS = [bytes([number]) * 15 + b"\0" for number in range(4)]


def writer(folder: Path) -> LedgerWriter:
    return LedgerWriter(folder, "r1", "wine", "here-1", ("red", "white"), ("region=north",))


def test_what_a_dead_writer_kept_is_gone_on_with(tmp_path: Path) -> None:
    """A torn entry at the end goes; ids that end in zero bytes stay whole."""
    first = writer(tmp_path)
    first.append([(UUIDS[0], 0, 0, 1, 1), (UUIDS[1], 3, 1, 1, 0)])
    (path,) = ledgers_in(tmp_path)
    with path.open("ab") as stream:
        stream.write(b"torn")
    assert len(read_ledger(path).rows) == 2  # type: ignore[union-attr]
    second = writer(tmp_path)
    second.append([(UUIDS[2], 1, 0, 0, 1)])
    second.close()
    found = read_ledger(path)
    assert found is not None
    assert (found.rollout_id, found.model, found.labels, found.slices) == ("r1", "wine", ("red", "white"),
                                                                         ("region=north",))
    assert [row["uuid"].tobytes() for row in found.rows] == UUIDS[:3]
    assert found.rows[["row", "stable", "candidate", "slices"]].tolist() == [(0, 0, 1, 1), (3, 1, 1, 0), (1, 0, 0, 1)]


def test_a_full_ledger_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after its writer was started again."""
    monkeypatch.setattr(ledger, "MOST", 3)
    for _ in range(2):
        made = writer(tmp_path)
        made.append([(uuid, 0, 0, 0, 0) for uuid in UUIDS[:2]])
        made.close()
    (path,) = ledgers_in(tmp_path)
    assert len(read_ledger(path).rows) == 3  # type: ignore[union-attr]


def test_a_ledger_that_is_only_being_made_is_none_yet(tmp_path: Path) -> None:
    """Its first line comes first."""
    (tmp_path / "r1-here.pairs").write_bytes(b'{"format":1')
    assert read_ledger(tmp_path / "r1-here.pairs") is None


def test_a_ledger_of_another_release_is_left_alone(tmp_path: Path) -> None:
    """Neither read nor gone on with: its pairs are of another length."""
    (tmp_path / "r1-here-1.pairs").write_bytes(b'{"format":1}\n' + bytes(64))
    made = writer(tmp_path)
    made.append([(UUIDS[0], 0, 0, 0, 0)])
    made.close()
    (path,) = ledgers_in(tmp_path)
    assert (read_ledger(path), path.stat().st_size) == (None, 77)
