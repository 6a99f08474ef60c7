"""Callers: put together from many tallies, each counts once, in the order of time, whatever is repeated."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from serinus.serving.rollout.callers import NOBODY, Callers, join, read_callers, write_callers
from serinus.serving.rollout.tally import BUCKET_S, Part, Tally, TallyReading, Window, read

NOW = 1_700_000_000 * 10**9
BUCKET = 1_700_000_000 // BUCKET_S
FIRST, SECOND = Window(0, BUCKET), Window(1, BUCKET)


def tally(folder: Path, worker: int) -> Tally:
    return Tally(folder, f"00{worker:02}", "wine", "r1", thresholds_ns=(10, 20, 30), labels=("red", "white"))


def readings(*tallies: Tally) -> list[TallyReading]:
    return [read(each.path) for each in tallies]


def test_a_caller_of_two_workers_counts_once(tmp_path: Path) -> None:
    """The earliest event wins, wherever it was seen and in whatever order the workers opened their windows."""
    one, two = tally(tmp_path, 1), tally(tmp_path, 2)
    two.begin_step(1)
    two.count(1, 8, two.assign(1, 8, NOW), Part.ERRORS)
    two.classify(1, 8, two.assign(1, 8, NOW), "white")
    one.count(0, 8, one.assign(0, 8, NOW), Part.ERRORS)
    one.classify(0, 8, one.assign(0, 8, NOW), "red")
    found = join(readings(one, two)).count()
    assert found[FIRST, "errors", 0] == 1 and (SECOND, "errors", 1) not in found
    assert found[FIRST, "class:0", 0] == 1 and (SECOND, "class:1", 1) not in found
    assert found[FIRST, "new", 0] == 1 and (SECOND, "new", 1) not in found
    assert found[SECOND, "active", 1] == 1


def test_to_whom_it_happened_with_stable_it_cannot_happen_with_the_candidate(tmp_path: Path) -> None:
    """So he is no unit of the candidate's for that; for everything else he is."""
    one = tally(tmp_path, 1)
    one.count(0, 8, one.assign(0, 8, NOW), Part.ERRORS)
    one.assign(0, 16, NOW)
    one.begin_step(1)
    for key in (8, 16):
        one.assign(1, key, NOW)
    found = join(readings(one)).count()
    assert (found[SECOND, "errors/units", 1], found[SECOND, "failures/units", 1]) == (1, 2)
    assert found[FIRST, "errors/units", 0] == 2


def test_the_finest_level_holds_for_all(tmp_path: Path) -> None:
    """Where one worker had to halve its sample, the callers that it let go are left out of the others' too."""
    one, two = tally(tmp_path, 1), tally(tmp_path, 2)
    for key in range(1, 9):
        one.assign(0, key, NOW)
        two.assign(0, key + 100, NOW)
    halved = read(two.path)._replace(level=2)
    joined = join([read(one.path), halved])
    assert sorted(joined.lines["key"].tolist()) == [4, 8, 104, 108]


def _slow(callers: list[TallyReading | Callers]) -> dict[tuple[Window, str, int], int]:
    """The same, one caller after the other, from the tallies alone."""
    events: dict[tuple[int, str], tuple[Window, int]] = {}
    for part in callers:
        assert isinstance(part, TallyReading)
        for line in part.callers:
            for number, name in enumerate(("failures", "errors", "invalid", "latency:p50", "latency:p95",
                                           "latency:p99")):
                word = int(line["events"][number])
                if word:
                    event = part.windows[(word & 0x7FFF) - 1], word >> 15
                    key = int(line["key"]), name
                    events[key] = min(events.get(key, event), event)
    found: dict[tuple[Window, str, int], int] = {}
    for (_, name), (window, arm) in events.items():
        found[window, name, arm] = found.get((window, name, arm), 0) + 1
    return found


def test_random_workers_agree_with_a_plain_count(tmp_path: Path) -> None:
    """Three workers, two steps, 200 callers: the joined counts are those of a loop over callers, in any order of the
    parts and with parts repeated; joining what is joined changes nothing."""
    rng = random.Random(4)
    tallies = [tally(tmp_path, number) for number in range(3)]
    for step in range(2):
        for each in tallies:
            each.begin_step(step)
        for _ in range(2_000):
            each, key = rng.choice(tallies), rng.randrange(1, 200) * 0x9E3779B97F4A7C15 % 2**64
            arm = int(key % 100 < (10, 50)[step])
            each.time(arm, key, each.assign(arm, key, NOW), rng.randrange(40))
    parts = readings(*tallies)
    joined = join(parts)
    counts = joined.count()
    assert {key: value for key, value in counts.items() if key[1].startswith("latency") and "/" not in key[1]} == _slow(
        list(parts))
    assert sum(value for key, value in counts.items() if key[1] == "new") == 199
    for again in (join([*reversed(parts), parts[0]]), join([join(parts[:2]), parts[2], parts[1]]), join([joined])):
        assert again.count() == counts


def test_what_dead_workers_knew_is_kept(tmp_path: Path) -> None:
    """In a file that gives back the same; without one there is nobody."""
    one = tally(tmp_path, 1)
    one.count(1, 8, one.assign(1, 8, NOW), Part.INVALID)
    callers = join(readings(one))
    write_callers(tmp_path / "kept", callers)
    again = read_callers(tmp_path / "kept")
    assert (again.windows, again.level) == (callers.windows, callers.level)
    assert np.array_equal(again.lines, callers.lines)
    assert read_callers(tmp_path / "nowhere").count() == join([]).count() == NOBODY.count() == {}
