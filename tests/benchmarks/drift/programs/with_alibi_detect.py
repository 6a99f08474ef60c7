"""Alibi Detect's KSDrift and ChiSquareDrift: p < 0.05 with Bonferroni's correction over the features."""

import numpy as np
from alibi_detect.cd import ChiSquareDrift, KSDrift
from task import microseconds, serve

NAME = "Alibi Detect KS / χ², Bonferroni"


def windows(reference, windows, category):
    """Judge windows; a feature alarms if its own p is below the corrected level."""
    detector = (ChiSquareDrift if category else KSDrift)(reference)
    told = [detector.predict(window, drift_type="batch")["data"] for window in windows]
    p = np.array([one["p_val"] for one in told], float)
    return np.array([one["p_val"] < one["threshold"] for one in told]), -np.log10(np.maximum(p, 1e-300))


def speed(reference, rows):
    """Predict every batch as it comes."""
    return {NAME: microseconds(KSDrift(reference).predict, rows)}


if __name__ == "__main__":
    serve(("alibi-detect", "numpy", "scipy"), windows={NAME: windows}, speed=speed)
