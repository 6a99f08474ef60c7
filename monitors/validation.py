"""What is expected of each value of a request, learnt from a reference and from what the signature declares.

An `Expectation` is of one feature: a column, or one column of a matrix. What a person declared of a field (`expect` in
the signature) is a rule, and what breaks it is rejected unless told otherwise. What was only learnt is a remark: a
value beyond all that the reference holds is *unusual*, not wrong. The kinds of violation, with the names that
TensorFlow Data Validation has for such anomalies:

    missing_value    null or NaN where the model takes none; reject (FLOAT_TYPE_HAS_NAN)
    infinite_value   an infinite number, and the reference had none; reject (FLOAT_TYPE_HAS_INF)
    out_of_range     beyond the declared min or max; reject (FLOAT_TYPE_SMALL_FLOAT, FLOAT_TYPE_BIG_FLOAT)
    unusual_value    far beyond the reference's numbers; warn (the same two, of a domain that was inferred)
    unit_slip        such a number, which another unit explains: ÷100, °F→°C, lb→kg …; warn
    unseen_category  outside the domain; warn, reject where declared (ENUM_TYPE_UNEXPECTED_STRING_VALUES)
    text_length      a text shorter or longer than expected; warn, reject where declared

Those of a whole column are found before, when a request is read against its signature: type_mismatch
(UNEXPECTED_DATA_TYPE), missing_field (SCHEMA_MISSING_COLUMN), unexpected_field (SCHEMA_NEW_COLUMN), shape_mismatch
(INVALID_FEATURE_SHAPE) and duplicate_column.

Domains are kept as salted hashes, ranges rounded outward, typical values rounded or frequent: no value of a single row
can be read out of an expectation, and of a field that is tagged as personal nothing is kept at all.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import KINDS, PERSONAL, Field, Signature, check_expect
from serinus.monitors.errors import InvalidExpectation
from serinus.monitors.features import category_hash

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["DEFAULTS", "SLIPS", "Expectation", "Expectations", "slips_of"]

FORMAT = 1

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "missing_value": "reject",
        "infinite_value": "reject",
        "out_of_range": "reject",
        "unusual_value": "warn",
        "unit_slip": "warn",
        "unseen_category": "warn",
        "text_length": "warn",
    }
)
"""What is done about each kind where nobody said otherwise."""

SLIPS: tuple[tuple[str, float, float], ...] = (
    ("÷100", 0.01, 0.0), ("×100", 100.0, 0.0), ("÷1000", 0.001, 0.0), ("×1000", 1000.0, 0.0),
    ("÷1000000", 1e-6, 0.0), ("×1000000", 1e6, 0.0), ("°F→°C", 5 / 9, -160 / 9), ("°C→°F", 1.8, 32.0),
    ("K→°C", 1.0, -273.15), ("°C→K", 1.0, 273.15), ("lb→kg", 0.45359237, 0.0), ("kg→lb", 1 / 0.45359237, 0.0),
    ("in→cm", 2.54, 0.0), ("cm→in", 1 / 2.54, 0.0), ("ft→m", 0.3048, 0.0), ("m→ft", 1 / 0.3048, 0.0),
    ("mi→km", 1.609344, 0.0), ("km→mi", 1 / 1.609344, 0.0), ("÷60", 1 / 60, 0.0), ("×60", 60.0, 0.0),
    ("÷10", 0.1, 0.0), ("×10", 10.0, 0.0),
)  # fmt: skip
"""Changes of unit, the likeliest first: name, factor, and what is added after it."""

_LARGEST = float(np.finfo(np.float64).max)
_ENOUGH_ROWS = 50
"""Fewer rows than this say nothing about what is usual."""
_MANY_CATEGORIES = 10_000
_FREQUENT = 10
"""A value that fewer rows have may tell who one of them is."""
_BULK = (0.005, 0.05, 0.5, 0.95, 0.995)
_SAMPLE_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of one feature.

    Attributes:
        field: the signature's field.
        element: which column of a matrix; None is the field as a whole.
        missing: whether null or NaN may come.
        infinite: whether infinite numbers may come.
        minimum, maximum: declared limits.
        usual: the range of the reference's numbers, widened; what lies beyond it is unusual.
        central: the range of nine in ten of the reference's numbers; another unit must bring a value back into it.
        typical: what is imputed: the reference's median, or its most frequent value.
        domain: hashes of the known categories (`category_hash`).
        length: shortest and longest text.
        personal: how a personal value is made unrecognisable before it is written anywhere.
        on: what is done about a kind of violation, where it is not the default.
    """

    field: str
    element: int | None = None
    missing: bool = False
    infinite: bool = False
    minimum: float | None = None
    maximum: float | None = None
    usual: tuple[float, float] | None = None
    central: tuple[float, float] | None = None
    typical: float | str | None = None
    domain: frozenset[int] | None = None
    length: tuple[int, int] | None = None
    personal: str | None = None
    on: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, policy in self.on.items():
            if policy not in KINDS.get(kind, ()):
                raise InvalidExpectation(
                    f"Expectation of {self.name!r}: on.{kind} is {policy!r}; there are "
                    f"{', '.join(sorted(KINDS)) if kind not in KINDS else ', '.join(sorted(KINDS[kind]))}."
                )
            if policy == "impute" and self.typical is None:
                raise InvalidExpectation(
                    f"Expectation of {self.name!r}: {kind} shall be imputed, and no typical value is known; register "
                    "with a reference, or choose another policy."
                )
        if self.personal not in (None, *PERSONAL):
            raise InvalidExpectation(
                f"Expectation of {self.name!r}: personal is {self.personal!r}; there are {', '.join(PERSONAL)}."
            )

    @property
    def name(self) -> str:
        """The feature's name: the field's, or `FIELD[3]` for a column of a matrix."""
        return self.field if self.element is None else f"{self.field}[{self.element}]"

    def policy(self, kind: str) -> str:
        """What is done about a kind of violation: reject, clip, impute, warn or ignore."""
        return self.on.get(kind) or DEFAULTS[kind]

    @property
    def limits(self) -> tuple[float, float]:
        """Between these no number is remarked upon."""
        widest = math.inf if self.infinite else _LARGEST
        lows = [limit for limit in (self.minimum, self.usual and self.usual[0]) if limit is not None]
        highs = [limit for limit in (self.maximum, self.usual and self.usual[1]) if limit is not None]
        return max(lows, default=-widest), min(highs, default=widest)

    @property
    def clips_to(self) -> tuple[float, float]:
        """Where a number is clipped to: what is declared, else what is usual."""
        usual = self.usual or (-_LARGEST, _LARGEST)
        return (usual[0] if self.minimum is None else self.minimum, usual[1] if self.maximum is None else self.maximum)

    def to_json(self) -> dict[str, Any]:
        """Give the expectation as JSON values; what is at its default is left out."""
        document: dict[str, Any] = {"field": self.field}
        for key in ("element", "minimum", "maximum", "typical", "personal"):
            if (value := getattr(self, key)) is not None:
                document[key] = value
        for key in ("usual", "central", "length"):
            if (pair := getattr(self, key)) is not None:
                document[key] = list(pair)
        document |= {key: True for key in ("missing", "infinite") if getattr(self, key)}
        if self.domain is not None:
            packed = np.array(sorted(self.domain), dtype="<u8").tobytes()
            document["domain"] = base64.b64encode(packed).decode()
        return document | ({"on": dict(self.on)} if self.on else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Expectation:
        """Read what `to_json` wrote. Raises InvalidExpectation for anything else."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(document, Mapping) or not {"field"} <= set(document) <= known:
            raise InvalidExpectation(f"An expectation is an object with {', '.join(sorted(known))}, got "
                                     f"{str(document)[:80]}.")  # fmt: skip
        given = dict(document)
        try:
            for key in ("usual", "central", "length"):
                if key in given:
                    low, high = given[key]
                    given[key] = (low, high)
            if "domain" in given:
                packed = np.frombuffer(base64.b64decode(given["domain"], validate=True), dtype="<u8")
                given["domain"] = frozenset(packed.tolist())
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise InvalidExpectation(f"The expectation of {given['field']!r} cannot be read: {error}.") from None


@dataclass(frozen=True)
class Expectations:
    """All that is expected of a model's inputs.

    Attributes:
        features: an expectation for each feature.
        unchecked: what cannot be checked, by field, and why.
        salt: goes into the hashes of categories.
        rows: how many rows of a reference these were learnt from.
        outputs: how outputs that are personal are made unrecognisable, by name.
    """

    features: tuple[Expectation, ...] = ()
    unchecked: Mapping[str, str] = dataclasses.field(default_factory=dict)
    salt: str = ""
    rows: int = 0
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def infer(
        cls,
        signature: Signature,
        frame: DataFrame | None = None,
        *,
        salt: str = "",
        personal: Mapping[str, str] = MappingProxyType({}),
    ) -> Expectations:
        """Learn what to expect from a reference's rows; what the signature declares goes before it.

        Args:
            signature: the model's.
            frame: rows as they were in training; without it only what is declared, and categories, are expected.
            salt: for the hashes of categories.
            personal: how the values of fields that were found to be personal are to be treated.
        """
        unchecked: dict[str, str] = {}
        features: list[Expectation] = []
        for field in signature.inputs:
            if not field.sequence:
                features += _of_field(field, signature, frame, salt, personal.get(field.name), unchecked)
        outputs = {field.name: field.expect["personal"] for field in signature.outputs
                   if field.expect and field.expect.get("personal")}  # fmt: skip
        return cls(tuple(features), unchecked, salt, 0 if frame is None else len(frame), outputs)

    @cached_property
    def personal(self) -> dict[str, str]:
        """How values of personal fields are made unrecognisable, by the field's name."""
        return {feature.field: feature.personal for feature in self.features if feature.personal}

    def of(self, name: str) -> Expectation:
        """Give the expectation of a feature. Raises InvalidExpectation where there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise InvalidExpectation(f"Nothing is expected of {name!r}; there are "
                                 f"{', '.join(feature.name for feature in self.features[:20])}.")  # fmt: skip

    def contract(self, signature: Signature) -> Signature:
        """The signature that requests are read with: what may be missing or is imputed may be left out, and what is
        personal is marked."""
        by_field: dict[str, list[Expectation]] = {}
        for feature in self.features:
            by_field.setdefault(feature.field, []).append(feature)
        return Signature(
            tuple(_contract(field, by_field.get(field.name, [])) for field in signature.inputs), signature.outputs
        )

    def to_json(self) -> dict[str, Any]:
        """Give the expectations as JSON values, marked with their format."""
        return {"format": FORMAT, "salt": self.salt, "rows": self.rows,
                "features": [feature.to_json() for feature in self.features], "unchecked": dict(self.unchecked),
                "outputs": dict(self.outputs)}  # fmt: skip

    def to_bytes(self) -> bytes:
        """Give the expectations as indented JSON; the same ones are the same bytes."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, document: Any) -> Expectations:
        """Read what `to_json` wrote. Raises InvalidExpectation for another format or missing parts."""
        found = document.get("format") if isinstance(document, Mapping) else None
        if found != FORMAT:
            raise InvalidExpectation(f"These expectations have format {found!r}, and this Serinus reads format "
                                     f"{FORMAT}.")  # fmt: skip
        features = document.get("features")
        if not isinstance(features, list):
            raise InvalidExpectation(f"Expectations need a list of features, got {str(features)[:60]}.")
        return cls(
            tuple(map(Expectation.from_json, features)),
            dict(document.get("unchecked", {})),
            str(document.get("salt", "")),
            int(document.get("rows", 0)),
            dict(document.get("outputs", {})),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Expectations:
        """Read what `to_bytes` wrote. Raises InvalidExpectation for anything else."""
        try:
            return cls.from_json(json.loads(data))
        except (ValueError, RecursionError) as error:
            raise InvalidExpectation(f"Expectations must be JSON: {error}.") from None


def _contract(field: Field, features: list[Expectation]) -> Field:
    if not features:
        return field
    optional = field.optional or any(
        feature.missing or feature.policy("missing_value") != "reject" for feature in features
    )
    personal = next((feature.personal for feature in features if feature.personal), None)
    expect = {**(field.expect or {}), **({"personal": personal} if personal else {})}
    return replace(field, optional=optional, expect=check_expect(field.name, expect) or None)


def _of_field(field: Field, signature: Signature, frame: DataFrame | None, salt: str, personal: str | None,
              unchecked: dict[str, str]) -> list[Expectation]:  # fmt: skip
    personal = (field.expect or {}).get("personal", personal) or None
    learnt: list[Expectation]
    columns = _columns(field, signature, frame)
    if personal is not None:
        unchecked[field.name] = "it is personal, so nothing is kept of its values"
        learnt = [Expectation(field.name, missing=field.optional, infinite=True, personal=personal)]
        if columns:
            learnt = [replace(learnt[0], missing=field.optional or bool(columns[0].isna().any()), infinite=False)]
    elif field.datatype == "BYTES" or field.labels:
        learnt = [_of_texts(field, columns[0] if len(columns) == 1 else None, salt, unchecked)]
    elif field.datatype == "BOOL" or not columns:
        learnt = [Expectation(field.name, missing=field.optional, infinite=not columns)]
        if frame is not None and not columns:
            unchecked[field.name] = "the reference has no column for it"
    else:
        matrix = len(field.shape) == 2 and field.shape[1] != 1
        learnt = [_of_numbers(field, column, place if matrix else None, unchecked)
                  for place, column in enumerate(columns)]  # fmt: skip
    return [_declared(feature, field, salt) for feature in learnt]


def _columns(field: Field, signature: Signature, frame: DataFrame | None) -> list[Series[Any]]:
    """The reference's columns of a field: its own, or all of them for the only matrix."""
    if frame is None or len(frame) == 0:
        return []
    if field.shape in ((-1,), (-1, 1)) and list(frame.columns).count(field.name) == 1:
        return [frame[field.name]]
    only = len(signature.inputs) == 1 and len(field.shape) == 2 and field.shape[1] in (-1, frame.shape[1])
    return [frame.iloc[:, place] for place in range(frame.shape[1])] if only else []


def _of_numbers(field: Field, column: Series[Any], element: int | None, unchecked: dict[str, str]) -> Expectation:
    plain = Expectation(field.name, element, missing=field.optional)
    values = _numbers(column)
    if values is None:
        unchecked[plain.name] = "the reference's column holds no numbers"
        return replace(plain, infinite=True)
    plain = replace(plain, missing=field.optional or bool(np.isnan(values).any()),
                    infinite=bool(np.isinf(values).any()))  # fmt: skip
    finite = values[np.isfinite(values)]
    if len(finite) < _ENOUGH_ROWS:
        unchecked[plain.name] = f"the reference has {len(finite)} numbers of it, too few to know what is usual"
        return plain
    low, first, middle, last, high = np.quantile(finite, _BULK, method="nearest").tolist()
    whole = field.dtype.kind in "iu"
    return replace(
        plain,
        usual=_usual(float(finite.min()), low, high, float(finite.max())),
        central=(_rounded(first, False), _rounded(last, False)),
        typical=_rounded(middle, whole),
    )


def _usual(smallest: float, low: float, high: float, largest: float) -> tuple[float, float]:
    """The bulk of the numbers with half its width on either side, and the extremes; zero is not crossed."""
    with np.errstate(over="ignore"):
        room = float(np.float64(high) - np.float64(low)) / 2
        start, end = min(smallest, low - room), max(largest, high + room)
    if not math.isfinite(room):
        return -_LARGEST, _LARGEST
    width = end - start
    if math.isfinite(width) and width > 0:  # rounded outward: an extreme is somebody's own value
        step = 10.0 ** (math.floor(math.log10(width)) - 1)
        start, end = math.floor(start / step) * step if step else start, math.ceil(end / step) * step if step else end
    start, end = max(start, -_LARGEST), min(end, _LARGEST)
    return (max(start, 0.0) if smallest >= 0 else start), (min(end, 0.0) if largest <= 0 else end)


def _of_texts(field: Field, column: Series[Any] | None, salt: str, unchecked: dict[str, str]) -> Expectation:
    """Of categories and texts: a domain where there are few enough different ones, else a length."""
    plain = Expectation(field.name, missing=field.optional, infinite=True)
    domain = None
    if field.labels:
        domain = _domain(field.labels, salt)
    if column is None or str(field.frame_dtype).startswith("datetime"):
        return replace(plain, domain=domain)
    present = column.dropna()
    plain = replace(plain, missing=field.optional or len(present) < len(column))
    if len(present) < _ENOUGH_ROWS:
        unchecked[field.name] = f"the reference has {len(present)} values of it, too few to know what is usual"
        return replace(plain, domain=domain)
    counts = present.astype(str).value_counts()
    frequent = counts.index[0] if counts.iloc[0] >= _FREQUENT else None
    if domain is None and len(counts) <= _MANY_CATEGORIES and 2 * len(counts) <= len(present):
        domain = _domain(counts.index, salt)
    if domain is not None:
        return replace(plain, domain=domain, typical=frequent if field.datatype == "BYTES" else None)
    longest = 2 * max(map(len, counts.index))
    unchecked[field.name] = f"{len(counts)} different texts are no categories: only the length is checked"
    return replace(plain, length=(0, longest), typical=frequent)


def _declared(feature: Expectation, field: Field, salt: str) -> Expectation:
    """What a person declared goes before what was learnt; what is declared is a rule, so it is rejected."""
    expect = field.expect or {}
    rules: dict[str, str] = {}
    changes: dict[str, Any] = {}
    for key, name in (("min", "minimum"), ("max", "maximum"), ("missing", "missing")):
        if key in expect:
            changes[name] = expect[key]
    if "length" in expect:
        changes["length"], rules["text_length"] = tuple(expect["length"]), "reject"
    if "categories" in expect:
        texts = field.datatype == "BYTES"
        changes["domain"] = _domain((str(one) if texts else one for one in expect["categories"]), salt)
        rules["unseen_category"] = "reject"
    on = {**rules, **expect.get("on", {})}
    return replace(feature, **changes, on=on)


def _domain(categories: Iterable[Any], salt: str) -> frozenset[int]:
    hashes = (category_hash(category, salt.encode()) for category in categories)
    return frozenset(found for found in hashes if found is not None)


def _numbers(column: Series[Any]) -> NDArray[np.float64] | None:
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        return None
    return values if len(values) <= _SAMPLE_ROWS else values[:: len(values) // _SAMPLE_ROWS]


def _rounded(value: float, whole: bool) -> float:
    """Round to three digits: a quantile may be somebody's own value."""
    rounded = min(max(float(f"{value:.3g}"), -_LARGEST), _LARGEST)
    return float(round(rounded)) if whole else rounded


def slips_of(feature: Expectation) -> Iterable[tuple[str, float, float]]:
    """The changes of unit that can be told for a feature: they move its central range to where it was not."""
    if feature.central is None:
        return
    low, high = feature.central
    for name, factor, shift in SLIPS:
        first, last = (low - shift) / factor, (high - shift) / factor
        if math.isfinite(first) and math.isfinite(last) and (first > high or last < low):
            yield name, factor, shift
