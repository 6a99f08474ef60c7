"""Prediction ids are UUIDv7, sort in the order they were given, and say which segment holds their record."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serinus.serving.ids import IdSource, PredictionId, parse_prediction_id, prediction_id

FIXTURE = Path(__file__).with_name("fixtures") / "prediction_ids_1.json"

times = st.integers(0, (1 << 48) * 1_000_000 - 1)
writers = st.integers(0, (1 << 34) - 1)
rows = st.integers(0, 999_999_999)


@given(times, writers, rows, st.integers(0, (1 << 40) - 1))
def test_an_id_says_again_what_it_was_made_of(now_ns: int, writer: int, row: int, sequence: int) -> None:
    """Time, writer, sequence and row come back from the text; writing them again gives the same text."""
    source = IdSource(writer)
    source.sequence = sequence
    raw, text = source.next(now_ns)
    found = parse_prediction_id(f"{text}-{row}")
    assert found == PredictionId(raw, now_ns // 1_000_000, writer, sequence, row)
    assert prediction_id(found.uuid, found.row) == f"{text}-{row}"


@given(times, writers)
def test_an_id_is_a_uuid_of_version_7(now_ns: int, writer: int) -> None:
    """RFC 9562: version 7, its variant, and milliseconds of Unix time in the first 48 bits; bytes and text agree."""
    raw, text = IdSource(writer).next(now_ns)
    made = uuid.UUID(text)
    assert (made.version, made.variant, made.bytes) == (7, uuid.RFC_4122, raw)
    assert made.int >> 80 == now_ns // 1_000_000


@given(st.lists(times, min_size=2, max_size=30))
def test_ids_of_one_source_rise(clock: list[int]) -> None:
    """Bytes and text both sort in the order given, even when the clock steps back, and none is given twice."""
    source = IdSource()
    given_ids = [source.next(now) for now in clock]
    assert all(before < after for before, after in pairwise(given_ids))
    assert all(before[1] < after[1] for before, after in pairwise(given_ids))


@given(st.text(max_size=60))
def test_foreign_text_is_no_id(text: str) -> None:
    """Whatever a caller sends, the answer is None or an id whose text is exactly that."""
    found = parse_prediction_id(text)
    assert found is None or prediction_id(found.uuid, found.row) == text


def test_what_is_nearly_an_id_is_none() -> None:
    """One spelling per id: no other version or variant, no capitals, no zeros in front, no foreign digits."""
    good = "0190163d-8694-7398-a5c1-8e8bd3a9f4c2-12"
    assert parse_prediction_id(good) is not None
    for bad in (
        good.upper(),
        good.replace("-7398", "-4398"),
        good.replace("-a5c1", "-c5c1"),
        good[:-3],
        f"{good}x",
        f" {good}",
        f"{good}\n",
        good.replace("-12", "-012"),
        good.replace("-12", "-١٢"),
        good.replace("-12", "--1"),
        good.replace("-12", "-1234567890"),
    ):
        assert parse_prediction_id(bad) is None, bad


def test_two_sources_differ() -> None:
    """Two workers that start in the same millisecond give different ids."""
    assert IdSource().writer != IdSource().writer


def test_format_1_stays() -> None:
    """Ids that were given out by the first release still say the same."""
    for case in json.loads(FIXTURE.read_text()):
        source = IdSource(case["writer"])
        source.sequence = case["sequence"]
        assert source.next(case["time_ms"] * 1_000_000)[1] == case["text"][:36]
        found = parse_prediction_id(case["text"])
        assert found is not None
        assert found[1:] == (case["time_ms"], case["writer"], case["sequence"], case["row"])
