"""Parts of the rows: where a version is worse though it is no worse on the whole, and which rows it fixed and broke.

Declared slices are the values of the policy's columns. Others are searched for on one half of the rows, as
conjunctions of up to two features' values or quartiles, and only what the other half confirms is named. Names are
given by Benjamini and Hochberg's rule, so that among ten named one is false on average at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Trial
from serinus.monitors.intervals import Interval, mean, paired_difference
from serinus.monitors.slices import adjusted

__all__ = ["Churn", "Part", "Slice", "SlicesFound", "check_slices", "parts_of"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_VALUES = 10
_QUARTILES = (0.25, 0.5, 0.75)
_ROWS = 20_000
_TRIED = 12
_SHOWN_IDS = 20


@dataclass(frozen=True)
class Part:
    """Some of the rows, and what they have in common, in words."""

    name: str
    rows: Mask


@dataclass(frozen=True)
class Slice:
    """One slice.

    Attributes:
        name: what its rows have in common.
        declared: whether the policy names it; else it was found.
        rows: how many it has; of found ones in the half that confirms.
        loss, current: the share of wrong answers (for numbers the mean error in mean errors of the current version)
            of both versions.
        difference: by how much the candidate is worse.
        interval: the difference's.
        p: of "it is no worse here", one-sided.
        named: whether Benjamini and Hochberg's rule names it.
        unknown: whether it has too few rows to say anything.
    """

    name: str
    declared: bool
    rows: int
    loss: float
    current: float
    difference: float
    interval: Interval | None
    p: float
    named: bool
    unknown: bool


@dataclass(frozen=True)
class Churn:
    """Rows that were fixed and rows that were broken.

    Attributes:
        fixed, broke: how many.
        fixed_rows, broke_rows: the names of the first of them, the surest answers first.
    """

    fixed: int
    broke: int
    fixed_rows: tuple[str, ...]
    broke_rows: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Both numbers."""
        return f"It fixed {self.fixed:,} rows and broke {self.broke:,}."


@dataclass(frozen=True)
class SlicesFound:
    """All slices, those that got worse first, and the churn; the latter is None for numbers and first versions."""

    slices: tuple[Slice, ...]
    churn: Churn | None
    tried: int
    """How many slices nobody declared were looked at."""


def check_slices(trial: Trial, policy: Policy) -> Check:
    """Compare the versions slice by slice."""
    worse = trial.losses(trial.candidate) - _standard(trial)
    declared = [_measured(part, worse, trial, policy) | {"declared": True}
                for part in parts_of(trial.columns, policy.slices.columns)]
    found, tried = _discovered(worse, trial, policy) if policy.slices.discover else ([], 0)
    slices = _named([*declared, *found], policy)
    churn = churn_of(trial)
    details = SlicesFound(tuple(sorted(slices, key=_order)), churn, tried)
    said = f" {churn.sentence}" if churn is not None else ""
    known = [one for one in slices if not one.unknown]
    bad = [one for one in details.slices if one.named]
    if not known and not tried:
        return Check("slices", Status.NOT_RUN, f"No slice has {policy.slices.min_rows} rows.{said}", details)
    if not bad:
        looked = [f"{len(known)} slices are no worse than {_whom(trial)}"] if known else []
        searched = [f"{tried:,} were searched, and none is surely worse"] if tried else []
        return Check("slices", Status.PASS, f"{'; '.join([*looked, *searched])}.{said}", details)
    heavy = [one for one in bad if one.difference > policy.slices.margin]
    first = (heavy or bad)[0]
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    unit = "points" if trial.classifies else "% of the mean error"
    said = (f"Worse than {_whom(trial)} where {first.name}: by {100 * first.difference:.1f} {unit} in {first.rows:,} "
            f"rows{more}.{said}")
    return Check("slices", Status.FAIL if heavy and not trial.trivial else Status.WARN, said, details)


def _whom(trial: Trial) -> str:
    return "the version itself on the whole" if trial.trivial else trial.against


def _standard(trial: Trial) -> Floats:
    """What a slice's losses are held against: the current version's, or the mean where there is none."""
    if trial.trivial:
        return np.full(trial.rows, float(trial.losses(trial.candidate).mean()))
    return trial.losses(trial.current)


def _order(one: Slice) -> tuple[bool, bool, float]:
    return one.unknown, not one.named, -one.difference


def parts_of(columns: Mapping[str, NDArray[Any]], names: Sequence[str], *, like: Mask | None = None) -> list[Part]:
    """Give the parts that columns' values make: the ten most frequent ones, or quarters of many numbers.

    Args:
        columns: values by the column's name; others than arrays of one dimension are passed over.
        names: which columns.
        like: rows from which frequent values and quarters are taken; all of them without it.
    """
    found: list[Part] = []
    for name in names:
        values = columns.get(name)
        if values is not None and values.ndim == 1 and len(values):
            found += _parts(name, values, np.ones(len(values), bool) if like is None else like)
    return found


def _parts(name: str, values: NDArray[Any], like: Mask) -> list[Part]:
    if values.dtype.kind in "fiu":
        numbers = values.astype(np.float64)
        known = numbers[like & np.isfinite(numbers)]
        if len(np.unique(known[:5000])) > _VALUES:
            return _quarters(name, numbers, np.unique(np.quantile(known, _QUARTILES)))
    texts = np.array([str(value) for value in values.tolist()], object)
    seen, counts = np.unique(texts[like].astype(str), return_counts=True)
    frequent = seen[np.argsort(-counts, kind="stable")][:_VALUES]
    return [Part(f"{name} = {_missing(value)}", np.asarray(texts == value)) for value in frequent]


def _missing(value: str) -> str:
    return "missing" if value in ("nan", "None", "NaT", "<NA>") else value


def _quarters(name: str, numbers: Floats, edges: Floats) -> list[Part]:
    places = np.searchsorted(edges, numbers, side="right")
    texts = [f"{edge:.4g}" for edge in edges]
    names = [f"{name} < {texts[0]}", *(f"{low} ≤ {name} < {high}" for low, high in pairwise(texts)),
             f"{name} ≥ {texts[-1]}"]
    found = [Part(text, np.asarray((places == place) & np.isfinite(numbers))) for place, text in enumerate(names)]
    gaps = np.isnan(numbers)
    return [*found, *([Part(f"{name} = missing", gaps)] if gaps.any() else [])]


def _measured(part: Part, worse: Floats, trial: Trial, policy: Policy) -> dict[str, Any]:
    rows = part.rows
    many = int(rows.sum())
    apart = worse[rows]
    unknown = many < policy.slices.min_rows
    loss = float(trial.losses(trial.candidate)[rows].mean()) if many else math.nan
    difference = float(apart.mean()) if many else math.nan
    return {"name": part.name, "rows": many, "loss": loss, "current": loss - difference, "difference": difference,
            "interval": None if unknown else _interval(apart, rows, trial), "unknown": unknown, "declared": False,
            "p": 1.0 if unknown else _p_worse(apart, exact=trial.classifies and not trial.trivial)}


def _interval(apart: Floats, rows: Mask, trial: Trial) -> Interval | None:
    if trial.classifies and not trial.trivial:
        ours, theirs = (answers.values[rows] != trial.truth[rows] for answers in (trial.candidate, trial.current))
        return paired_difference(*(int(cell.sum()) for cell in (ours & theirs, ours & ~theirs, theirs & ~ours,
                                                                ~ours & ~theirs)))
    return mean(len(apart), float(apart.sum()), float((apart**2).sum()))


def _p_worse(apart: Floats, *, exact: bool) -> float:
    """One-sided: the exact test of McNemar where rows are right or wrong, else Student's."""
    from scipy.special import bdtr, stdtr

    if exact:
        broke, fixed = int((apart > 0).sum()), int((apart < 0).sum())
        return float(bdtr(fixed, broke + fixed, 0.5)) if broke + fixed else 1.0
    spread = float(apart.std(ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
    if not (spread > 0 and math.isfinite(spread)):
        return 1.0
    return float(stdtr(len(apart) - 1, -float(apart.mean()) / spread))


def _named(slices: Sequence[dict[str, Any]], policy: Policy) -> list[Slice]:
    known = [place for place, one in enumerate(slices) if not one["unknown"]]
    values = adjusted([slices[place]["p"] for place in known])
    sure = {place for place, p in zip(known, values, strict=True) if p <= policy.slices.level}
    return [Slice(**one, named=place in sure) for place, one in enumerate(slices)]


def _discovered(worse: Floats, trial: Trial, policy: Policy) -> tuple[list[dict[str, Any]], int]:
    """Search on one half of the rows; measure the best on the other."""
    draw = np.random.default_rng(0)
    chosen = np.zeros(trial.rows, bool)
    chosen[draw.permutation(trial.rows)[: min(trial.rows, _ROWS) // 2]] = True
    least = max(policy.slices.min_rows, int(0.01 * chosen.sum()))
    columns = {name: values for name, values in _flat(trial.inputs).items() if name not in trial.personal}
    parts = [part for part in parts_of(columns, list(columns), like=chosen)
             if (part.rows & chosen).sum() >= least]
    tried = [*parts, *_pairs(parts, worse, chosen, least)]
    ranked = sorted(tried, key=lambda part: -_score(worse[part.rows & chosen]))[:_TRIED]
    best = [part for part in ranked if _score(worse[part.rows & chosen]) > 1]
    return [_measured(Part(part.name, part.rows & ~chosen), worse, trial, policy) for part in best], len(tried)


def _flat(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Give columns by name; those of a matrix by their places."""
    flat: dict[str, NDArray[Any]] = {}
    for name, values in inputs.items():
        if values.ndim == 2 and values.shape[1] <= 200:
            flat |= {f"{name}[{place}]": values[:, place] for place in range(values.shape[1])}
        else:
            flat[name] = values
    return flat


def _score(apart: Floats) -> float:
    """How surely a slice is worse, in standard errors."""
    spread = float(apart.std()) if len(apart) else 0.0
    return float(apart.mean()) * math.sqrt(len(apart)) / spread if spread > 0 and math.isfinite(spread) else 0.0


def _pairs(parts: Sequence[Part], worse: Floats, chosen: Mask, least: int) -> list[Part]:
    """Conjunctions of two parts that are large enough, the more promising first; one matrix product finds their
    sums."""
    if len(parts) < 2:
        return []
    table = np.column_stack([part.rows[chosen] for part in parts]).astype(np.float64)
    counts, sums = table.T @ table, table.T @ (table * worse[chosen][:, None])
    sums = np.where((counts >= least) & np.isfinite(sums), sums / np.sqrt(np.maximum(counts, 1)), -np.inf)
    first, second = np.triu_indices(len(parts), 1)
    best = np.argsort(-sums[first, second], kind="stable")[: 4 * _TRIED]
    return [Part(f"{parts[i].name} and {parts[j].name}", parts[i].rows & parts[j].rows)
            for i, j in zip(first[best], second[best], strict=True) if np.isfinite(sums[i, j])]


def churn_of(trial: Trial) -> Churn | None:
    """Give the rows that only one of the versions gets right; None where there is one version, or numbers."""
    if not trial.classifies or trial.trivial:
        return None
    ours, theirs = trial.candidate.values == trial.truth, trial.current.values == trial.truth
    fixed, broke = np.flatnonzero(ours & ~theirs), np.flatnonzero(theirs & ~ours)
    table = trial.candidate.probabilities
    if table is not None:
        fixed, broke = (rows[np.argsort(-table[rows].max(axis=1), kind="stable")] for rows in (fixed, broke))
    return Churn(len(fixed), len(broke), _ids(trial, fixed), _ids(trial, broke))


def _ids(trial: Trial, rows: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(str(name) for name in trial.ids[rows[:_SHOWN_IDS]].tolist())
