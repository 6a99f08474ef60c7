"""What people send is read in every form; what cannot be used is named and keeps nothing else out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.serving.ground_truth import BodyUnreadable, read_body
from serinus.serving.ground_truth.outcomes import FIELDS, take
from serinus.serving.prediction_log.keys import hash_of, key_id
from serinus.serving.store import GroundTruth

ID = "0190a6b2-7c3e-7000-8000-000000000000-0"
NOW = 1_790_000_000.0
SECRET = b"s" * 32
FULL = {"prediction_id": ID, "value": "bad", "kind": "revision", "source": "crm", "weight": 2,
        "event_time": "2026-01-05T10:00:00Z"}
KEPT = GroundTruth(ID, "crm", "revision", "bad", 1_767_607_200.0, NOW, "", 2.0)
CSV = f"prediction_id,value,kind,source,weight,event_time\r\n{ID},bad,revision,crm,2,2026-01-05T10:00:00+00:00\r\n"


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (orjson.dumps(FULL), "application/json"),
        (orjson.dumps([FULL]), "application/json"),
        (orjson.dumps({"outcomes": [FULL]}), "application/json"),
        (b"\n" + orjson.dumps(FULL) + b"\n\n", "application/x-ndjson"),
        (CSV.encode(), "text/csv"),
        (b"\xef\xbb\xbf" + CSV.encode(), "text/csv"),
    ])
def test_every_form_says_the_same(body: bytes, media_type: str) -> None:
    """JSON alone, as a list or in an object, NDJSON and CSV."""
    assert read_body(body, media_type, NOW, 10, SECRET) == ([KEPT], [], 0)


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        ({"value": 1.0}, ("final", "", 1)),
        ({"value": 1.5}, ("final", "", 1.5)),
        ({"value": True}, ("final", "", True)),
        ({"name": "click"}, ("event", "click", 1)),
        ({"name": "revenue", "value": 12.5}, ("event", "revenue", 12.5)),
        ({"kind": "retract"}, ("retract", "", None)),
    ])
def test_what_is_left_out_is_plain(document: dict[str, Any], kept: tuple[Any, ...]) -> None:
    """A truth is final, an event happened once, a retraction needs no value."""
    (row,) = take([{"prediction_id": ID, **document}], NOW, SECRET).rows
    assert (row.kind, row.name, row.value, type(row.value)) == (*kept, type(kept[2]))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (7, "expected an object, got 7"),
        ({}, "prediction_id: expected one that an answer carried"),
        ({"prediction_id": "order-7"}, "got 'order-7'"),
        ({"prediction_id": ID, "key": "7", "value": 1}, "key: expected this or prediction_id, got both"),
        ({"key": 7.5, "value": 1}, "key: expected text of 1 to 256 characters or a whole number, got 7.5"),
        ({"key": "", "value": 1}, "key: expected text of 1 to 256 characters"),
        ({"prediction_id": ID}, "value: expected text, a finite number or a boolean, got None"),
        ({"prediction_id": ID, "value": [1]}, "value: expected text"),
        ({"prediction_id": ID, "value": "x" * 300}, "at most 256 characters, got 300"),
        ({"prediction_id": ID, "value": 2**70}, "64 bits"),
        ({"prediction_id": ID, "value": 10**400, "name": "revenue"}, "value: expected a finite number"),
        ({"prediction_id": ID, "vale": 1}, "unknown field 'vale'; did you mean 'value'?"),
        ({"prediction_id": ID, "value": 1, "kind": "finally"}, "kind: expected one of final, provisional"),
        ({"prediction_id": ID, "value": 1, "kind": "event"}, "name: an event needs one"),
        ({"prediction_id": ID, "value": "much", "name": "revenue"}, "value: expected a finite number, got 'much'"),
        ({"prediction_id": ID, "value": 1, "kind": "final", "name": "click"}, "only events have one"),
        ({"prediction_id": ID, "value": 1, "weight": 0}, "weight: expected a number above 0, got 0"),
        ({"prediction_id": ID, "value": 1, "weight": None}, "weight: expected a finite number"),
        ({"prediction_id": ID, "value": 1, "source": 5}, "source: expected text"),
        ({"prediction_id": ID, "value": 1, "event_time": "yesterday"}, "event_time: expected Unix seconds or ISO 8601"),
        ({"prediction_id": ID, "value": 1, "event_time": 1_790_000_000_000}, "are these milliseconds?"),
        ({"prediction_id": ID, "value": 1, "event_time": -1}, "event_time"),
    ])
def test_what_cannot_be_used_is_named(document: Any, reason: str) -> None:
    """Its row and one reason are told, and its neighbours are taken."""
    good = {"prediction_id": ID, "value": 1}
    taken = take([good, document, good], NOW, SECRET, first=40)
    assert (len(taken.rows), taken.rejected_count, taken.rejected[0][0]) == (2, 1, 41)
    assert reason in taken.rejected[0][1]


def test_a_key_is_kept_as_its_hash() -> None:
    """Text or whole number, in JSON or CSV: the same stand-in, which tells nothing without the deployment's secret."""
    stand_in = key_id(hash_of("4711", SECRET))
    for key in ("4711", 4711, " 4711 "):
        (row,) = take([{"key": key, "value": 1}], NOW, SECRET).rows
        assert row.prediction_id == stand_in
    (row,) = read_body(b"key,value\n4711,yes\n", "text/csv", NOW, 10, SECRET).rows
    assert (row.prediction_id, row.value) == (stand_in, "yes")
    (other,) = take([{"key": 4711, "value": 1}], NOW, b"t" * 32).rows
    assert "4711" not in stand_in and other.prediction_id != stand_in


def test_at_most_twenty_are_named() -> None:
    """All are counted."""
    answer = take([None] * 50, NOW, SECRET).answer()
    assert (answer["accepted"], len(answer["rejected"]), answer["rejected_count"]) == (0, 20, 50)


@pytest.mark.parametrize(
    ("body", "media_type", "sentence"),
    [
        (b"{", "application/json", "not JSON"),
        (b"{}\n{", "application/x-ndjson", "Line 2 is not JSON"),
        (b"id,value\n1,2\n", "text/csv", "expected prediction_id or key among its names, got 'id, value'"),
        (b"", "text/csv", "expected prediction_id"),
        (b"prediction_id,a,a\n", "text/csv", "a name twice"),
        (b'prediction_id,value\n"x', "text/csv", "Line 2 of the CSV cannot be read"),
        (b"\xff\xfe", "text/csv", "not UTF-8"),
        (b"[1,2,3]", "application/json", "more than ground_truth.rows, 2"),
    ])
def test_a_body_that_is_none_is_refused(body: bytes, media_type: str, sentence: str) -> None:
    """Then nothing of it is taken."""
    with pytest.raises(BodyUnreadable, match=sentence):
        read_body(body, media_type, NOW, 2, SECRET)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*FIELDS, "x")), inner),
                    max_leaves=8))
def test_nothing_that_is_sent_makes_it_fail(document: Any) -> None:
    """Every row is taken or rejected."""
    if isinstance(document, dict):
        document.setdefault("prediction_id", ID)
    taken = take([document], NOW, SECRET)
    assert len(taken.rows) + taken.rejected_count == 1
    for row in taken.rows:
        orjson.dumps(tuple(row))
