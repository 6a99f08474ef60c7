"""Evidently's own tests, which its drift preset chooses, one column at a time; the cost is that of the preset."""

import numpy as np
import pandas as pd
from evidently import Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset
from task import columnwise, microseconds, serve, words

METHODS = {"Evidently preset": None, "Evidently PSI": "psi"}


def judge(method):
    """Return what judges one column by this method at its own threshold."""

    def judged(reference, window, category):
        kind = ColumnType.Categorical if category else ColumnType.Numerical
        rows = [pd.Series(words(each) if category else each).dropna() for each in (reference, window)]
        test = get_stattest(*rows, kind, method)
        score, alarm = test.func(*rows, kind, test.default_threshold)
        return (-np.log10(max(score, 1e-300)) if "p_value" in test.name else score), alarm

    return judged


def frame(rows):
    return pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])


def speed(reference, rows):
    """Run the preset on every batch as it comes."""
    known = frame(reference)
    return {name: microseconds(lambda batch, one=method: Report([DataDriftPreset(method=one)]).run(frame(batch), known)
                               .dict(), rows) for name, method in METHODS.items()}


if __name__ == "__main__":
    serve(("evidently", "numpy", "scipy", "pandas"),
          windows={name: columnwise(judge(method)) for name, method in METHODS.items()}, speed=speed)
