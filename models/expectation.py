"""What a signature may say of a field's values beyond their type: the words, and the check that they are right."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from serinus.models.errors import InvalidSignature

__all__ = ["KINDS", "PERSONAL", "POLICIES", "check_expect"]

KINDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "missing_value": frozenset({"reject", "impute", "warn", "ignore"}),
        "infinite_value": frozenset({"reject", "clip", "impute", "warn", "ignore"}),
        "out_of_range": frozenset({"reject", "clip", "impute", "warn", "ignore"}),
        "unusual_value": frozenset({"reject", "clip", "impute", "warn", "ignore"}),
        "unit_slip": frozenset({"reject", "clip", "impute", "warn", "ignore"}),
        "unseen_category": frozenset({"reject", "impute", "warn", "ignore"}),
        "text_length": frozenset({"reject", "clip", "impute", "warn", "ignore"}),
    }
)
"""The kinds of violation of a value, and what may be done about each."""

POLICIES = ("reject", "clip", "impute", "warn", "ignore")
"""What may be done about a violation."""

PERSONAL = ("hash", "drop", "coarsen")
"""What may be done to a personal value before it is written anywhere."""

_KEYS = ("min", "max", "categories", "missing", "length", "personal", "on")
_MANY_CATEGORIES = 10_000


def check_expect(name: str, expect: Any) -> dict[str, Any]:
    """Give a copy of what a field called `name` declares of its values.

    Raises InvalidSignature for a key, kind or policy that there is not, or a value that makes no sense.
    """
    if not isinstance(expect, Mapping):
        raise InvalidSignature(f"Field {name!r}: expect must be an object with {', '.join(_KEYS)}, got {expect!r}.")
    for key in expect:
        if key not in _KEYS:
            raise InvalidSignature(f"Field {name!r}: expect has no key {key!r}; there are {', '.join(_KEYS)}.")
    _check_range(name, expect)
    _check_length(name, expect.get("length"))
    _check_categories(name, expect.get("categories"))
    _one_of(name, "missing", expect.get("missing"), (None, True, False))
    _one_of(name, "personal", expect.get("personal"), (None, False, *PERSONAL))
    on = expect.get("on", {})
    if not isinstance(on, Mapping):
        raise InvalidSignature(f"Field {name!r}: expect.on must be an object of kinds and policies, got {on!r}.")
    for kind, policy in on.items():
        _one_of(name, "on", kind, tuple(KINDS))
        _one_of(name, f"on.{kind}", policy, tuple(word for word in POLICIES if word in KINDS[kind]))
    return {key: _plain(value) for key, value in expect.items() if value is not None}


def _check_range(name: str, expect: Mapping[str, Any]) -> None:
    limits = [expect[key] for key in ("min", "max") if expect.get(key) is not None]
    if any(type(limit) not in (int, float) or not math.isfinite(limit) for limit in limits) or sorted(limits) != limits:
        raise InvalidSignature(
            f"Field {name!r}: expect.min and expect.max must be finite numbers, min no larger than max, got {limits}."
        )


def _check_length(name: str, length: Any) -> None:
    if length is None:
        return
    sound = isinstance(length, list | tuple) and len(length) == 2 and all(type(limit) is int for limit in length)
    if not sound or not 0 <= length[0] <= length[1]:
        raise InvalidSignature(f"Field {name!r}: expect.length must be [shortest, longest], got {length!r}.")


def _check_categories(name: str, categories: Any) -> None:
    if categories is None:
        return
    sound = isinstance(categories, list | tuple) and 0 < len(categories) <= _MANY_CATEGORIES
    if not sound or any(type(category) not in (str, int, bool) for category in categories):
        raise InvalidSignature(
            f"Field {name!r}: expect.categories must be a list of 1 to {_MANY_CATEGORIES} strings, whole numbers or "
            f"booleans, got {str(categories)[:60]}."
        )


def _one_of(name: str, key: str, value: Any, words: tuple[Any, ...]) -> None:
    if not any(value is word or (isinstance(word, str) and value == word) for word in words):
        wanted = ", ".join(str(word) for word in words if word is not None)
        raise InvalidSignature(f"Field {name!r}: expect.{key} must be one of {wanted}, got {value!r}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list | tuple) else value
