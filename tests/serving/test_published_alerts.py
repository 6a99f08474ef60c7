"""The alerts as a file: what was written is read, once it says anything new."""

from __future__ import annotations

import time
from pathlib import Path

from serinus.monitors.alerts import AlertBook, AlertPolicy, Condition, Silence
from serinus.serving.published_alerts import as_document, publish, published

SEEN = Condition("wine", "1", "drift", "alarm", True, "age moved.", {"rows": 4096}, ("age",))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """With who is silenced now."""
    book = AlertBook().evaluate([SEEN], 0.0, AlertPolicy()).silenced(Silence("s", 0.0, 10.0, "ana"))
    publish(tmp_path / "run", as_document(book, {"log": {"delivered": 1}}, 5.0))
    found = published(tmp_path / "run")
    assert found["alerts"][0]["silenced"] and found["alerts"][0]["features"] == ["age"]
    assert found["counts"] == {"pending": 1, "firing": 0, "resolved": 0}
    assert found["notifications"] == {"log": {"delivered": 1}} and found["silences"][0]["by"] == "ana"
    assert not as_document(book, {}, 10.0)["alerts"][0]["silenced"]


def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    """The file stays the same one."""
    for _ in range(2):
        publish(tmp_path, as_document(AlertBook(), {}, time.time()))
        inode = (tmp_path / "alerts.json").stat().st_ino
        publish(tmp_path, as_document(AlertBook(), {}, time.time()))
        assert (tmp_path / "alerts.json").stat().st_ino == inode


def test_nothing_was_written_yet(tmp_path: Path) -> None:
    """Nor by this release: no alert, rather than one misread."""
    nothing = published(tmp_path)
    assert nothing["alerts"] == [] and nothing["counts"] == {"pending": 0, "firing": 0, "resolved": 0}
    (tmp_path / "alerts.json").write_text('{"format": 2, "alerts": [1]}')
    assert published(tmp_path) == nothing
