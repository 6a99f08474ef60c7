"""NannyML's univariate drift calculator, whose thresholds are the reference chunks' mean ± 3 standard deviations."""

import nannyml
import numpy as np
import pandas as pd
from task import microseconds, serve, words

NAME = "NannyML Jensen–Shannon"


def frame(rows, category=False):
    return pd.DataFrame({f"x{i}": words(rows[:, i]) if category else rows[:, i] for i in range(rows.shape[1])})


def calculator(reference, category, chunk):
    """Return the calculator, fitted."""
    known = frame(reference, category)
    kind = "treat_as_categorical" if category else "treat_as_numerical"
    made = nannyml.UnivariateDriftCalculator(list(known), chunk_size=chunk, **{kind: list(known)})
    return made.fit(known)


def windows(reference, windows, category):
    """Judge windows as chunks of one stream."""
    count, rows, columns = windows.shape
    found = calculator(reference, category, rows).calculate(frame(windows.reshape(-1, columns), category))
    table = found.filter(period="analysis").to_df()
    told = {what: [table[f"x{i}", "jensen_shannon", what] for i in range(columns)] for what in ("alert", "value")}
    return np.array(told["alert"]).T.astype(bool)[:count], np.array(told["value"], float).T[:count]


def speed(reference, rows):
    """Calculate every batch as it comes."""
    made = calculator(reference, False, 1_000)
    return {NAME: microseconds(lambda batch: made.calculate(frame(batch)), rows)}


if __name__ == "__main__":
    serve(("nannyml", "numpy", "scipy", "pandas"), windows={NAME: windows}, speed=speed)
