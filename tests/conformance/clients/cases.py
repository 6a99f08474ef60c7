"""Runs in a client's environment, where only the client and numpy are: named cases, and what became of each as JSON."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

GIVEN: dict[str, Any] = json.load(sys.stdin)
"""Address and rows, from the suite."""

_cases: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """Add a function, under its name, to what `report` runs."""
    _cases[function.__name__] = function
    return function


def outcome(run: Callable[[], Any]) -> dict[str, Any]:
    """What a call gave, or what it raised."""
    try:
        return {"gave": run()}
    except Exception as error:
        return {"raised": type(error).__name__, "said": str(error)}


def report() -> None:
    """Run every case and print the outcomes."""
    json.dump({name: outcome(run) for name, run in _cases.items()}, sys.stdout, default=plain)


def plain(value: Any) -> Any:
    """Arrays with their type and shape; bytes as text."""
    if isinstance(value, np.ndarray):
        data = value.astype("U").tolist() if value.dtype.kind in "SU" else value.tolist()
        return {"dtype": "text" if value.dtype.kind in "OSU" else str(value.dtype), "shape": value.shape, "data": data}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"{type(value)} cannot be told")
