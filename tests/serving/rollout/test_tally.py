"""Tallies: what a worker counted of a rollout is there for others at once, and each caller counts once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.serving.rollout import tally as module
from serinus.serving.rollout.tally import (
    BUCKET_S,
    CLASSES,
    OTHER,
    SOAK_STEP,
    Part,
    Tally,
    TallyError,
    Window,
    is_fresh,
    is_owned,
    note_crashes,
    part_name,
    read,
    step_name,
    step_number,
    tallies_in,
)

STABLE, CANDIDATE = 0, 1
NOW = 1_700_000_000 * 10**9
BUCKET = 1_700_000_000 // BUCKET_S
THRESHOLDS = (1_000, 2_000, 3_000)


@pytest.fixture
def tally(tmp_path: Path) -> Iterator[Tally]:
    made = Tally(tmp_path, "00ab", "wine", "r1", thresholds_ns=THRESHOLDS, labels=("red", "white"))
    yield made


def line(tally: Tally, key: int) -> dict[str, object]:
    """The line of one caller, by field."""
    callers = read(tally.path).callers
    (found,) = callers[callers["key"] == key]
    return {name: found[name].tolist() for name in callers.dtype.names or ()}


def test_requests_without_a_key_are_counted_by_window_arm_and_part(tally: Tally) -> None:
    """An assignment before its outcome; an outcome in the window of its assignment, however late."""
    first = tally.assign(STABLE, 0, NOW)
    tally.begin_step(1)
    second = tally.assign(CANDIDATE, 0, NOW + 1)
    tally.count(CANDIDATE, 0, second, Part.ERRORS)
    tally.count(STABLE, 0, first, Part.FAILURES)
    found = read(tally.path)
    assert (found.incarnation, found.model, found.rollout_id) == ("00ab", "wine", "r1")
    assert found.windows == (Window(0, BUCKET), Window(1, BUCKET))
    assert found.counts[:, :, Part.UNITS].tolist() == [[1, 0], [0, 1]]
    assert found.counts[:, :, Part.ERRORS].tolist() == [[0, 0], [0, 1]]
    assert found.counts[:, :, Part.FAILURES].tolist() == [[1, 0], [0, 0]]
    assert len(found.callers) == 0
    assert is_fresh(first) and is_fresh(second)


def test_slowness_is_counted_over_each_threshold(tally: Tally) -> None:
    """A request over the 99th percentile is over the others too; one exactly at a threshold is not over it."""
    for took in (1_000, 1_001, 2_500, 9_000):
        tally.time(STABLE, 0, tally.assign(STABLE, 0, NOW), took)
    assert read(tally.path).counts[0, STABLE, Part.LATENCY:Part.LATENCY + 3].tolist() == [3, 2, 1]


def test_without_thresholds_nothing_is_slow(tmp_path: Path) -> None:
    """Where stable had answered too little, latency is not compared."""
    tally = Tally(tmp_path, "00ab", "wine", "r1")
    tally.time(STABLE, 0, tally.assign(STABLE, 0, NOW), 10**12)
    assert read(tally.path).counts[0, STABLE, Part.LATENCY:Part.CLASS].sum() == 0


def test_classes_are_counted_by_name_and_strange_ones_are_remarked(tally: Tally) -> None:
    """A class that the signature does not know is no answer."""
    assert [tally.classify(STABLE, 0, tally.assign(STABLE, 0, NOW), label) for label in ("white", "red", "blue")] == [
        True, True, False]
    counts = read(tally.path).counts[0, STABLE]
    assert (counts[Part.CLASS:Part.CLASS + 2].tolist(), counts[OTHER]) == ([1, 1], 1)


def test_of_many_classes_the_last_ones_share_a_place(tmp_path: Path) -> None:
    """And none of them is strange."""
    tally = Tally(tmp_path, "00ab", "wine", "r1", labels=range(CLASSES + 5))
    assert tally.classify(STABLE, 0, tally.assign(STABLE, 0, NOW), CLASSES + 1)
    assert read(tally.path).counts[0, STABLE, OTHER] == 1


def test_a_caller_has_one_line_with_what_happened_first(tally: Tally) -> None:
    """The first window in each arm, the latest with the candidate, the first event and class; later ones are not
    looked at."""
    first = tally.assign(STABLE, 77, NOW)
    tally.classify(STABLE, 77, first, "red")
    tally.begin_step(1)
    second = tally.assign(CANDIDATE, 77, NOW)
    tally.classify(CANDIDATE, 77, second, "white")
    tally.count(CANDIDATE, 77, second, Part.ERRORS)
    tally.begin_step(2)
    third = tally.assign(CANDIDATE, 77, NOW)
    tally.count(CANDIDATE, 77, third, Part.ERRORS)
    found = line(tally, 77)
    candidates = 1 << 15
    assert (found["stable"], found["candidate"], found["last"]) == (1, 2, 3)
    assert found["events"] == [0, 2 | candidates, 0, 0, 0, 0]
    assert (found["class_window"], found["label"]) == (1, Part.CLASS)
    assert [is_fresh(each) for each in (first, second, third)] == [True, True, False]
    counts = read(tally.path).counts
    assert (counts[:, :, Part.UNITS].sum(), counts[:, :, Part.KEYED].sum(axis=0).tolist()) == (0, [1, 2])


def test_a_full_sample_keeps_every_second_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the key's hash, so the same ones in every worker and both arms; who is out is not counted any more."""
    monkeypatch.setattr(module, "CALLERS", 64)
    tally = Tally(tmp_path, "00ab", "wine", "r1")
    held = {key: tally.assign(key % 2, key << 1 | key >> 9 & 1, NOW) for key in range(1, 1_000)}
    found = read(tally.path)
    keys = found.callers["key"].tolist()
    assert 16 <= len(keys) <= 64
    assert all(key & (1 << found.level) - 1 == 0 for key in keys)
    assert len(set(keys)) == len(keys)
    assert tally.assign(STABLE, 1, NOW) == 0
    tally.count(STABLE, 1, held[1], Part.ERRORS)  # a request that was under way when its caller left the sample
    assert read(tally.path).callers["events"].sum() == 0


def test_windows_last_ten_minutes_and_later_six_hours(tally: Tally) -> None:
    """So that the longest rollout fits; counts of the very last window go on in it."""
    hour = 3_600 * 10**9
    for hours in range(24 * 90):
        tally.assign(STABLE, 0, NOW + hours * hour)
    found = read(tally.path)
    assert found.counts[:, STABLE, Part.UNITS].sum() == 24 * 90
    assert len(found.windows) == 256
    assert found.windows[1].bucket - found.windows[0].bucket == 6
    assert found.windows[250].bucket - found.windows[249].bucket == 36


def test_a_killed_worker_leaves_its_counts(tmp_path: Path) -> None:
    """SIGKILL: the lock is free, and everything that was counted is there."""
    script = ("import sys, time; from pathlib import Path; from serinus.serving.rollout.tally import Tally\n"
              "tally = Tally(Path(sys.argv[1]), '00ab', 'wine', 'r1')\n"
              "for key in range(1000): tally.assign(1, key, time.time_ns())\n"
              "print('ready', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE,
                          env={**os.environ}) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"ready\n"
        (path,) = tallies_in(tmp_path)
        assert is_owned(path)
        worker.send_signal(signal.SIGKILL)
    assert not is_owned(path)
    found = read(path)
    assert (len(found.callers), found.counts[:, 1, Part.UNITS].sum()) == (999, 1)


def test_a_closed_tally_still_takes_what_was_under_way(tally: Tally) -> None:
    """Its lock is free, and a request that ends later does no harm."""
    assigned = tally.assign(CANDIDATE, 0, NOW)
    tally.close()
    assert not is_owned(tally.path)
    tally.count(CANDIDATE, 0, assigned, Part.ERRORS)
    assert read(tally.path).counts[0, CANDIDATE, Part.ERRORS] == 1


def test_crashes_are_written_into_what_a_worker_left(tally: Tally, tmp_path: Path) -> None:
    """Once or twice, it is the same; where there is no tally, nothing was counted."""
    tally.assign(CANDIDATE, 0, NOW)
    for _ in range(2):
        note_crashes(tmp_path, "00ab", "r1", 3)
    note_crashes(tmp_path, "00ff", "r1", 3)
    assert read(tally.path).crashes == 3


def test_what_is_no_tally_is_said(tally: Tally, tmp_path: Path) -> None:
    """Too short, of another kind, or of a format to come."""
    data = tally.path.read_bytes()
    other = tmp_path / "other.tally"
    for damaged, said in ((b"", "no tally"), (b"x" * len(data), "no tally"), (data[:8] + b"\2" + data[9:], "format 2")):
        other.write_bytes(damaged)
        with pytest.raises(TallyError, match=said):
            read(other)


def test_steps_have_numbers_and_names() -> None:
    """The soak has a number of its own."""
    assert [step_number(name) for name in ("ab/0", "ab/7", "ab/soak")] == [0, 7, SOAK_STEP]
    assert [step_name("ab", number) for number in (0, 7, SOAK_STEP)] == ["ab/0", "ab/7", "ab/soak"]
    assert [part_name(place) for place in (Part.UNITS, Part.LATENCY + 2, OTHER)] == ["units", "latency:p99", "class:20"]
