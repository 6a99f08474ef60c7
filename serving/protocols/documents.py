"""JSON documents of answers: arrays as lists, and the numbers that JSON lacks as the strings that requests may hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson

__all__ = ["SHORT", "dumps", "holds"]

SHORT = 2000
"""Up to this length a text is best searched for the word itself."""
_FEW = 20


def dumps(document: Any) -> bytes:
    """`document` (objects, lists, arrays and numbers, numpy's too) as JSON; NaN and the infinities become the strings
    "NaN", "Infinity" and "-Infinity". Arrays must be contiguous, and of objects none."""
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for such a number; only then is it worth a second look.
    if b"null" in text if len(text) < SHORT else holds(text, b"null", b"u"):
        return orjson.dumps(_said(document), option=orjson.OPT_SERIALIZE_NUMPY)
    return text


def holds(text: bytes, word: bytes, letter: bytes) -> bool:
    """Whether `word` stands in a long text; `letter` is one of its letters that is rare there. Among many numbers a
    letter is found fifty times as fast as a word."""
    within = word.index(letter)
    at = text.find(letter)
    for _ in range(_FEW):
        if at < 0 or text.startswith(word, at - within):
            return at >= 0
        at = text.find(letter, at + 1)
    return at >= 0 and word in text


def _said(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return value if math.isfinite(value) else _name(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
        return _said(list(value))  # numpy's own numbers: their JSON is shorter than that of the doubles they become
    if isinstance(value, dict):
        return {key: _said(inner) for key, inner in value.items()}
    return [_said(inner) for inner in value] if isinstance(value, list | tuple) else value


def _name(value: Any) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
