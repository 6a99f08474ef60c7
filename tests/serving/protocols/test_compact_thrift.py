"""Thrift's compact protocol: read as it is written, and never trusted further than the bytes go."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.serving.protocols.compact_thrift import Fields, Malformed, ThriftReader


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def integer(value: int) -> bytes:
    """Zigzag: the sign in the lowest bit."""
    return number((value << 1) ^ (value >> 63))


def read(body: bytes) -> Fields:
    fields, end = ThriftReader(body).structure(0, len(body))
    assert end == len(body)
    return fields


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 15), st.integers(16, 30_000))
def test_integers_are_exact(value: int, near: int, far: int) -> None:
    """Whether a field's number is told by its distance or in full."""
    body = bytes([near << 4 | 6]) + integer(value) + b"\x05" + integer(far) + integer(-7) + b"\x00"
    assert read(body) == {near: value, far: -7}


def test_every_type_of_value() -> None:
    """Booleans are their types; texts are views; doubles are passed over; lists and structures hold the others."""
    body = (
        b"\x11\x12\x13\x05\x17"
        + b"\0" * 8
        + b"\x18\x02ab"  # true, false, byte, double, text
        + b"\x19\x25"
        + integer(-1)
        + integer(2)  # a short list of integers
        + b"\x19\xf8"
        + number(20)
        + b"\x01x" * 20  # a long list of texts
        + b"\x1c\x15\x02\x00"
        + b"\x19\x1c\x00"
        + b"\x00"  # a structure, a list of one that is empty
    )
    fields = read(body)
    assert bytes(fields[5]) == b"ab" and [bytes(text) for text in fields[7]] == [b"x"] * 20
    assert {key: value for key, value in fields.items() if key not in (5, 7)} == {
        1: True,
        2: False,
        3: 5,
        4: None,
        6: [-1, 2],
        8: {1: 1},
        9: [{}],
    }


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "cut short"),
        (b"\x15", "cut short"),
        (b"\x18\x7fab\x00", "cut short"),
        (b"\x17\x00", "cut short"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f\x00", "cut short"),
        (b"\x15" + b"\xff" * 20, "an endless number"),
        (b"\x1b\x00", "cannot be read at byte 1"),
        (b"\x1f\x00", "cannot be read"),
        (b"\x15\x02\x05\x02\x02\x00", "has field 1 twice"),
        (b"\x1c" * 100, "nested too deeply"),
        (b"\x19\x19" * 100_000, "cannot be read|cut short|too deeply|too many"),
    ],
)
def test_what_is_no_structure_is_refused(body: bytes, sentence: str) -> None:
    """In the middle of a sentence."""
    with pytest.raises(Malformed, match=sentence):
        ThriftReader(body).structure(0, len(body))


def test_patience_is_shared_by_all_structures() -> None:
    """A file with a million of them costs no more than a moment."""
    body = b"\x15\x02\x15\x02\x00" * 400_000
    reader, at, started = ThriftReader(body), 0, time.process_time()
    with pytest.raises(Malformed, match="too many columns, row groups or pages"):
        while True:
            _, at = reader.structure(at, len(body))
    assert time.process_time() - started < 5


@given(st.binary(max_size=40))
def test_any_bytes_end_well(body: bytes) -> None:
    """In fields, or in the one error."""
    try:
        ThriftReader(body).structure(0, len(body))
    except Malformed as error:
        assert len(str(error)) < 200
