"""A prediction record is a value: what the model took and gave, as the same objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serinus.monitors import PredictionRecord
from serinus.serving.request import Answer, InferenceRequest, is_request_id

FIXTURE = Path(__file__).with_name("fixtures") / "shapes_1.json"
AGE, LABEL = np.array([1.5, 2.5]), np.array(["yes", "no"], dtype=object)
RECORD = PredictionRecord(bytes(16), "r", 1, 2, "wine", "1", "stable", 2, {"age": AGE}, {"predict": LABEL}, 0, 0, 0)
REQUEST = InferenceRequest({"age": AGE}, 2)


@pytest.mark.parametrize("value", [RECORD, REQUEST])
def test_a_record_is_not_edited(value: PredictionRecord | InferenceRequest) -> None:
    """Data goes down the line; whoever needs another value makes one."""
    for name in value._fields:
        with pytest.raises(AttributeError):
            setattr(value, name, None)
    with pytest.raises(AttributeError):
        value.further = 1  # type: ignore[union-attr]


def test_arrays_are_handed_on_and_never_copied() -> None:
    """The very objects that went in come out, also of a changed request."""
    assert RECORD.inputs["age"] is AGE
    assert RECORD.outputs["predict"] is LABEL
    assert REQUEST._replace(request_id="x").inputs["age"] is AGE


def test_the_fields_of_format_1_stay() -> None:
    """Monitors and protocols of other people rely on names and order; a new field goes last and has a default."""
    shapes = json.loads(FIXTURE.read_text())
    for shape in (PredictionRecord, InferenceRequest, Answer):
        known = shapes[shape.__name__]
        assert list(shape._fields[: len(known)]) == known
        assert set(shape._fields[len(known) :]) <= set(shape._field_defaults)


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("a", True),
        ("order-17:b_2.c", True),
        ("x" * 128, True),
        ("", False),
        ("x" * 129, False),
        ("a b", False),
        ("a\r\nx: y", False),
        ("a\n", False),
        ("é", False),
        ("/", False),
    ],
)
def test_a_request_id_is_short_and_plain(text: str, fit: bool) -> None:
    """It goes into headers, the log and telemetry, so nothing that could mean something there passes."""
    assert is_request_id(text) is fit
