"""What the gate asks for: a TOML file of few words, each with a default.

```toml
[margins]            # by how much a metric may be worse than the current version's; numbers' errors relatively
accuracy = 0.005
roc_auc = 0.005
mae = 0.01

[floors]             # what must be reached whatever the current version does
roc_auc = 0.7

[slices]
columns = ["region"]

[fairness]
groups = ["sex"]

[worth]              # what answers are worth: makes the metric `value`
positive = "late"
unit = "EUR"
values.late = { late = 5, paid = -20 }
```
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from serinus.monitors.errors import InvalidPolicy
from serinus.monitors.worth import UNDECLARED, Worth

__all__ = ["CHECKS", "Calibration", "Contracts", "Fairness", "Latency", "Leakage", "Policy", "Robustness", "Slices"]

CHECKS = ("signature", "metrics", "calibration", "slices", "robustness", "fairness", "leakage", "latency", "profile",
          "provenance")
"""The ten checks, in their order."""

Section = TypeVar("Section")


@dataclass(frozen=True)
class Calibration:
    """What is asked of probabilities.

    Attributes:
        margin: by how much the Brier score may be worse.
        max_error: the largest calibration error (ECE) that passes without a remark.
    """

    margin: float = 0.005
    max_error: float = 0.05


@dataclass(frozen=True)
class Slices:
    """What is asked of parts of the rows.

    Attributes:
        columns: columns whose values are slices.
        margin: by how much more of a slice may go wrong than before.
        min_rows: below this nothing is said of a slice.
        level: the share of false names among the slices named (Benjamini and Hochberg).
        discover: whether slices that nobody declared are searched for.
    """

    columns: tuple[str, ...] = ()
    margin: float = 0.02
    min_rows: int = 50
    level: float = 0.1
    discover: bool = True


@dataclass(frozen=True)
class Robustness:
    """What is asked of answers to changed rows.

    Attributes:
        rows: how many rows are changed.
        features: how many features at most.
        max_flips: the share of answers that noise of 1 % may change.
    """

    rows: int = 400
    features: int = 30
    max_flips: float = 0.05


@dataclass(frozen=True)
class Contracts:
    """What the answers promise.

    Attributes:
        increasing: features with which the answer never falls.
        decreasing: features with which it never rises.
        invariant: features that must not change it.
        bounds: the least and the largest answer there may be.
    """

    increasing: tuple[str, ...] = ()
    decreasing: tuple[str, ...] = ()
    invariant: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Fairness:
    """What is asked of groups of people.

    Attributes:
        groups: columns that say to which group a row belongs.
        max_gap: how far the rates of two groups may be apart.
        min_rows: below this a group is unknown.
    """

    groups: tuple[str, ...] = ()
    max_gap: float = 0.1
    min_rows: int = 50


@dataclass(frozen=True)
class Leakage:
    """What looks too good to be true.

    Attributes:
        max_area: the area under the ROC curve that a single feature may have.
        max_duplicates: the share of rows that may be among those of the training.
    """

    max_area: float = 0.98
    max_duplicates: float = 0.01


@dataclass(frozen=True)
class Latency:
    """What an answer may cost.

    Attributes:
        max_ratio: how many times the current version's time.
        p99_ms: milliseconds of one row, 99 in 100 times; 0 is no limit.
        p99_ms_of_32: the same for 32 rows.
        max_mb: size of the artifact; 0 is no limit.
    """

    max_ratio: float = 2.0
    p99_ms: float = 0.0
    p99_ms_of_32: float = 0.0
    max_mb: float = 0.0


@dataclass(frozen=True)
class Policy:
    """All of it.

    Attributes:
        margins: by how much each metric may be worse; those named here decide. Margins of errors of numbers (mae,
            rmse) are relative to the current version's.
        floors: what each metric must reach; for errors and losses, stay below.
        required: the checks that must not end as not-run.
        level: of the intervals, at the first look at an evaluation set.
        calibration, slices, robustness, contracts, fairness, leakage, latency, worth: see there.
    """

    margins: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 0.005, "roc_auc": 0.005, "mae": 0.01})
    floors: Mapping[str, float] = field(default_factory=dict)
    required: tuple[str, ...] = ("signature", "metrics")
    level: float = 0.95
    calibration: Calibration = Calibration()
    slices: Slices = Slices()
    robustness: Robustness = Robustness()
    contracts: Contracts = Contracts()
    fairness: Fairness = Fairness()
    leakage: Leakage = Leakage()
    latency: Latency = Latency()
    worth: Worth = UNDECLARED

    @classmethod
    def from_toml(cls, text: str, where: str = "The policy") -> Policy:
        """Read a policy. Raises InvalidPolicy for an unknown key, with what may be meant, or a wrong value."""
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidPolicy(f"{where} is no TOML: {error}.") from None
        policy = _section(cls, tree, where, "")
        policy._check(where)
        return policy

    def _check(self, where: str) -> None:
        from serinus.monitors.evaluation.metrics import known_metrics

        metrics = known_metrics()
        for key, names, known in (("margins", self.margins, metrics), ("floors", self.floors, metrics),
                                  ("required", self.required, CHECKS)):
            for name in names:
                if name not in known:
                    raise InvalidPolicy(f"{where}: {key} has no {name!r}; {_hint(name, known)}")
        if not 0.5 <= self.level < 1:
            raise InvalidPolicy(f"{where}: level must lie from 0.5 to below 1, got {self.level}.")
        if len(self.contracts.bounds) not in (0, 2):
            raise InvalidPolicy(f"{where}: contracts.bounds must be the least and the largest answer, got "
                                f"{list(self.contracts.bounds)}.")

    @property
    def digest(self) -> str:
        """The SHA-256 of what it says, defaults included."""
        return f"sha256:{hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()}"

    def to_json(self) -> dict[str, Any]:
        """Give the policy as JSON values."""
        return asdict(self)


def _section(kind: type[Section], tree: Any, where: str, prefix: str) -> Section:
    if not isinstance(tree, Mapping):
        raise InvalidPolicy(f"{where}: {prefix.rstrip('.')} must be a table, got {tree!r}.")
    known, hints = [item.name for item in fields(kind)], get_type_hints(kind)  # type: ignore[arg-type]
    values = {}
    for key, value in tree.items():
        if key not in known:
            raise InvalidPolicy(f"{where} has no {prefix}{key}; {_hint(key, known)}")
        if is_dataclass(hints[key]):
            values[key] = _section(hints[key], value, where, f"{prefix}{key}.")
        else:
            values[key] = _value(hints[key], value, where, prefix + key)
    return kind(**values)


def _hint(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}."


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    """Give a value as its type has it. Raises InvalidPolicy where it is of another."""
    wanted, sound = str(hint), True
    if hint is bool:
        sound = isinstance(value, bool)
    elif hint is str:
        sound = isinstance(value, str)
    elif key in _SIGNED:
        rows = list(value.values()) if key == "worth.values" and isinstance(value, Mapping) else [value]
        sound = all(_is_row(row) for row in rows)
    elif hint is int:
        sound = type(value) is int and value >= 0
    elif hint is float:
        sound = _is_number(value)
    elif wanted.startswith("tuple[str"):
        sound = isinstance(value, list) and all(isinstance(item, str) for item in value)
    elif wanted.startswith("tuple[float"):
        sound = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    else:
        sound = isinstance(value, Mapping) and all(_is_number(item) for item in value.values())
    if not sound:
        words = _SIGNED.get(key) or _WORDS.get(wanted.partition('[')[0], 'a number')
        raise InvalidPolicy(f"{where}: {key} must be {words}, got {value!r}.")
    return tuple(value) if isinstance(value, list) else value


_SIGNED = {"floors": "a table of numbers", "worth.values": "a table of tables of numbers, by truth and answer"}
"""What may be below 0."""

_WORDS = {"<class 'bool'>": "true or false", "<class 'str'>": "a text", "<class 'int'>": "a whole number from 0",
          "<class 'float'>": "a number from 0", "tuple": "a list",
          "collections.abc.Mapping": "a table of numbers from 0", "typing.Mapping": "a table of numbers from 0"}


def _is_row(value: Any) -> bool:
    """Numbers by name, which may be below 0."""
    return isinstance(value, Mapping) and all(
        type(one) in (int, float) and math.isfinite(one) for one in value.values())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0
