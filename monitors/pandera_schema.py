"""Expectations as a pandera schema, and back.

What pandera can check becomes its checks: ranges, lengths, categories where the signature names them, gaps. What it
cannot (hashed domains, changes of unit, what is done about a violation) travels along as JSON in each column's
description, which pandera's YAML keeps as well, so that nothing is lost on the way back. A schema that a person wrote,
or changed, is read by its checks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from serinus.models.signature import DATATYPES, Field, Signature
from serinus.monitors.errors import InvalidExpectation
from serinus.monitors.features import category_hash
from serinus.monitors.validation import Expectation, Expectations

if TYPE_CHECKING:
    from pandera.pandas import Check, Column, DataFrameSchema

__all__ = ["from_pandera", "from_yaml", "to_pandera", "to_yaml"]

_KEY = "serinus: "
_LIMITS = {"greater_than_or_equal_to": ("minimum", "min_value"), "less_than_or_equal_to": ("maximum", "max_value"),
           "greater_than": ("minimum", "min_value"), "less_than": ("maximum", "max_value")}  # fmt: skip


def to_pandera(expectations: Expectations, signature: Signature) -> DataFrameSchema:
    """Make a pandera schema for frames with a model's inputs as columns.

    Raises InvalidExpectation where pandera is not installed.
    """
    pandera = _pandera()
    fields = {field.name: field for field in signature.inputs}
    columns = {feature.name: _column(feature, fields[feature.field])
               for feature in expectations.features if feature.field in fields}  # fmt: skip
    about = {key: value for key, value in expectations.to_json().items() if key != "features"}
    schema: DataFrameSchema = pandera.DataFrameSchema(columns, description=_note(about))
    return schema


def from_pandera(schema: DataFrameSchema) -> Expectations:
    """Read what `to_pandera` made, or a schema that a person wrote.

    A person's checks of one column that can be told (ranges, lengths, `isin`, gaps) are rules: what breaks one is
    rejected, or remarked upon where the check only raises a warning. The others are named in `unchecked`.
    """
    _pandera()
    about = _about(schema.description)
    salt = str(about.get("salt", ""))
    unchecked = dict(about.get("unchecked", {}))
    features = tuple(_feature(str(name), column, salt, unchecked) for name, column in schema.columns.items())
    return Expectations(features, unchecked, salt, int(about.get("rows", 0)), dict(about.get("outputs", {})))


def to_yaml(expectations: Expectations, signature: Signature) -> str:
    """Write a pandera schema as YAML."""
    text = to_pandera(expectations, signature).to_yaml()
    return str(text)


def from_yaml(text: str) -> Expectations:
    """Read a pandera schema's YAML. Raises InvalidExpectation where it is none."""
    _pandera()
    from pandera.io.pandas_io import from_yaml as read

    try:
        schema = read(text)  # type: ignore[no-untyped-call]
        if not schema.columns:
            raise InvalidExpectation("This is no pandera schema: it has no columns.")
        return from_pandera(schema)
    except InvalidExpectation:
        raise
    except Exception as error:
        raise InvalidExpectation(f"This is no pandera schema: {str(error).splitlines()[0] if str(error) else error!r}"
                                 ) from None  # fmt: skip


def _pandera() -> Any:
    try:
        import pandera.pandas
    except ImportError:
        raise InvalidExpectation('pandera is not installed; add it with: pip install "serinus[pandera]"') from None
    return pandera.pandas


def _column(feature: Expectation, field: Field) -> Column:
    pandera = _pandera()
    dtype = None if field.datatype == "BYTES" else str(DATATYPES[field.datatype])
    column: Column = pandera.Column(
        dtype,
        _checks(feature, field),
        nullable=feature.missing,
        required=not field.optional,
        coerce=dtype is not None and not feature.missing,
        name=feature.name,
        description=_note(feature.to_json()),
    )
    return column


def _checks(feature: Expectation, field: Field) -> list[Check]:
    check = _pandera().Check
    checks = []
    for kind, low, high in (("out_of_range", feature.minimum, feature.maximum),
                            ("unusual_value", *(feature.usual or (None, None)))):  # fmt: skip
        warns = feature.policy(kind) != "reject"
        if low is not None and high is not None:
            checks.append(check.in_range(low, high, raise_warning=warns))
        elif low is not None or high is not None:
            checks.append(check.ge(low, raise_warning=warns) if low is not None
                          else check.le(high, raise_warning=warns))  # fmt: skip
    categories = (field.expect or {}).get("categories") or field.labels
    if categories and not feature.personal:
        checks.append(check.isin(list(categories), raise_warning=feature.policy("unseen_category") != "reject"))
    if feature.length is not None:
        warns = feature.policy("text_length") != "reject"
        checks.append(check.str_length(*feature.length, raise_warning=warns))
    return checks


def _feature(name: str, column: Column, salt: str, unchecked: dict[str, str]) -> Expectation:
    kept = _about(column.description)
    feature = Expectation.from_json(kept) if kept else Expectation(name, infinite=True)
    own = {_text(check) for check in _own_checks(feature)}
    rules = _is_usual_kept(feature, column)
    feature = replace(feature, missing=bool(column.nullable))
    unknown = []
    for check in column.checks:
        if _text(check) not in own and (changed := _read(feature, check, salt, rules)) is not None:
            feature = changed
        elif _text(check) not in own:
            unknown.append(str(check.name))
    if unknown:
        unchecked[feature.name] = f"the checks {', '.join(unknown)} of its pandera schema cannot be made per request"
    return feature


def _own_checks(feature: Expectation) -> list[Check]:
    """The checks that `to_pandera` makes of what the description says, which therefore say nothing new."""
    return _checks(feature, Field(feature.field, "BYTES", (-1,)))


def _is_usual_kept(feature: Expectation, column: Column) -> bool:
    """Whether the range of what is usual is unchanged, so that another range is a rule even where it only warns."""
    if feature.usual is None:
        return False
    (check,) = _checks(Expectation(feature.field, usual=feature.usual, on=feature.on), Field("x", "BYTES", (-1,)))
    return _text(check) in set(map(_text, column.checks))


def _read(feature: Expectation, check: Check, salt: str, rules: bool) -> Expectation | None:
    """The expectation with what one check says; None where it says nothing that can be checked per request."""
    values = {**(check.statistics or {})}
    policy = "warn" if check.raise_warning else "reject"
    if check.name == "in_range":
        low, high = values["min_value"], values["max_value"]
        if policy == "warn" and not rules:
            return replace(feature, usual=(float(low), float(high)))
        return _with(feature, "out_of_range", policy, minimum=low, maximum=high)
    if check.name in _LIMITS:
        key, name = _LIMITS[check.name]
        limit = float(values[name])
        if check.name in ("greater_than", "less_than"):
            limit = math.nextafter(limit, math.inf if key == "minimum" else -math.inf)
        low, high = (limit, feature.maximum) if key == "minimum" else (feature.minimum, limit)
        return _with(feature, "out_of_range", policy, minimum=low, maximum=high)
    if check.name == "isin":
        hashes = (category_hash(value, salt.encode()) for value in values["allowed_values"])
        domain = frozenset(found for found in hashes if found is not None)
        return _with(feature, "unseen_category", policy, domain=domain)
    if check.name == "str_length":
        shortest, longest = values.get("min_value") or 0, values.get("max_value")
        if longest is None:
            return None
        return _with(feature, "text_length", policy, length=(int(shortest), int(longest)))
    return None


def _with(feature: Expectation, kind: str, policy: str, **changes: Any) -> Expectation:
    """With what a check says, and what it does; that a check only warns does not undo that a value is clipped, say."""
    before = feature.policy(kind)
    same = before == policy or (policy == "warn" and before != "reject")
    return replace(feature, **changes, on=feature.on if same else {**feature.on, kind: policy})


def _text(check: Check) -> str:
    return f"{check.name} {sorted((check.statistics or {}).items(), key=str)} {check.raise_warning}"


def _note(document: Mapping[str, Any]) -> str:
    return _KEY + json.dumps(document, ensure_ascii=False)


def _about(description: str | None) -> dict[str, Any]:
    if description is None or not description.startswith(_KEY):
        return {}
    try:
        about = json.loads(description.removeprefix(_KEY))
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise InvalidExpectation(f"Behind {_KEY!r} a description must hold a JSON object, got {description[:60]!r}.")
    return about
