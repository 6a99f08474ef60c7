"""Finds what is personal among a reference's columns, and makes it unrecognisable before it is written anywhere.

`found_in` looks at names (`passport`, `date_of_birth`) and at values: e-mail and IP addresses, phone numbers, payment
cards (Luhn's check digit), IBANs (remainder 97). It is a net with holes: what it does not find must be tagged by hand,
with `expect.personal` in the signature.

A `Redactor` replaces values by a keyed hash (the same value has the same hash in one deployment, so that records can
still be joined), by a coarser value, or by nothing.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Finding", "Redactor", "coarse", "found_in", "is_card", "is_iban", "kind_of_name", "kind_of_texts"]

_NAMES = (
    ("e-mail address", r"e_?mail(_?addr(ess)?)?"),
    ("phone number", r"(tele)?phone|mobile|cell(_?phone)?|fax"),
    ("payment card", r"(credit|debit|payment|bank)_?card"),
    ("IBAN", r"iban|bank_?account"),
    ("IP address", r"(client|remote|user|source|src)?_?ip(v[46])?(_?addr(ess)?)?"),
    ("social security number", r"ssn|social_?security|national_?(id|insurance)|nino|ahv|tax_?id|tin"),
    ("passport", r"passport|driving_?licen[cs]e|drivers?_?licen[cs]e|identity_?card"),
    ("name of a person", r"(first|last|full|middle|maiden|given|family|sur)_?name|surname"),
    ("date of birth", r"birth_?(date|day)|date_?of_?birth|dob"),
    ("postal address", r"(street|home|postal|postal_?street|mailing)_?address|street"),
)
_WHOSE, _NUMBER = r"(?:(?:customer|client|user|holder|patient|person|owner)s?_)?", r"(?:_?(?:no|nr|num|number))?"
_PATTERNS = tuple((kind, re.compile(f"{_WHOSE}(?:{pattern}){_NUMBER}")) for kind, pattern in _NAMES)
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}")
_PHONE = re.compile(
    r"(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){6,13}|\(?0\d{1,4}\)?(?:[ ./-]\d{2,5}){2,4}|\(\d{3}\) ?\d{3}-\d{4}"
)
_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_CARD = re.compile(r"\d(?:[ -]?\d){12,18}")
_DATE = re.compile(r"(\d{4})-\d{2}(?:-\d{2}.*)?")

_LOOKED_AT = 2_000
_LONGEST = 2_000
_MOST, _SOME = 0.5, 0.05
_CARDS = 0.8
"""One number in ten has a right check digit by chance."""
_FEWEST = 3


class Finding(NamedTuple):
    """A column that seems to hold personal data, and by what it was recognised."""

    column: str
    kind: str
    by: str


def found_in(frame: DataFrame) -> list[Finding]:
    """Give the columns that seem to hold personal data, in their order."""
    found = []
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        kind = kind_of_values(column)
        if kind is not None:
            found.append(Finding(str(name), kind, "its values"))
        elif column.dtype != bool and (kind := kind_of_name(str(name))) is not None:
            found.append(Finding(str(name), kind, "its name"))
    return found


def kind_of_name(name: str) -> str | None:
    """Say what a column of this name holds, where that is personal."""
    plain = re.sub(r"[\s.-]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:100])).lower()
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(plain)), None)


def kind_of_values(column: Series[Any]) -> str | None:
    """Say what the values of a column are, where most of them are personal, or some of its texts hold such values."""
    from pandas.api import types

    present = column.dropna()
    if types.is_bool_dtype(present) or types.is_float_dtype(present) or types.is_datetime64_any_dtype(present):
        return None
    sample = present.iloc[:: max(1, len(present) // _LOOKED_AT)].head(_LOOKED_AT)
    return kind_of_texts([str(value)[:_LONGEST] for value in sample.tolist()])


def kind_of_texts(texts: Iterable[str]) -> str | None:
    """Say what these texts are, where most of them are personal, or some of them hold such values."""
    values = list(dict.fromkeys(text.strip() for text in texts))
    if len(values) < _FEWEST:
        return None
    for kind, test, share in _TESTS:
        if sum(map(test, values)) >= share * len(values):
            return kind
    for kind, pattern, test in _WITHIN:
        hits = sum(any(test(found[0]) for found in pattern.finditer(value)) for value in values)
        if hits >= max(_FEWEST, _SOME * len(values)):
            return kind
    return None


def is_card(text: str) -> bool:
    """Tell whether this is the number of a payment card: 13 to 19 digits, the last one Luhn's."""
    if not _CARD.fullmatch(text):
        return False
    digits = [int(digit) for digit in reversed(text) if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Tell whether this is an IBAN: its digits, letters counted from 10, leave 1 when divided by 97."""
    plain = text.replace(" ", "")
    if not _IBAN.fullmatch(text) or not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return not text.isdigit()


_TESTS: tuple[tuple[str, Callable[[str], bool], float], ...] = (
    ("e-mail address", lambda text: _EMAIL.fullmatch(text) is not None, _MOST),
    ("IBAN", is_iban, _MOST),
    ("payment card", is_card, _CARDS),
    ("IP address", _is_ip, _MOST),
    ("phone number", lambda text: _PHONE.fullmatch(text) is not None, _MOST),
)
_WITHIN: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("e-mail address", _EMAIL, bool),
    ("IBAN", re.compile(rf"\b{_IBAN.pattern}\b"), is_iban),
)
"""What a longer text may hold."""


class Redactor:
    """Makes the values of personal fields unrecognisable. Safe to call from several threads at once.

    Args:
        personal: what is done by the name of a field: hash, drop or coarsen.
        key: the deployment's secret; without it a hash can be told from nothing but another hash.
    """

    def __init__(self, personal: Mapping[str, str], key: bytes) -> None:
        self._personal = dict(personal)
        self._key = key[:64]

    def __bool__(self) -> bool:
        return bool(self._personal)

    def __or__(self, other: Redactor) -> Redactor:
        """What either knows to be personal; where both do, as this one treats it."""
        return Redactor({**other._personal, **self._personal}, self._key or other._key)

    def apply(self, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Give the arrays with those of personal fields replaced; the others are the same objects."""
        if not any(name in self._personal for name in arrays):
            return arrays
        return {name: self._redacted(array, self._personal[name]) if name in self._personal else array
                for name, array in arrays.items()}  # fmt: skip

    def _redacted(self, array: NDArray[Any], how: str) -> NDArray[Any]:
        if how == "drop" and array.dtype.kind == "f":
            return np.full(array.shape, np.nan, array.dtype)
        if how == "coarsen" and array.dtype.kind == "f":
            return _coarse_numbers(array)
        redacted = np.empty(array.size, dtype=object)
        redacted[:] = [self._one(value, how) for value in array.ravel().tolist()]
        if how == "coarsen" and array.dtype.kind in "iub":
            return redacted.reshape(array.shape).astype(array.dtype)
        return redacted.reshape(array.shape)

    def _one(self, value: Any, how: str) -> Any:
        if value is None or value != value or how == "drop":
            return None
        if how == "coarsen":
            return coarse(value)
        text = value if isinstance(value, str) else repr(value)
        return "hash:" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12, key=self._key).hexdigest()


def coarse(value: Any) -> Any:
    """Give a value that many share: a number to one digit, a date's year, an address's domain or network, else the
    first letter of a text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _one_digit_of(value)
    if isinstance(value, float):
        return _one_digit(value)
    text = str(value)
    if found := _DATE.fullmatch(text):
        return found[1]
    if _EMAIL.fullmatch(text):
        return "…@" + text.rpartition("@")[2]
    if _is_ip(text):
        return _network(text)
    return text[:1] + "…" if text else text


def _one_digit_of(value: int) -> int:
    """Toward zero, so that it stays in its type's range."""
    unit = int("1" + "0" * (len(str(abs(value))) - 1))
    return abs(value) // unit * unit * (1 if value > 0 else -1)


def _one_digit(value: float) -> float:
    """Toward zero, so that it stays in its type's range."""
    if not math.isfinite(value) or value == 0:
        return value
    digits = f"{abs(value):.15e}"
    return math.copysign(float(digits[0] + digits[digits.index("e") :]), value)


def _coarse_numbers(array: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        unit = 10.0 ** np.floor(np.log10(np.abs(array.astype(np.float64))))
        coarse = np.trunc(array / unit) * unit
    return np.where(np.isfinite(coarse), coarse, np.where(np.isfinite(array), 0.0, array)).astype(array.dtype)


def _network(text: str) -> str:
    address = ipaddress.ip_address(text)
    return str(ipaddress.ip_network((address, 16 if address.version == 4 else 32), strict=False))
