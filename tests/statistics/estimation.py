"""Performance estimated without labels, on real and published data, compared with what came true and with NannyML.

    python -m tests.statistics.estimation                  writes RESULTS_ESTIMATION.md
    python -m tests.statistics.estimation nannyml.json     with NannyML's estimates beside ours

NannyML's own numbers come from `nannyml_estimates.py`, run in an environment of its own.
"""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sk

from serinus.monitors.error_estimation import fit_error_estimator
from serinus.monitors.estimation import Comparison, fit_estimator, standings
from tests.statistics.fetch import fetched

RESULTS = Path(__file__).with_name("RESULTS_ESTIMATION.md")
METRICS = ("roc_auc", "accuracy", "f1")

Found = Mapping[str, list[Comparison]]


class Source(NamedTuple):
    """A published data set in NannyML's wheel: files, the columns of truth, answer and score, and rows per chunk."""

    files: tuple[str, str, str]
    truth: str
    answer: str
    score: str
    rows: int
    valid: bool
    """Whether rows stay within the reference, so that an estimate is possible."""


SOURCES = {
    "synthetic_car_loan": Source(
        ("synthetic_car_loan_reference.csv", "synthetic_car_loan_analysis.csv",
         "synthetic_car_loan_analysis_target.csv"),
        "repaid", "y_pred", "y_pred_proba", 5_000, True),
    "employment_MA": Source(
        ("employment_MA_reference.pq", "employment_MA_analysis.pq", "employment_MA_analysis_target.pq"),
        "employed", "prediction", "predicted_probability", 5_000, True),
    "synthetic_sample": Source(
        ("synthetic_sample_reference.csv", "synthetic_sample_analysis.csv", "synthetic_sample_analysis_gt.csv"),
        "work_home_actual", "y_pred", "y_pred_proba", 5_000, True),
    "california_housing": Source(
        ("california_housing_reference.csv", "california_housing_analysis.csv", "california_housing_analysis_gt.csv"),
        "clf_target", "y_pred", "y_pred_proba", 600, False),
}  # fmt: skip


def frame_of(file: str) -> pd.DataFrame:
    """Read a file of the wheel."""
    wheel = fetched() / "nannyml-0.13.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as packed, packed.open(f"nannyml/datasets/data/{file}") as stream:
        return pd.read_parquet(stream) if file.endswith(".pq") else pd.read_csv(stream)


def try_classification(name: str) -> Found:
    """Estimate each chunk of the analysis period, and compare with what came true."""
    source = SOURCES[name]
    reference, analysis, came_true = (frame_of(file) for file in source.files)
    analysis = analysis.merge(came_true, on="id")
    columns = source.score, source.answer, source.truth
    fitted = fit_estimator(*(_numbers(reference, column) for column in columns), labels=2)
    found: dict[str, list[Comparison]] = {metric: [] for metric in METRICS}
    for start in range(0, len(analysis), source.rows):
        scores, answers, truth = (_numbers(analysis.iloc[start : start + source.rows], column) for column in columns)
        estimated = fitted.estimate(fitted.sums(scores, answers))
        realised = {"roc_auc": sk.roc_auc_score(truth, scores), "accuracy": sk.accuracy_score(truth, answers),
                    "f1": sk.f1_score(truth, answers)}
        for metric in METRICS:
            found[metric].append(Comparison(f"row {start:,}", estimated[metric], float(realised[metric])))
    return found


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[Any]:
    return frame[column].astype(float).to_numpy()


def try_regression() -> Found:
    """Estimate MAE and RMSE of car prices, in chunks of 6,000."""
    reference, analysis, came_true = (frame_of(f"regression_synthetic_{part}.csv")
                                      for part in ("reference", "analysis", "analysis_targets"))
    analysis = analysis.merge(came_true, on="id")
    kinds = {name: pd.CategoricalDtype(sorted(reference[name].unique())) for name in ("fuel", "transmission")}
    names = ["car_age", "km_driven", "price_new", "accident_count", "door_count", *kinds]

    def inputs(frame: pd.DataFrame) -> NDArray[Any]:
        coded = frame[names].assign(**{name: frame[name].astype(kind).cat.codes for name, kind in kinds.items()})
        return coded.to_numpy(float)

    fitted = fit_error_estimator(inputs(reference), _numbers(reference, "y_pred"), _numbers(reference, "y_true"))
    found: dict[str, list[Comparison]] = {"mae": [], "rmse": []}
    for start in range(0, len(analysis), 6_000):
        part = analysis.iloc[start : start + 6_000]
        answers, truth = _numbers(part, "y_pred"), _numbers(part, "y_true")
        estimated = fitted.estimate(fitted.sums(inputs(part), answers))
        realised = {"mae": np.abs(answers - truth).mean(), "rmse": np.sqrt(((answers - truth) ** 2).mean())}
        for metric, measure in estimated.items():
            found[metric].append(Comparison(f"row {start:,}", measure, float(realised[metric])))
    return found


def others_error(found: list[Comparison], estimates: list[float]) -> float:
    """The mean absolute error of somebody else's estimates of the same chunks."""
    pairs = zip(found, estimates, strict=False)
    return float(np.mean([abs(value - one.realised) for one, value in pairs]))


def _table(name: str, found: Found, nannyml: Mapping[str, Any]) -> Iterator[str]:
    for metric, judged in standings(found).items():
        comparisons = found[metric]
        theirs = nannyml.get(name, {}).get(metric)
        beside = "–" if theirs is None else f"{others_error(comparisons, theirs):.4g}"
        ends = [one.estimated.interval for one in comparisons]
        width = np.mean([interval.high - interval.low for interval in ends if interval is not None])
        yield (f"| {name} | {metric} | {judged.cohorts} | {judged.error:.4g} | {beside} | {judged.coverage:.0%} | "
               f"{width:.3g} | {'**withdrawn**' if judged.withdrawn else 'kept'} |")


def report(nannyml: Mapping[str, Any]) -> Iterator[str]:
    """Give the page line by line."""
    yield "# Performance estimated without labels\n"
    yield (f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, numpy {np.__version__}; made by "
           "`python -m tests.statistics.estimation`" + (f", NannyML {nannyml['version']}" if nannyml else "") + ".\n")
    yield ("The data are those in NannyML's wheel. *Error* is the mean absolute difference of estimated and realised "
           "metric over the chunks of the analysis period, *coverage* how often the 95 % interval held the realised "
           "one, *width* its mean width. Estimates are withdrawn where it held fewer than 80 % of five chunks or more "
           "for one of the metrics, since all come of one calibration. The classifiers' errors agree with NannyML's to "
           "one in a million or better: both are isotonic regression, ours counted in bins that add. "
           "California housing leaves the reference's support (its rows are in the order of place), where nothing can "
           "be estimated.\n")
    yield "| data | metric | chunks | error | NannyML's error | coverage | width | estimate |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in SOURCES:
        yield from _table(name, try_classification(name), nannyml)
    yield from _table("synthetic_car_price", try_regression(), nannyml)


def _main(arguments: list[str], write: Callable[[str], object]) -> None:
    nannyml = json.loads(Path(arguments[0]).read_text()) if arguments else {}
    text = "\n".join(report(nannyml)) + "\n"
    RESULTS.write_text(text)
    write(text)


if __name__ == "__main__":
    _main(sys.argv[1:], sys.stdout.write)
