"""A model card: what people should know of a version before they use it (Mitchell et al. 2019), kept short."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from serinus.models.errors import ModelError

__all__ = ["Card"]


@dataclass(frozen=True)
class Card:
    """The human-readable facts of a version; every one may be left out.

    Attributes:
        description: what it predicts, from what.
        owner: whom to ask.
        intended_use: what it was made for.
        limitations: where it should not be used, and known weaknesses.
        training_data: what it was trained on.
        license: under which terms it may be used.
        metrics: how good it was, by name: `{"auc": 0.93}`.
        tags: words to find it by.
    """

    description: str = ""
    owner: str = ""
    intended_use: str = ""
    limitations: str = ""
    training_data: str = ""
    license: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Card()

    def to_json(self) -> dict[str, Any]:
        """Give the card as JSON values; what is empty is left out."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        document |= {"metrics": dict(self.metrics), "tags": list(self.tags)}
        return {name: value for name, value in document.items() if value}

    @classmethod
    def from_json(cls, document: Any) -> "Card":
        """Read a JSON object. Raises ModelError for an unknown key or a value of the wrong kind."""
        if not isinstance(document, Mapping):
            raise ModelError(f"A model card is a JSON object, got {document!r}.")
        for key in document:
            if key not in _NAMES:
                close = difflib.get_close_matches(str(key), _NAMES, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_NAMES)}."
                raise ModelError(f"A model card has no {key!r}; {hint}")
        return cls(**{key: _value(key, value) for key, value in document.items()})


def _value(key: str, value: Any) -> Any:
    if key == "metrics":
        return _metrics(key, value)
    return _tags(key, value) if key == "tags" else _text(key, value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ModelError(f"The model card's {key} must be a text, got {value!r}.")
    return value


def _metrics(key: str, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ModelError(f"The model card's {key} must be an object of numbers by name, got {value!r}.")
    return {name: _number(key, name, number) for name, number in value.items()}


def _number(key: str, name: str, number: Any) -> float:
    plain = number.item() if hasattr(number, "item") else number  # a metric comes out of numpy as often as not
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not math.isfinite(plain):
        raise ModelError(f"The model card's {key} must be finite numbers, got {name!r}: {number!r}.")
    return plain


def _tags(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__") or not all(isinstance(tag, str) for tag in value):
        raise ModelError(f"The model card's {key} must be a list of texts, got {value!r}.")
    return tuple(value)


_NAMES = tuple(item.name for item in fields(Card))
