"""The layout of a Parquet file: what its writer says, and what the headers of its pages say."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from serinus.serving.protocols.compact_thrift import Malformed
from serinus.serving.protocols.parquet_layout import Chunk, Layout
from tests.serving.protocols.test_compact_thrift import integer


def written(table: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(table), buffer, **options)
    return buffer.getvalue()


NESTED = {
    "a.b": [1, 2, 3],
    "s": [{"x": 1.5, "y": {"z": "t"}}] * 3,
    "l": [[[1, 2]], [], None],
    "t": ["é", None, "é"],
    "m": pa.array([[("k", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
}
SMALL = written({"x": [1, 2, 3], "y": ["a", "b", "a"]})


@pytest.mark.parametrize("options", [{}, {"row_group_size": 1}, {"compression": "zstd", "data_page_version": "2.0"}])
def test_a_layout_is_what_pyarrow_says(options: dict[str, Any]) -> None:
    """Rows, paths of columns, places and sizes, for every shape of a column."""
    body = written(NESTED, **options)
    layout, metadata = Layout(body), parquet.read_metadata(io.BytesIO(body))
    assert layout.rows == metadata.num_rows
    assert layout.paths == [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    chunks = [
        metadata.row_group(group).column(number)
        for group in range(metadata.num_row_groups)
        for number in range(metadata.num_columns)
    ]
    assert [chunk.end - chunk.start for chunk in layout.chunks] == [chunk.total_compressed_size for chunk in chunks]
    assert [chunk.values for chunk in layout.chunks] == [chunk.num_values for chunk in chunks]
    for ours, theirs in zip(layout.chunks, chunks, strict=True):
        assert ours.start == (theirs.dictionary_page_offset or theirs.data_page_offset)
        pages = layout.pages(ours)
        assert pages.repeat == theirs.has_dictionary_page
        assert pages.unpacked >= 8 * theirs.num_values


def page(packed: int = 0, unpacked: int = 0, values: int = 1, encoding: int = 0, *, second: bool = False) -> bytes:
    """A data page of zeros behind its header."""
    data = b"\x15" + integer(values) + (b"\x35" if second else b"\x15") + integer(encoding)
    header = b"\x15\x00\x15" + integer(unpacked) + b"\x15" + integer(packed)
    return header + (b"\x5c" if second else b"\x2c") + data + b"\x00\x00" + bytes(packed)


def pages(body: bytes, values: int = 0) -> Any:
    """Of a file that begins with these, whatever it says itself."""
    layout = Layout(SMALL)
    layout._reader = type(layout._reader)(body)
    return layout.pages(Chunk(0, 0, len(body), values))


@pytest.mark.parametrize("second", [False, True])
def test_pages_are_added_up(second: bool) -> None:
    """Their bytes, or eight for each value, as they or the metadata say, where that is more."""
    assert pages(page(10, 1000, 2, second=second) + page(5, 500, 3, second=second)) == (1500, False)
    assert pages(page(10, 1000, 10**6, second=second)) == (8 * 10**6, False)
    assert pages(page(10, 1000, second=second), 10**9) == (8 * 10**9, False)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (page(10, 20)[:-1], "a page of impossible size"),
        (page(10, -20), "a page of impossible size at byte 13"),
        (page(values=-1), "an impossible number of values"),
        (page(encoding=7), "DELTA_BYTE_ARRAY, which is not read here"),
        (page(encoding=7, second=True), "DELTA_BYTE_ARRAY, which is not read here"),
        (b"\x00", "a page of impossible size"),
        (b"\x55\x02\x00", "a page of impossible size"),
        (page(10, 20)[:5], "cut short"),
        (page() * 100_000, "too many columns, row groups or pages"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes, sentence: str) -> None:
    """Before anything is unpacked."""
    with pytest.raises(Malformed, match=sentence):
        pages(body)


def metadata(schema: bytes, rows: int = 1, groups: bytes = b"\x19\x0c") -> bytes:
    """A file of metadata alone."""
    text = b"\x15\x02" + schema + b"\x16" + integer(rows) + groups + b"\x00"
    return b"PAR1" + text + len(text).to_bytes(4, "little") + b"PAR1"


LEAF = b"\x48\x01x\x00"
ROOT = b"\x48\x01r\x15\x02\x00"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (SMALL[:-1], "expected PAR1 at both of its ends"),
        (SMALL[:-8] + b"\xff\xff\xff\x7fPAR1", "its metadata is over 1048576 bytes"),
        (SMALL[:-8] + b"\xff\xff\x0f\x00PAR1", "its metadata is larger than itself"),
        (metadata(b"\x19\x2c" + ROOT + LEAF), r"it says 1 rows, and its row groups say \[\]"),
        (metadata(b"\x19\x2c" + ROOT + LEAF, -1), "it says -1 rows"),
        (metadata(b"\x19\x1c" + ROOT), "its schema ends early"),
        (metadata(b"\x19\x3c" + ROOT + LEAF + LEAF), "its schema is not a tree, or too deep"),
        (metadata(b"\x19\xfc\x1e" + ROOT * 30), "its schema is not a tree, or too deep"),
        (metadata(b"\x19\x2c" + ROOT + b"\x15\x02\x00"), "a column without a name"),
        (metadata(b"\x15\x02"), "its metadata is not that of a table"),
        (metadata(b"\x19\x2c" + ROOT + LEAF, 0, b"\x15\x02"), "its metadata is not that of a table"),
        (
            metadata(b"\x19\x2c" + ROOT + LEAF, 1, b"\x19\x1c\x19\x0c\x26\x02\x00"),
            "it has 1 columns, and a row group with 0",
        ),
        (
            metadata(b"\x19\x2c" + ROOT + LEAF, 1, b"\x19\x1c\x19\x1c\x18\x01f\x00\x26\x02\x00"),
            "a column that lies elsewhere",
        ),
        (
            metadata(
                b"\x19\x2c" + ROOT + LEAF, 1, b"\x19\x1c\x19\x1c\x3c\x56\x02\x26\xfe\x7f\x26\x08\x00\x00\x26\x02\x00"
            ),
            r"a column outside of itself \(bytes 4 and on\)",
        ),
    ],
)
def test_what_is_no_layout_is_refused(body: bytes, sentence: str) -> None:
    """In the middle of a sentence."""
    with pytest.raises(Malformed, match=sentence):
        Layout(body)


@settings(deadline=None)
@given(st.integers(4, len(SMALL) - 1), st.integers(0, 255))
def test_a_damaged_file_has_a_layout_or_not(place: int, byte: int) -> None:
    """Whatever byte was changed."""
    body = bytearray(SMALL)
    body[place] = byte
    try:
        layout = Layout(bytes(body))
        for chunk in layout.chunks:
            layout.pages(chunk)
    except (Malformed, UnicodeDecodeError) as error:
        assert len(str(error)) < 400
