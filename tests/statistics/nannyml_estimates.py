"""What NannyML estimates of the data in its wheel: run by the interpreter of an environment that has it.

    python tests/statistics/nannyml_estimates.py nannyml.json

It needs nothing of Serinus; `estimation.py` compares its output with ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nannyml

CLASSIFICATION = {
    "synthetic_car_loan": (nannyml.load_synthetic_car_loan_dataset, "repaid", "y_pred", "y_pred_proba", 5_000),
    "employment_MA": (nannyml.load_us_census_ma_employment_data, "employed", "prediction",
                      "predicted_probability", 5_000),
    "synthetic_sample": (nannyml.load_synthetic_binary_classification_dataset, "work_home_actual", "y_pred",
                         "y_pred_proba", 5_000),
    "california_housing": (nannyml.load_modified_california_housing_dataset, "clf_target", "y_pred",
                           "y_pred_proba", 600),
}
METRICS = ["roc_auc", "accuracy", "f1"]


def classification(name: str) -> dict[str, list[float]]:
    """Give CBPE's estimates for each whole chunk of the analysis period."""
    load, truth, answer, score, rows = CLASSIFICATION[name]
    reference, analysis = load()[:2]
    for frame in (reference, analysis):
        if answer not in frame:
            frame[answer] = (frame[score] >= 0.5).astype(int)
    estimator = nannyml.CBPE(problem_type="classification_binary", y_true=truth, y_pred=answer, y_pred_proba=score,
                             metrics=METRICS, chunk_size=rows)
    frame = estimator.fit(reference).estimate(analysis).filter(period="analysis").to_df()
    return {metric: [float(value) for value in frame[metric]["value"]] for metric in METRICS}


def regression() -> dict[str, list[float]]:
    """Give DLE's estimates of the synthetic car prices."""
    reference, analysis, _ = nannyml.load_synthetic_car_price_dataset()
    features = ["car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"]
    estimator = nannyml.DLE(feature_column_names=features, y_pred="y_pred", y_true="y_true",
                            metrics=["mae", "rmse"], chunk_size=6_000)
    frame = estimator.fit(reference).estimate(analysis).filter(period="analysis").to_df()
    return {metric: [float(value) for value in frame[metric]["value"]] for metric in ("mae", "rmse")}


if __name__ == "__main__":
    found: dict[str, Any] = {name: classification(name) for name in CLASSIFICATION}
    found |= {"synthetic_car_price": regression(), "version": nannyml.__version__}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1))
