"""Frouros' batch detectors, one per feature: its tests at p < 0.05, and its PSI (it gives no threshold) at 0.1."""

import numpy as np
from frouros.detectors.data_drift import PSI, ChiSquareTest, KSTest
from task import columnwise, microseconds, serve


def tested(reference, window, category):
    """Return score and alarm of the test of one column."""
    detector = ChiSquareTest() if category else KSTest()
    detector.fit(X=reference[~np.isnan(reference)])
    p = detector.compare(X=window[~np.isnan(window)])[0].p_value
    return -np.log10(max(p, 1e-300)), p < 0.05


def distance(reference, window, category):
    """Return score and alarm of PSI of one column; categories are numbers to it."""
    detector = PSI()
    detector.fit(X=reference[~np.isnan(reference)])
    psi = detector.compare(X=window[~np.isnan(window)])[0].distance
    return psi, psi >= 0.1


def speed(reference, rows):
    """Compare every batch as it comes."""
    return {name: microseconds(_observer(kind, reference), rows)
            for name, kind in (("Frouros KS", KSTest), ("Frouros PSI", PSI))}


def _observer(kind, reference):
    detectors = [kind() for _ in range(reference.shape[1])]
    for i, detector in enumerate(detectors):
        detector.fit(X=reference[:, i])
    return lambda batch: [one.compare(X=batch[:, i]) for i, one in enumerate(detectors)]


if __name__ == "__main__":
    serve(("frouros", "numpy", "scipy"), speed=speed,
          windows={"Frouros KS / χ², p < 0.05": columnwise(tested), "Frouros PSI ≥ 0.1": columnwise(distance)})
