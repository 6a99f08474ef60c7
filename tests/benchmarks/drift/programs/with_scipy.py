"""The classic tests: two-sample Kolmogorov–Smirnov for numbers, χ² for categories, each alarming at p < 0.05."""

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp
from task import columnwise, microseconds, serve

NAME = "scipy KS / χ², p < 0.05"


def judge(reference, window, category):
    """Return the score and the alarm of one column."""
    if category:
        known = np.union1d(reference, window)
        p = chi2_contingency([[np.sum(rows == value) for value in known] for rows in (reference, window)]).pvalue
    else:
        p = ks_2samp(reference[~np.isnan(reference)], window[~np.isnan(window)]).pvalue
    return -np.log10(max(p, 1e-300)), p < 0.05


def speed(reference, rows):
    """Test every batch as it comes."""
    columns = range(reference.shape[1])
    return {NAME: microseconds(lambda batch: [judge(reference[:, i], batch[:, i], False) for i in columns], rows)}


if __name__ == "__main__":
    serve(("numpy", "scipy"), windows={NAME: columnwise(judge)}, speed=speed)
