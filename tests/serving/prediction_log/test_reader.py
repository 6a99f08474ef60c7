"""The reader gives every whole record before a torn end, and finds one by arithmetic on its id."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import Follower, SegmentEnd, SegmentWriter, find, read, read_segment, segments
from tests.serving.prediction_log.examples import WRITER, assert_same, records

FIXTURE = Path(__file__).with_name("fixtures") / "format_1.segment"


def read_to_the_end(path: Path) -> tuple[list[PredictionRecord], SegmentEnd]:
    reading, found = read_segment(path), []
    while True:
        try:
            found.append(next(reading))
        except StopIteration as stop:
            return found, stop.value


def last_frame(data: bytes) -> int:
    """Where the last frame begins."""
    offset = 40
    while (following := offset + 8 + int.from_bytes(data[offset : offset + 4], "little")) < len(data):
        offset = following
    return offset


def test_a_whole_segment_ends_clean() -> None:
    """All bytes are accounted for."""
    found, end = read_to_the_end(FIXTURE)
    assert (len(found), end) == (4, SegmentEnd(FIXTURE.stat().st_size, 0))


def test_a_torn_end_costs_the_last_record_only(tmp_path: Path) -> None:
    """Cut at every byte of the last frame: three records are read, and the end says how much is torn."""
    data, path = FIXTURE.read_bytes(), tmp_path / "torn.segment"
    clean = last_frame(data)
    assert len(data) - clean > 90
    for size in range(clean, len(data)):
        path.write_bytes(data[:size])
        found, end = read_to_the_end(path)
        assert (len(found), end) == (3, SegmentEnd(clean, size - clean)), size


def test_a_damaged_frame_ends_the_segment(tmp_path: Path) -> None:
    """What comes after a flipped bit is not guessed at; the end says how much was left unread."""
    data, path = bytearray(FIXTURE.read_bytes()), tmp_path / "damaged.segment"
    clean = last_frame(bytes(data))
    data[clean + 20] ^= 4
    path.write_bytes(data)
    found, end = read_to_the_end(path)
    assert (len(found), end) == (3, SegmentEnd(clean, len(data) - clean))


def test_a_torn_header_holds_nothing(tmp_path: Path) -> None:
    """A writer may die at its very first byte."""
    for size in range(40):
        (tmp_path / "a.segment").write_bytes(FIXTURE.read_bytes()[:size])
        assert read_to_the_end(tmp_path / "a.segment") == ([], SegmentEnd(0, size))


def test_a_record_is_found_by_its_id(tmp_path: Path) -> None:
    """In the one segment that can hold it, out of several of several writers."""
    made = {}
    for writer_number in (WRITER, 7):
        ids, writer = IdSource(writer_number), SegmentWriter(tmp_path, writer_number, 700)
        for _ in range(12):
            ids.next(1)  # numbers that were given to requests without a prediction
            uuid = ids.next(1)[0]
            made[uuid] = records()[0]._replace(prediction_uuid=uuid, request_id=f"r{len(made)}")
            writer.append(made[uuid], ids.sequence - 1)
        writer.close()
    assert len(list(tmp_path.iterdir())) > 4
    for uuid, record in made.items():
        for row in (0, 1):
            found = find(tmp_path, prediction_id(uuid, row))
            assert found is not None
            assert_same(record, found)
        assert find(tmp_path, prediction_id(uuid, 2)) is None


def test_only_one_segment_is_opened_for_an_id(tmp_path: Path) -> None:
    """The others may be damaged beyond reading."""
    ids, writer = IdSource(WRITER), SegmentWriter(tmp_path, WRITER, 1)  # one record each
    uuids = [ids.next(1)[0] for _ in range(3)]
    for sequence, uuid in enumerate(uuids):
        writer.append(records()[0]._replace(prediction_uuid=uuid), sequence)
    first, second, third = sorted(tmp_path.iterdir())
    first.write_bytes(b"no segment at all" * 9)
    third.write_bytes(b"no segment at all" * 9)
    assert find(tmp_path, prediction_id(uuids[1], 0)) is not None
    assert second.exists()


def test_ids_that_are_not_here_are_not_found(tmp_path: Path) -> None:
    """An unknown writer, a sequence before the first, an id of another program, an empty folder."""
    writer = SegmentWriter(tmp_path, WRITER, 1 << 20)
    ids = IdSource(WRITER)
    early, late = ids.next(1), ids.next(1)
    writer.append(records()[0]._replace(prediction_uuid=late[0]), 1)
    assert find(tmp_path, f"{late[1]}-0") is not None
    assert find(tmp_path, f"{early[1]}-0") is None
    assert find(tmp_path, f"{IdSource(9).next(1)[1]}-0") is None
    assert find(tmp_path, "no id") is None
    assert find(tmp_path / "nothing", f"{late[1]}-0") is None


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    """Reading copies no numbers, and nobody changes what was logged."""
    writer = SegmentWriter(tmp_path, WRITER, 1 << 20)
    writer.append(records()[0]._replace(inputs={"x": np.arange(5.0)}), 0)
    (record,) = read(tmp_path)
    assert record.inputs["x"].base is not None
    assert not record.inputs["x"].flags.writeable


def test_a_follower_reads_each_record_once(tmp_path: Path) -> None:
    """As they come, over the ends of segments and writers; a torn tail is waited for, and stopping in between loses
    nothing."""
    many = [records()[0]._replace(request_id=f"r{number}") for number in range(6)]
    first, second = SegmentWriter(tmp_path, 1, 10**6), SegmentWriter(tmp_path, 2, 10**6)
    follower = Follower(tmp_path)
    assert list(follower.read()) == []
    for writer, number, sequence in ((first, 0, 0), (second, 1, 0), (first, 2, 1)):
        writer.append(many[number], sequence)
    assert sorted(found.request_id for found in follower.read()) == ["r0", "r1", "r2"]
    first.append(many[3], 2)
    first.close()
    first.append(many[4], 3)
    second.append(many[5], 1)
    some = follower.read()
    got = [next(some).request_id, *(found.request_id for found in follower.read())]
    assert sorted(got) == ["r3", "r4", "r5"]
    assert list(follower.read()) == []
    second.close()
    (segment,) = [path for path in segments(tmp_path) if path.name.startswith("000000002")]
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5])
    late = Follower(tmp_path)
    assert len(list(late.read())) == 5
    segment.write_bytes(whole)
    assert [found.request_id for found in late.read()] == ["r5"]
