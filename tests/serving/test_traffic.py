"""Points of traffic: each is what came since the one before, and the file is all that a reader needs."""

from __future__ import annotations

from pathlib import Path

import orjson

from serinus.serving.board import BOUNDS_NS, VALUE_BOUNDS, Board, Labels
from serinus.serving.traffic import Point, look, point, publish, published

OK = Labels("wine", "1", "stable", "/predict", "POST", 200, "")


def test_a_point_is_the_difference_of_two_looks(tmp_path: Path) -> None:
    """By version and role, over routes and outcomes; what has not changed is not in it."""
    board = Board(tmp_path)
    board.count(board.base(OK), 700_000, 2, -1)
    board.tally("predictions", "wine", "1", "stable", "red", amount=2)
    before = look(tmp_path, 100.0)
    assert point(before, before)[2:] == ([], [], [], [])
    for labels, time_ns in ((OK, 3_000_000), (OK._replace(route="/v2"), 10**12), (OK._replace(status=500), 1),
                            (OK._replace(status=422), 1), (OK._replace(version="2", role="candidate"), 1)):
        board.count(board.base(labels), time_ns, 3, -1)
    board.tally("predictions", "wine", "1", "stable", "red", amount=5)
    board.tally("violations", "wine", "range")
    board.observe(board.values_base("wine", "1", "stable"), [(7, 4)])
    board.level("memory", "wine", "1", amount=10**6)
    found = point(before, look(tmp_path, 105.0))
    board.close()
    slow, fast = [0] * (len(BOUNDS_NS) + 1), [1] + [0] * len(BOUNDS_NS)
    slow[0], slow[3], slow[-1] = 2, 1, 1
    assert found == Point(105.0, 5.0, [["wine", "1", "stable", 4, 12, 1, 1, slow],
                                       ["wine", "2", "candidate", 1, 3, 0, 0, fast]],
                          [["wine", "1", "stable", "red", 5]], [["wine", "1", "stable", "7", 4]],
                          [["wine", "range", 1]])


def test_the_file_tells_what_is_new(tmp_path: Path) -> None:
    """All points, or those behind a time; nothing where nobody wrote, or another release did."""
    empty = published(tmp_path)
    assert empty == {"points": [], "bounds_ms": [bound / 1e6 for bound in BOUNDS_NS],
                     "value_bounds": list(VALUE_BOUNDS)}
    publish(tmp_path, [Point(at, 5.0, [], [], [], [["wine", "range", 1]]) for at in (5.0, 10.0)])
    assert [each["time"] for each in published(tmp_path)["points"]] == [5.0, 10.0]
    assert published(tmp_path, after=5.0)["points"] == [
        {"time": 10.0, "seconds": 5.0, "served": [], "predicted": [], "values": [], "violated": [["wine", "range", 1]]}]
    (tmp_path / "traffic.json").write_bytes(orjson.dumps({"format": 99, "points": [{}]}))
    assert published(tmp_path) == empty
