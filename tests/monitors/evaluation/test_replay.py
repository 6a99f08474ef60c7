"""Logged requests asked again: other answers, where, refusals, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serinus.models.signature import Field, Signature
from serinus.monitors.evaluation.replay import replay
from serinus.monitors.record import PredictionRecord
from tests.monitors.evaluation.trials import Scorer, inputs_of


def records_of(requests: int = 20, rows: int = 40, model: Any = None) -> Iterator[PredictionRecord]:
    for number in range(requests):
        inputs = inputs_of(rows, number)
        outputs = (model or Scorer()).predict(inputs)
        yield PredictionRecord(bytes([number]) * 16, f"r{number}", number, 0, "credit", "1", "stable", rows, inputs,
                               outputs, 0, 0, 0)


def name_of(uuid: bytes, row: int) -> str:
    return f"{uuid[0]}-{row}"


def ticking() -> Any:
    ticks = iter(range(10**6))
    return lambda: next(ticks) / 1e3


def test_the_same_version_answers_alike() -> None:
    """Nothing differs, nothing is refused, and a tick of the clock is a millisecond."""
    found = replay(records_of(), Scorer(), name_of=name_of, clock=ticking())
    assert (found.requests, found.rows, found.differ, found.errors) == (20, 800, 0, 0)
    assert (found.p50_ms, found.p99_ms) == (pytest.approx(1.0), pytest.approx(1.0))
    assert found.interval is not None and found.interval.low == 0.0


def test_other_answers_are_counted_named_and_placed() -> None:
    """A version that thinks otherwise of the west differs there."""
    found = replay(records_of(), Scorer(west=5.0), name_of=name_of, clock=ticking())
    wanted = sum(int((Scorer(west=5.0).predict(one.inputs)["predict"] != one.outputs["predict"]).sum())
                 for one in records_of())
    assert found.differ == wanted and found.share == pytest.approx(wanted / 800)
    assert found.slices[0].name == "region = west"
    number, row = map(int, found.examples[0].split("-"))
    record = list(records_of())[number]
    assert record.inputs["region"][row] == "west"


class Refusing(Scorer):
    """Takes no request that begins with an old person."""

    def predict(self, inputs: Any, outputs: Any = None) -> dict[str, Any]:
        if inputs["age"][0] > 50:
            raise ValueError("too old")
        return super().predict(inputs, outputs)


def test_refusals_are_counted_by_rows() -> None:
    """With the first one's sentence."""
    found = replay(records_of(), Refusing(), name_of=name_of, clock=ticking())
    refused = sum(one.inputs["age"][0] > 50 for one in records_of())
    assert refused and found.errors == 40 * refused and found.first_error == "too old"


class Number:
    """Gives a number."""

    def __init__(self, shift: float = 0.0) -> None:
        self.signature = Signature((Field("age", "FP64", (-1,)),), (Field("predict", "FP64", (-1,)),))
        self.shift = shift

    def predict(self, inputs: Any, outputs: Any = None) -> dict[str, Any]:
        """Twice the age."""
        return {"predict": 2 * inputs["age"] + self.shift}

    def close(self) -> None:
        """Nothing is held."""


def test_numbers_differ_by_more_than_rounding() -> None:
    """And how far apart they are is told in standard deviations."""
    records = list(records_of(model=Number()))
    near, far = (replay(records, Number(shift), name_of=name_of, clock=ticking()) for shift in (1e-7, 4.0))
    assert (near.differ, far.differ) == (0, 800)
    spread = np.concatenate([one.outputs["predict"] for one in records]).std()
    assert far.apart == pytest.approx(4.0 / spread)


def test_no_requests_are_no_answer() -> None:
    """Nothing is known of anything."""
    found = replay([], Scorer(), name_of=name_of, clock=ticking())
    assert (found.requests, found.interval, found.p50_ms, found.slices) == (0, None, None, ())
