"""Copies of requests to a classifier of wines, as a worker sends them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models import Field, Signature
from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import IdSource

__all__ = ["IDS", "SIGNATURE", "copy_of", "given", "texts"]

SIGNATURE = Signature((Field("x", "FP64", (-1,)), Field("region", "BYTES", (-1,))),
                      (Field("kind", "BYTES", (-1,), labels=("red", "white")),
                       Field("chance", "FP64", (-1, 2))))
IDS = IdSource()


def texts(*values: str) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def given(kind: str, chance: float = 0.9) -> Mapping[str, NDArray[Any]]:
    """An answer for one row; `chance` is that of red."""
    return {"kind": texts(kind), "chance": np.array([[chance, 1 - chance]])}


def copy_of(outputs: Mapping[str, NDArray[Any]], *, x: float = 1.0, region: str = "north", age_s: float = 0.0,
            trace_id: int = 0) -> PredictionRecord:
    """A request of one row that stable answered so, in 1 ms; no outputs: it failed."""
    now = time.time_ns()
    return PredictionRecord(IDS.next(now)[0], "order-1", now - int(age_s * 1e9), 1_000_000, "wine", "1", "stable", 1,
                            {"x": np.array([x]), "region": texts(region)}, outputs, 7, trace_id, 3 if trace_id else 0)
