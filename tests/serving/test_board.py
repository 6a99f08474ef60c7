"""The board keeps what a worker counted, however the worker ends, and it is added to the totals exactly once."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.serving.board import (
    BOUNDS_NS,
    Board,
    BoardError,
    Counts,
    Exemplar,
    Labels,
    Mark,
    Series,
    adopt,
    boards_in,
    is_owned,
    mark_tag,
    merge,
    read,
    read_all,
    start_ticks,
)
from tests.serving.fixtures.make_board_1 import FAILED, STABLE, fill

FIXTURES = Path(__file__).with_name("fixtures")
ROOT = Path(__file__).parents[2]
OVERFLOW = Labels("", "", "", "overflow", "", 0, "")

WORKER = """
import sys, time
from pathlib import Path
from serinus.serving.board import Board, Labels

board = Board(Path(sys.argv[1]))
base = board.base(Labels("wine", "1", "stable", "/predict", "POST", 200, ""))
for number in range(1000):
    board.count(base, 700_000, 2, 100_000)
board.log_counts(1000, 5000)
board.begin(2, 1)
print("counted", flush=True)
time.sleep(60)
"""

KILLED_WHILE_ADOPTING = """
import os, signal, sys
from pathlib import Path
from serinus.serving.board import adopt

Path.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # the totals are written, the board is still there
adopt(Path(sys.argv[1]))
"""


def child(script: str, argument: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(argument)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def orphan(tmp_path: Path) -> Path:
    """The board of a worker that counted a thousand requests and was killed (SIGKILL) during a predict call."""
    worker = child(WORKER, tmp_path)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "counted\n"
    (path,) = boards_in(tmp_path)
    assert is_owned(path)
    worker.kill()
    worker.communicate()
    assert not is_owned(path)
    return path


# Format 1


def test_a_board_has_the_bytes_of_format_1(tmp_path: Path) -> None:
    """Layout, words and keys are what the first release wrote."""
    assert fill(tmp_path).read_bytes() == gzip.decompress((FIXTURES / "board_1.board.gz").read_bytes())


def test_a_board_of_format_1_is_read(tmp_path: Path) -> None:
    """Every count, label, mark and word of a board that an older release left behind."""
    path = tmp_path / "a.board"
    path.write_bytes(gzip.decompress((FIXTURES / "board_1.board.gz").read_bytes()))
    found = read(path)
    assert (found.pid, found.start_ticks, found.incarnation) == (4242, 99_000, "fedcba9876543211")
    assert (found.started_ns, found.heartbeat_ns, found.ready) == (10**18 + 1, 77, True)
    assert (found.veto_sequence, found.generation, found.in_flight) == (5, 9, 1)
    assert found.marks == (Mark(2, 78),)
    assert found.counters == {
        "log_frames": 2,
        "log_bytes": 345,
        "log_failures": 1,
        "spans_exported": 4,
        "spans_dropped": 2,
        "load_failures": 1,
    }
    assert found.series == {
        STABLE: Series(20_000_600_000, 4, 11_000_090_000, 2, _buckets(1, 17), _buckets(0, 17)),
        FAILED: Series(500_000, 1, 0, 0, _buckets(0), _buckets()),
    }


def test_totals_of_format_1_are_read(tmp_path: Path) -> None:
    """What an older release adopted is still counted, and its boards are not counted again."""
    path = fill(tmp_path)
    (tmp_path / "adopted.json").write_bytes((FIXTURES / "adopted_1.json").read_bytes())
    (counters, series), readings = read_all(tmp_path)
    assert readings == []  # the board is still there, but the totals name it
    assert counters["log_bytes"] == 345
    assert series[STABLE].requests == 2
    assert adopt(path) is not None
    assert read_all(tmp_path)[0] == (counters, series)


def test_a_board_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """Read it as something else, and its counts would be lies; of whatever size it is."""
    path = fill(tmp_path)
    data = bytearray(path.read_bytes())
    data[8:16] = (2).to_bytes(8, "little")
    for newer in (data, data + bytes(4096)):
        path.write_bytes(newer)
        with pytest.raises(BoardError, match="has format 2, this program reads format 1: upgrade it"):
            read(path)
        assert adopt(path) is None
        assert path.exists()  # for the program that knows it


def test_totals_of_a_newer_format_are_refused(tmp_path: Path) -> None:
    """Nothing is counted without them, and nothing is adopted into them."""
    path = fill(tmp_path)
    newer = orjson.loads((FIXTURES / "adopted_1.json").read_bytes()) | {"format": 2}
    (tmp_path / "adopted.json").write_bytes(orjson.dumps(newer))
    for attempt in (lambda: adopt(path), lambda: read_all(tmp_path)):
        with pytest.raises(BoardError, match=r"adopted\.json has format 2, this program reads 1: upgrade it"):
            attempt()
    assert path.exists()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: bytes(len(data)), lambda data: data[:-1]])
def test_what_is_no_board_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A file that is only being made, or was cut short, is none."""
    path = fill(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BoardError):
        read(path)
    assert read_all(tmp_path) == (({}, {}), [])


# Counting


def test_counts_are_exact(tmp_path: Path) -> None:
    """Each request is in one bucket, at its upper bound included; a request without a predict call has none."""
    board = Board(tmp_path)
    base = board.base(STABLE)
    for bound in BOUNDS_NS:
        board.count(base, bound, 1, bound + 1)
    board.count(base, BOUNDS_NS[-1] + 1, 5, -1)
    series = read(board.path).series[STABLE]
    assert series.duration_buckets == (1,) * 18
    assert series.predict_buckets == (0, *(1,) * 17)
    assert (series.rows, series.requests, series.predicts) == (22, 18, 17)
    assert series.duration_ns == sum(BOUNDS_NS) + BOUNDS_NS[-1] + 1
    assert series.predict_ns == sum(BOUNDS_NS) + 17


def test_what_does_not_fit_goes_to_overflow(tmp_path: Path) -> None:
    """However many label values there are, no request is lost, and the known series go on."""
    board = Board(tmp_path)
    many = [STABLE._replace(version=str(number)) for number in range(300)]
    for _ in range(2):
        for labels in many:
            board.count(board.base(labels), 1, 1, -1)
    series = read(board.path).series
    assert len(series) == 256
    assert [series[labels].requests for labels in many[:255]] == [2] * 255
    assert series[OVERFLOW].requests == 2 * 45


def test_a_key_longer_than_its_place_goes_to_overflow(tmp_path: Path) -> None:
    """On an empty board too; it does not run into the counts beside it."""
    board = Board(tmp_path)
    board.count(board.base(STABLE._replace(model="m" * 300)), 1, 1, -1)
    board.count(board.base(STABLE), 1, 1, -1)
    series = read(board.path).series
    assert {labels: found.requests for labels, found in series.items()} == {OVERFLOW: 1, STABLE: 1}


def test_a_mark_tells_whose_call_it_is(tmp_path: Path) -> None:
    """Its kind, and the version's tag; what is abandoned is not under way any more."""
    board = Board(tmp_path)
    board.begin(2 | mark_tag("wine", "2") << 8, 7)
    (mark,) = read(board.path).marks
    assert (mark.kind, mark.started_ns, mark.tag) == (2, 7, mark_tag("wine", "2"))
    assert mark_tag("wine", "2") != mark_tag("wine", "3")
    board.abandon()
    assert read(board.path).marks == ()


def test_marks_show_calls_under_way(tmp_path: Path) -> None:
    """More at once than there are slots share the last one; when all came back nothing is left."""
    board = Board(tmp_path)
    slots = [board.begin(1, 1) for _ in range(70)]
    found = read(board.path)
    assert (len(found.marks), found.in_flight) == (64, 70)
    for slot in slots:
        board.end(slot)
    found = read(board.path)
    assert (found.marks, found.in_flight) == ((), 0)
    assert len({board.begin(1, 1) for _ in range(63)}) == 63  # the shared slot was not given out twice


def test_the_shared_slot_lasts_until_all_came_back(tmp_path: Path) -> None:
    """And says that a candidate is among them, whatever came after."""
    board = Board(tmp_path)
    for _ in range(63):
        board.begin(1, 1)
    slots = [board.begin(kind, 1) for kind in (1, 2, 1)]
    for slot in slots[:2]:
        board.end(slot)
        assert read(board.path).marks[-1].kind == 2
    board.end(slots[2])
    assert len(read(board.path).marks) == 63


def test_a_forked_child_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    """It inherits the lock, and may outlive the worker: the board is nobody's all the same."""
    process = child("import os, sys, time; from pathlib import Path; from serinus.serving.board import Board; "
                    "board = Board(Path(sys.argv[1])); board.begin(2, 1); pid = os.fork(); "
                    "print(pid, flush=True) if pid else time.sleep(60); os.kill(os.getpid(), 9)", tmp_path)
    assert process.stdout is not None
    orphan = int(process.stdout.readline())
    try:
        process.wait(10)
        (path,) = boards_in(tmp_path)
        assert not is_owned(path)
        assert [mark.kind for mark in read(path).marks] == [2]
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_worker_says_how_it_is(tmp_path: Path) -> None:
    """Ready, generation, veto and heartbeat are seen by others at once."""
    board = Board(tmp_path)
    board.beat(ready=True, generation=3)
    board.acknowledge_veto(2)
    found = read(board.path)
    assert (found.ready, found.generation, found.veto_sequence) == (True, 3, 2)
    board.beat(ready=False, generation=4)
    later = read(board.path)
    assert (later.ready, later.generation) == (False, 4)
    assert later.heartbeat_ns > found.heartbeat_ns
    assert (found.pid, found.start_ticks) == (os.getpid(), start_ticks(os.getpid()))


def test_the_lock_says_whether_the_owner_lives(tmp_path: Path) -> None:
    """Not the pid, which another process may have by now."""
    board = Board(tmp_path)
    assert is_owned(board.path)
    board.close()
    assert not is_owned(board.path)
    assert not is_owned(tmp_path / "gone.board")


def test_no_process_has_no_start() -> None:
    """So a run folder of it is dead."""
    assert start_ticks(2**22 + 1) == 0


# Adopting


def test_what_a_killed_worker_counted_stays(orphan: Path) -> None:
    """After SIGKILL every request is in the totals, before and after the adoption, and the mark tells of the crash."""
    before, _ = read_all(orphan.parent)
    reading = adopt(orphan)
    assert reading is not None
    assert [mark.kind for mark in reading.marks] == [2]
    assert not orphan.exists()
    after, readings = read_all(orphan.parent)
    assert after == before
    assert readings == []
    (series,) = after[1].values()
    assert (series.requests, series.rows, after[0]["log_frames"]) == (1000, 2000, 1000)


def test_a_board_is_adopted_exactly_once(orphan: Path) -> None:
    """Also when the adopter is killed after it wrote the totals and before it removed the board."""
    before, _ = read_all(orphan.parent)
    for _ in range(2):
        adopter = child(KILLED_WHILE_ADOPTING, orphan)
        adopter.communicate()
        assert adopter.returncode == -signal.SIGKILL
        assert orphan.exists()
        assert (orphan.parent / "adopted.json").exists()
        assert read_all(orphan.parent)[0] == before
    assert adopt(orphan) is not None
    assert not orphan.exists()
    assert read_all(orphan.parent)[0] == before


def test_totals_of_many_lives_add_up(tmp_path: Path) -> None:
    """Ten workers one after another, one alive: nobody is lost, nobody counts twice."""
    for life in range(11):
        board = Board(tmp_path)
        board.count(board.base(STABLE), 1000, life, -1)
        board.log_counts(1, 10)
        if life < 10:
            board.close()
            assert adopt(board.path) is not None
    (counters, series), readings = read_all(tmp_path)
    assert (series[STABLE].requests, series[STABLE].rows, counters["log_frames"]) == (11, 55, 11)
    assert [reading.incarnation for reading in readings] == [board.incarnation]


def test_a_board_that_is_gone_is_not_adopted(tmp_path: Path) -> None:
    """Somebody was faster."""
    assert adopt(tmp_path / "gone.board") is None
    assert read_all(tmp_path) == (({}, {}), [])


def test_rare_counters_have_labels_of_their_own(tmp_path: Path) -> None:
    """They add up over living and dead workers like the others; beyond the board's room they are left out."""
    boards = [Board(tmp_path) for _ in range(2)]
    for board in boards:
        board.tally("violations", "wine", "type_mismatch")
        board.tally("violations", "wine", "type_mismatch", amount=4)
        board.tally("violations", "x" * 300, "too_long")
    boards[0].close()
    assert adopt(boards[0].path) is not None
    (counters, series), _ = read_all(tmp_path)
    assert {name: value for name, value in counters.items() if name.startswith("[")} == {
        '["violations","wine","type_mismatch"]': 10}
    assert series == {}


def test_a_full_board_has_no_room_for_rare_counters(tmp_path: Path) -> None:
    """What has no room is left out; the series that overflow are kept apart from it."""
    board = Board(tmp_path)
    for number in range(300):
        board.count(board.base(STABLE._replace(version=str(number))), 1, 1, 1)
    board.tally("violations", "wine", "late")
    (counters, series), _ = read_all(tmp_path)
    assert not [name for name in counters if name.startswith("[")]
    assert sum(counted.requests for counted in series.values()) == 300


# Merging

small = st.integers(0, 2**63)
labels = st.builds(
    Labels,
    st.sampled_from("ab"),
    st.sampled_from("12"),
    st.sampled_from(("stable", "candidate")),
    st.just("/predict"),
    st.just("POST"),
    st.sampled_from((200, 500)),
    st.just(""),
)
series = st.builds(Series, small, small, small, small, st.tuples(*[small] * 18), st.tuples(*[small] * 18), small, small,
                   st.tuples(*[small] * 8), st.tuples(*[small] * 8), st.builds(Exemplar, *[small] * 5))
counts = st.tuples(
    st.dictionaries(st.sampled_from(("log_frames", "log_bytes")), small), st.dictionaries(labels, series, max_size=3)
)


@settings(max_examples=40)
@given(st.lists(counts, max_size=4))
def test_a_sum_has_no_order(parts: list[Counts]) -> None:
    """Merging is commutative."""
    assert all(merge(order) == merge(parts) for order in permutations(parts))


@settings(max_examples=40)
@given(counts, counts, counts)
def test_a_sum_has_no_brackets(a: Counts, b: Counts, c: Counts) -> None:
    """Merging is associative, and nothing is its zero."""
    assert merge([merge([a, b]), c]) == merge([a, merge([b, c])]) == merge([a, b, c])
    assert merge([a, ({}, {})]) == merge([a]) == a


@settings(max_examples=40)
@given(st.lists(counts, max_size=4))
def test_a_sum_is_exact(parts: list[Counts]) -> None:
    """Beyond 64 bits too."""
    counters, merged = merge(parts)
    assert sum(counters.values()) == sum(sum(part[0].values()) for part in parts)
    assert sum(found.requests for found in merged.values()) == sum(
        found.requests for part in parts for found in part[1].values()
    )


def _buckets(*filled: int) -> tuple[int, ...]:
    return tuple(int(bucket in filled) for bucket in range(18))
