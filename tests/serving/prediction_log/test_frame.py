"""Frames hold every record bit by bit, and a damaged one is noticed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from serinus.serving.prediction_log import read_segment
from serinus.serving.prediction_log.frame import (
    Context,
    FrameError,
    decode_context,
    decode_prediction,
    encode_context,
    encode_prediction,
    frame,
    pack_header,
    unframe,
    unpack_header,
)
from tests.serving.prediction_log.examples import FIRST, NOW_NS, WRITER, assert_same, records, texts, write

FIXTURE = Path(__file__).with_name("fixtures") / "format_1.segment"
NUMBERS = st.sampled_from([np.dtype(code) for code in "?BHILbhilefd"])


def test_the_writer_gives_the_bytes_of_format_1(tmp_path: Path) -> None:
    """All but the time at which the segment was begun is the same, byte for byte."""
    write(tmp_path, records()).close()
    (made,) = tmp_path.iterdir()
    assert made.name == f"{WRITER:09x}-{FIRST:010x}.segment"
    data = bytearray(made.read_bytes())
    data[32:40] = NOW_NS.to_bytes(8, "little")
    assert bytes(data) == FIXTURE.read_bytes()


def test_a_segment_of_format_1_is_read() -> None:
    """What the first release wrote comes back: types, gaps, texts, shapes, ids, and contexts that take turns."""
    found = list(read_segment(FIXTURE))
    assert len(found) == 4
    for expected, record in zip(records(), found, strict=True):
        assert_same(expected, record)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """The sentence says what was found and what to do."""
    newer = bytearray(FIXTURE.read_bytes())
    newer[8:10] = (2).to_bytes(2, "little")
    (tmp_path / "a.segment").write_bytes(newer)
    with pytest.raises(FrameError, match="segment has format 2, this program reads format 1: upgrade it"):
        list(read_segment(tmp_path / "a.segment"))


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """Whatever lies about under a segment's name is not taken for records."""
    (tmp_path / "a.segment").write_bytes(b"PAR1" * 100)
    with pytest.raises(FrameError, match="not a prediction log segment"):
        list(read_segment(tmp_path / "a.segment"))


def test_the_header_comes_back() -> None:
    """Writer, first sequence and time of creation."""
    assert unpack_header(pack_header(2**34 - 1, 2**40 - 1, NOW_NS)) == (2**34 - 1, 2**40 - 1, NOW_NS)


@given(st.integers(0, 2**16 - 1), st.text(), st.lists(st.text(), max_size=5), st.lists(st.text(), max_size=5))
def test_a_context_comes_back(number: int, name: str, inputs: list[str], outputs: list[str]) -> None:
    """Any names, in order."""
    context = Context("wine", name, "stable", tuple(inputs), tuple(outputs))
    assert decode_context(memoryview(encode_context(number, context))) == (number, context)


@given(hn.arrays(NUMBERS, hn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_any_array_of_numbers_comes_back(array: np.ndarray) -> None:
    """Every bit of it, NaN's payload included, from any shape."""
    assert_same(_record(array), _through(_record(array)))


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=[])), max_size=6))
def test_any_texts_come_back(values: list[str | None]) -> None:
    """Missing stays missing, an empty text an empty text, and half a surrogate pair is kept as it came."""
    assert_same(_record(texts(*values)), _through(_record(texts(*values))))


def test_half_a_surrogate_pair_is_kept() -> None:
    """A model may answer it; the log takes whatever it is given."""
    assert _through(_record(texts("\ud800"))).inputs["x"].tolist() == ["\ud800"]


def test_an_array_need_not_be_contiguous() -> None:
    """A column of a matrix is logged as the values it shows."""
    column = np.arange(12.0).reshape(4, 3)[::2, 1]
    assert _through(_record(column)).inputs["x"].tolist() == [1.0, 7.0]


def test_a_wide_table_is_logged() -> None:
    """A thousand columns are a thousand arrays."""
    wide = _record(np.zeros(1))._replace(inputs={f"c{n}": np.array([float(n)]) for n in range(1000)})
    assert_same(wide, _through(wide))


def test_remarks_stand_behind_the_arrays() -> None:
    """Violations and novelty come back; a frame without any is the same as before there were remarks."""
    plain = _record(np.array([1.0, 2.0]))
    remarked = plain._replace(violations={"range": 2}, novelty=np.array([0.25, np.nan]))
    assert_same(remarked, _through(remarked))
    assert encode_prediction(remarked, 0).startswith(encode_prediction(plain, 0))


def test_a_remark_of_a_newer_program_is_passed_over() -> None:
    """Its length says where the next one begins."""
    plain = _record(np.array([1.0]))._replace(violations={"type": 1})
    known = encode_prediction(plain, 0)
    bare = len(encode_prediction(plain._replace(violations=None), 0))
    newer = known[:bare] + struct.pack("<BI", 99, 3) + b"new" + known[bare:]
    assert_same(plain, decode_prediction(memoryview(newer), {0: _context(plain)}))


def test_a_flipped_bit_is_noticed() -> None:
    """In length, checksum or payload: the frame does not count."""
    whole = frame(encode_prediction(records()[0], 0))
    assert unframe(memoryview(whole), 0) is not None
    for place in range(len(whole)):
        for bit in (0x01, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            assert unframe(memoryview(damaged), 0) is None, place


def test_a_frame_of_zeros_is_none() -> None:
    """A file system may fill the end of a file with zeros when the power goes."""
    assert unframe(memoryview(bytes(64)), 0) is None


def test_a_record_without_its_context_is_refused() -> None:
    """Rather than given to another model."""
    with pytest.raises(FrameError, match="context 5, which its segment does not hold"):
        decode_prediction(memoryview(encode_prediction(records()[0], 5)), {})


def test_an_unknown_type_code_is_refused() -> None:
    """Its size cannot be known, so nothing after it can."""
    payload = bytearray(encode_prediction(_record(np.zeros(1)), 0))
    start = payload.index(struct.pack("<BBQQ", 12, 1, 1, 8))
    payload[start] = 99
    with pytest.raises(FrameError, match="unknown type code 99"):
        decode_prediction(memoryview(payload), {0: _context(_record(np.zeros(1)))})


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """A whole frame of another kind comes from a newer program, not from a crash."""
    path = tmp_path / "a.segment"
    path.write_bytes(pack_header(1, 1, 1) + frame(b"\x09new"))
    with pytest.raises(FrameError, match=r"a\.segment: unknown frame kind 9"):
        list(read_segment(path))


def _record(array: np.ndarray):
    return records()[0]._replace(inputs={"x": array}, outputs={})


def _context(record) -> Context:
    return Context(record.model, record.version, record.role, tuple(record.inputs), tuple(record.outputs))


def _through(record):
    return decode_prediction(memoryview(encode_prediction(record, 0)), {0: _context(record)})
