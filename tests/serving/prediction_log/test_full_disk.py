"""A file system that is really full: every answer of policy `refuse` is in the log, compaction harms nothing, and with
room again all goes on."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import read, segments
from serinus.serving.prediction_log.upkeep import work
from tests.serving.asgi import ROWS, Line, people_model

_BYTES = 128 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A home whose log lies on a file system of its own."""
    log = tmp_path / "home" / "log"
    log.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "tmpfs", str(log)], capture_output=True,
                             text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting needs rights ({mounted.stderr.strip()}); test_writer.py has a full disk without")
    yield tmp_path / "home"
    subprocess.run(["umount", "--lazy", str(log)], check=True)


def _fill(log: Path) -> Path:
    """Leave no byte free."""
    ballast = log / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (4096, 1):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return ballast


def _logged(home: Path) -> Counter[str]:
    return Counter(prediction_id(record.prediction_uuid, row) for record in read(home / "log" / "segments")
                   for row in range(record.rows))


def test_what_is_refused_is_not_logged_and_the_rest_is(small: Path) -> None:
    """Until the disk is full, while it is, and afterwards; then it is compacted."""
    line = Line(small, {"people": {"1": people_model()}}, log={"segment_bytes": 4096})
    answered, refused = [], 0
    for _ in range(2000):
        answer = line.call("POST", "/predict", ROWS)
        answered += answer.json["prediction_ids"] if answer.status == 200 else []
        refused += answer.status == 503
        if refused == 5:
            break
    assert refused == 5
    assert len(answered) > 100
    assert _logged(small) == Counter(answered)
    for path in segments(line.home.log)[:4]:
        path.unlink()
    assert line.call("POST", "/predict", ROWS).status == 200
    assert line.counts()[0]["log_failures"] == 5
    line.close()


def test_compaction_on_a_full_disk_harms_nothing(small: Path) -> None:
    """It says why, leaves no half file, and is done when there is room."""
    line = Line(small, {"people": {"1": people_model()}}, log={"segment_bytes": 4096})
    answered = [line.call("POST", "/predict", ROWS).json["prediction_ids"][0] for _ in range(60)]
    line.close()
    ballast = _fill(small / "log")
    done = work(line.home, line.settings, lambda _: None)
    assert (done["segments"], done["problem"][:10]) == (0, "[Errno 28]")
    assert _logged(small) == Counter(answered)
    ballast.unlink()
    done = work(line.home, line.settings, lambda _: None)
    assert done["segments"] > 1
    assert done["problem"] == ""
    assert segments(line.home.log) == []
    assert _logged(small) == Counter(answered)


def test_policy_serve_answers_and_counts(small: Path) -> None:
    """What could not be written is in no log, and that is known."""
    line = Line(small, {"people": {"1": people_model()}}, log={"on_error": "serve"})
    first = line.call("POST", "/predict", ROWS).json["prediction_ids"][0]
    ballast = _fill(small / "log")
    answers = [line.call("POST", "/predict", ROWS) for _ in range(60)]
    assert {answer.status for answer in answers} == {200}
    failures = line.counts()[0]["log_failures"]
    assert failures > 0
    assert len(_logged(small)) == 61 - failures
    ballast.unlink()
    last = line.call("POST", "/predict", ROWS).json["prediction_ids"][0]
    assert {first, last} <= _logged(small).keys()
    assert line.counts()[0]["log_failures"] == failures
    line.close()
