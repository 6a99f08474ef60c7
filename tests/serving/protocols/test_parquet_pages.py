"""Headers of pages: read as they were written, and never trusted further than the bytes go."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from serinus.serving.protocols.parquet_pages import BadPages, PageWalk


def integer(number: int) -> bytes:
    """Zigzag and seven bits a byte, as Thrift's compact protocol has it."""
    number, parts = (number << 1) ^ (number >> 63), []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def page(packed: int = 0, unpacked: int = 0, values: int = 1, encoding: int = 0, *, second: bool = False) -> bytes:
    """A data page of zeros behind its header."""
    data = b"\x15" + integer(values)
    data += b"\x35" + integer(encoding) if second else b"\x15" + integer(encoding)
    header = b"\x15\x00\x15" + integer(unpacked) + b"\x15" + integer(packed)
    return header + (b"\x5c" if second else b"\x2c") + data + b"\x00\x00" + bytes(packed)


@pytest.mark.parametrize("second", [False, True])
def test_pages_are_added_up(second: bool) -> None:
    """Their bytes, or eight for each value where that is more."""
    many = page(10, 1000, 2, second=second) + page(5, 500, 3, second=second)
    assert PageWalk(many).pages(0, len(many)) == (1500, False)
    few = page(10, 1000, 10**6, second=second)
    assert PageWalk(few).pages(0, len(few)) == (8 * 10**6, False)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zstd", "data_page_version": "2.0"}, {"use_dictionary": False}, {"data_page_size": 1}],
)
def test_pages_of_a_real_file(options: dict[str, Any]) -> None:
    """All that its metadata says, less the headers; and whether there is a dictionary."""
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"x": ["a", "b"] * 5000}), buffer, **options)
    body = buffer.getvalue()
    chunk = parquet.read_metadata(io.BytesIO(body)).row_group(0).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    pages = PageWalk(body).pages(start, start + chunk.total_compressed_size)
    assert pages.repeat == (options.get("use_dictionary") is not False)
    assert pages.unpacked >= 80_000 or pages.unpacked >= 0.9 * chunk.total_uncompressed_size


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (page(10, 20)[:-1], "a page of impossible size"),
        (page(10, -20), r"a page of impossible size \(10 bytes, -20 unpacked\)"),
        (page(values=-1), "an impossible number of values"),
        (page(encoding=7), "DELTA_BYTE_ARRAY, which is not read here"),
        (page(encoding=7, second=True), "DELTA_BYTE_ARRAY, which is not read here"),
        (page()[:5], "cut short"),
        (b"\x00", "a page of impossible size"),
        (b"\x15" + b"\xff" * 20, "an endless number"),
        (b"\x19\x00", "cannot be read"),
        (b"\x5c\x18\x05abc", "cut short"),
        (b"\x5c" * 100, "cannot be read"),
        (b"\x55\x02\x00", "a page of impossible size"),
        (page() * 50_000, "too many pages"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes, sentence: str) -> None:
    """With the place, where it helps."""
    with pytest.raises(BadPages, match=sentence):
        PageWalk(body).pages(0, len(body))


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (2, 1), (0, 10**9)])
def test_pages_lie_within_the_file(start: int, end: int) -> None:
    """Whatever the metadata says."""
    with pytest.raises(BadPages, match="a column outside of itself"):
        PageWalk(page()).pages(start, end)


@given(st.binary(max_size=40))
def test_any_bytes_end_well(body: bytes) -> None:
    """In a size, or in the one error."""
    try:
        assert PageWalk(body).pages(0, len(body)).unpacked >= 0
    except BadPages as error:
        assert len(str(error)) < 200
