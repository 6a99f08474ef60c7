"""A caller's key leads to its predictions, tells nothing by itself, and can be erased while its file is written."""

from __future__ import annotations

import secrets
import uuid
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log.keys import (
    KEY_IDS,
    KeyWriter,
    blank_keys,
    hash_in,
    hash_of,
    key_files,
    key_id,
    key_text,
    named,
)

SECRET = b"k" * 32
A, B, C = (hash_of(key, SECRET) for key in ("order-1", "order-2", "order-3"))
ONE, TWO = (uuid.UUID(int=(0x0190_0000_0000_7000 << 64) + number).bytes for number in (1, 2))


def written(folder: Path, **options: Any) -> KeyWriter:
    """Two requests: one of two rows with a key each, one of two rows of which the second has the first one's key."""
    writer = KeyWriter(folder, 7, **options)
    writer.append([A, B], ONE)
    writer.append([None, A], TWO)
    return writer


@pytest.mark.parametrize("file_bytes", [1, 1 << 20])
def test_a_key_leads_to_all_its_predictions(tmp_path: Path, file_bytes: int) -> None:
    """Over files and rows; a key that nobody sent leads nowhere."""
    written(tmp_path, file_bytes=file_bytes)
    assert len(key_files(tmp_path)) == (2 if file_bytes == 1 else 1)
    assert named(tmp_path, [A, B, C]) == {A: [prediction_id(ONE, 0), prediction_id(TWO, 1)], B: [prediction_id(ONE, 1)]}
    assert named(tmp_path / "none", [A]) == {}
    assert named(tmp_path, []) == {}


def test_a_torn_end_is_passed_over(tmp_path: Path) -> None:
    """Its writer died in mid-write, of an entry or of the header."""
    written(tmp_path).close()
    (path,) = key_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "torn.keys").write_bytes(b"SRN")
    assert named(tmp_path, [A]) == {A: [prediction_id(ONE, 0)]}


def test_what_is_erased_is_gone_while_others_are_added(tmp_path: Path) -> None:
    """The keys that are named, and all keys of the predictions that are; the writer goes on in the same file."""
    writer = written(tmp_path)
    assert blank_keys(tmp_path, [B], []) == 1
    assert named(tmp_path, [A, B]).keys() == {A}
    writer.append([C], TWO)
    assert blank_keys(tmp_path, [], [(TWO, 0), (TWO, 1), (ONE, 1)]) == 2
    assert named(tmp_path, [A, B, C]) == {A: [prediction_id(ONE, 0)]}
    (path,) = key_files(tmp_path)
    assert TWO not in path.read_bytes() and B not in path.read_bytes()
    assert blank_keys(tmp_path, [B, C], [(TWO, 0)]) == 0


def test_the_key_itself_is_in_no_file(tmp_path: Path) -> None:
    """And without the secret nobody can tell whether a key that he tries is there."""
    written(tmp_path)
    assert all(b"order-1" not in path.read_bytes() for path in key_files(tmp_path))
    assert hash_of("order-1", secrets.token_bytes(32)) != A
    assert hash_in(key_id(A)) == A
    assert KEY_IDS[0] <= key_id(bytes(16)) <= key_id(b"\xff" * 16) < KEY_IDS[1]
    assert key_id(bytes(16)) > "ffffffff-ffff"


@pytest.mark.parametrize(("value", "text"), [
    ("a", "a"), (" 7 ", "7"), (7, "7"), (7.0, "7"), (b"\xc3\xbc", "ü"), ("x" * 256, "x" * 256), ("x" * 257, None),
    ("", None), (7.5, None), (float("nan"), None), (float("inf"), None), (True, None), (None, None), ([1], None)])
def test_a_key_is_a_text_or_a_whole_number(value: Any, text: str | None) -> None:
    """The same however it came."""
    assert key_text(value) == text
