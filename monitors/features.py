"""A feature: one scalar series that is watched, and the 18 bins its values fall into.

Codes 0–15 are bins of values, 16 says *missing*, 17 says *unseen*: a number that is infinite or outside the
reference's range, a category outside the reference's domain, a value of a wrong type. Every drift statistic works on
counts of these codes only, which is what makes them mergeable, cheap and unmaskable: one row moves one count.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Literal

from serinus.models.signature import Label
from serinus.monitors.errors import InvalidData

__all__ = ["MISSING", "NAMED", "UNSEEN", "VALUES", "WIDTH", "Feature", "Kind", "Side", "category_hash", "is_missing"]

WIDTH = 18
"""Bins of every feature."""

VALUES = 16
"""Bins that hold values: codes 0 to 15."""

MISSING = 16
"""The code of a missing value."""

UNSEEN = 17
"""The code of a value that the reference says cannot be."""

NAMED = 14
"""Categories with a bin of their own; the rest is hashed into the codes 14 and 15."""

_LEARNT = ("novelty", "unknown_words")

Side = Literal["input", "output", "joint"]
Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One scalar series: where it comes from, and where its bins lie.

    Attributes:
        name: "age", "input[3]", "comment.length", "predict_proba[1]", "novelty", "joint[0]".
        field: the signature's field or the frame's column it comes from; empty for side "joint".
        side: "input", "output", or "joint" where it is made of all the numbers of a row.
        kind: "numeric" or "categorical"; booleans are categorical, datetimes are seconds since 1970.
        view: how the scalar comes out of the field: "value", "element", or a name of `descriptors`.
        index: which element, channel or projection.
        edges: at most 15 increasing inner edges; bin b holds edges[b−1] ≤ x < edges[b].
        low, high: the reference's smallest and largest finite value, widened by what float32 may round.
            `high < low` where it had none.
        centre, scale: mean and standard deviation of the reference's finite values, its outermost 0.1 % on each side
            pulled in, so that one wild value does not set the scale; the scale is 1 where nothing varies.
        categories: names of the codes 0 to 13: the value itself, or "#" and a hash where it may not be told.
        keys: salted hashes of these categories.
        domain: salted hashes of every category of the reference, 8 little-endian bytes each, in order;
            None where they were too many to keep, and then no category is ever unseen.
        monitorable: whether drift of it can mean anything.
        reason: why not, as a sentence.
    """

    name: str
    field: str
    side: Side
    kind: Kind
    view: str = "value"
    index: int = 0
    edges: tuple[float, ...] = ()
    low: float = 0.0
    high: float = -1.0
    centre: float = 0.0
    scale: float = 1.0
    categories: tuple[Label, ...] = ()
    keys: tuple[int, ...] = ()
    domain: bytes | None = None
    monitorable: bool = True
    reason: str = ""

    @property
    def is_learnt(self) -> bool:
        """Whether a half of the reference's rows says what the value is: its profile counts the other rows only."""
        return self.view in _LEARNT

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each of the 18 codes, empty where a code is never given."""
        values = self._intervals() if self.kind == "numeric" else self._categories()
        return (*values, *("" for _ in range(VALUES - len(values))), "missing", "unseen")

    def _intervals(self) -> list[str]:
        if not self.edges:
            return [f"{self.centre:.6g}" if self.low <= self.high else ""]
        inner = [f"{low:.4g} to {high:.4g}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return [f"below {self.edges[0]:.4g}", *inner, f"from {self.edges[-1]:.4g}"]

    def _categories(self) -> list[str]:
        named = [str(category) for category in self.categories]
        return [*named, *("" for _ in range(NAMED - len(named))), "rare (1)", "rare (2)"]

    def to_json(self) -> dict[str, Any]:
        """Give the feature as JSON values; what is at its default is left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        document = {name: value for name, value in values.items() if value != _DEFAULTS.get(name, ...)}
        if self.domain is not None:
            document["domain"] = base64.b64encode(self.domain).decode()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Feature:
        """Read what `to_json` wrote. Raises InvalidData where that cannot be."""
        try:
            values: dict[str, Any] = {name: _tupled(value) for name, value in document.items()}
            if "domain" in values:
                values["domain"] = base64.b64decode(values["domain"])
            return cls(**values)
        except (TypeError, AttributeError, binascii.Error) as error:
            raise InvalidData(f"A feature of a profile cannot be read ({error}): got {document!r:.200}.") from error


_DEFAULTS = {item.name: item.default for item in fields(Feature)}


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def is_missing(value: Any) -> bool:
    """Say whether a Python value stands for "nothing": None, NaN, NaT, pandas.NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas.NA compares to itself; an array has no truth value
        return type(value).__name__ == "NAType"


def category_hash(value: Any, salt: bytes) -> int | None:
    """Give 64 bits that stand for a category; None for what is none (a list, an object).

    Text and its UTF-8 bytes are one category; 1, 1.0 and True are one category, as they are equal in Python.
    """
    text = _canonical(value)
    if text is None:
        return None
    return int.from_bytes(blake2b(text, digest_size=8, key=salt[:64]).digest(), "little")


def _canonical(value: Any) -> bytes | None:
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return b"s" + value
    number = value.item() if hasattr(value, "item") and not getattr(value, "shape", None) else value
    if isinstance(number, int):
        return b"n%d" % number
    if isinstance(number, float) and math.isfinite(number):
        return b"n%d" % number if number.is_integer() else b"n" + repr(number).encode()
    return None
