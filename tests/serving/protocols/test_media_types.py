"""Media types: what a body is, and whether its answer is to be CSV."""

from __future__ import annotations

import pytest

from serinus.serving.errors import UnsupportedEncoding
from serinus.serving.protocols.media_types import FILES, media_type, wants_csv


@pytest.mark.parametrize(
    ("header", "kind", "parameters"),
    [
        (None, "", ()),
        ("text/csv", "text/csv", ()),
        (" Text/CSV ; Charset=UTF-8", "text/csv", ()),
        ('application/json;charset="utf8"', "application/json", ()),
        ("text/csv; header=present; charset=us-ascii", "text/csv", ("header",)),
        (";;=", "", ("", "")),
        ("käse/ÿ", "käse/ÿ", ()),
    ],
)
def test_a_content_type_is_taken_apart(header: str | None, kind: str, parameters: tuple[str, ...]) -> None:
    """Case and spaces mean nothing."""
    headers = {} if header is None else {b"content-type": header.encode("latin-1")}
    assert media_type(headers) == (kind, parameters)


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "", '"'])
def test_another_charset_is_refused(charset: str) -> None:
    """A body in it would be misread."""
    with pytest.raises(UnsupportedEncoding, match="is not understood; send UTF-8"):
        media_type({b"content-type": f"text/csv; charset={charset}".encode()})


@pytest.mark.parametrize(
    ("sent", "accepted", "wanted"),
    [
        ("text/csv", "text/csv", True),
        ("text/csv; charset=utf-8", "application/json, TEXT/CSV;q=0.5", True),
        ("text/csv", "*/*", False),
        ("text/csv", "text/csvx", False),
        ("text/csv", None, False),
        ("application/json", "text/csv", False),
        ("application/vnd.apache.parquet", "text/csv", False),
    ],
)
def test_csv_is_wanted_by_name_and_in_answer_to_csv(sent: str, accepted: str | None, wanted: bool) -> None:
    """Everybody else gets JSON."""
    headers = {b"content-type": sent.encode()} | ({} if accepted is None else {b"accept": accepted.encode()})
    assert wants_csv(headers) == wanted


def test_files_have_their_readers() -> None:
    """Under every name that is about."""
    assert set(FILES) == {"text/csv", "application/vnd.apache.parquet", "application/x-parquet"}
