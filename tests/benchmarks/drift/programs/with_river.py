"""River's detectors, one per feature, which see a value at a time; missing values are left out."""

import numpy as np
from river import drift
from task import microseconds, serve

ADWIN = {"delta = 0.002 (default)": 2e-3, "delta = 1e-4": 1e-4, "delta = 1e-5": 1e-5, "delta = 1e-6": 1e-6}
PAGE_HINKLEY = {"threshold = 50 (default)": 50.0, "threshold = 100": 100.0, "threshold = 200": 200.0,
                "threshold = 400": 400.0}


def detectors():
    """Return per tool its settings and what makes a detector of each."""
    return {
        "River ADWIN": {label: lambda delta=delta: drift.ADWIN(delta=delta) for label, delta in ADWIN.items()},
        "River Page–Hinkley": {label: lambda threshold=threshold: drift.PageHinkley(threshold=threshold)
                               for label, threshold in PAGE_HINKLEY.items()},
    }


def alarms(detector, values):
    """Return the places (from 1) at which the detector alarms."""
    for place, value in enumerate(values, 1):
        if value == value:
            detector.update(value)
            if detector.drift_detected:
                yield place


def delay(make, reference, values):
    """Return rows until the first alarm after the reference; none if there is none."""
    detector = make()
    for _ in alarms(detector, reference.tolist()):
        pass
    return next(alarms(detector, values.tolist()), None)


def false_alarms(make, reference, values):
    """Count alarms on clean values after the reference; detectors begin anew by themselves."""
    detector = make()
    for _ in alarms(detector, reference.tolist()):
        pass
    return sum(1 for _ in alarms(detector, values.tolist()))


def streams(reference, clean, changed):
    """Play every setting."""
    return {name: {label: {
        "false": sum(false_alarms(make, reference[:, i], clean[:, i]) for i in range(clean.shape[1])),
        "rows": len(clean),
        "delays": [[delay(make, reference[:, k], stream) for k, stream in enumerate(many)] for many in changed],
    } for label, make in settings.items()} for name, settings in detectors().items()}


def speed(reference, rows):
    """Update one detector per feature with every value."""
    kinds = {"River ADWIN": drift.ADWIN, "River Page–Hinkley": drift.PageHinkley,
             "River KSWIN": lambda: drift.KSWIN(seed=1)}
    return {name: microseconds(_observer([kind() for _ in range(rows.shape[1])]), np.asarray(rows))
            for name, kind in kinds.items()}


def _observer(many):
    def observe(batch):
        for row in batch.tolist():
            for detector, value in zip(many, row, strict=True):
                detector.update(value)

    return observe


if __name__ == "__main__":
    serve(("river", "numpy"), streams=streams, speed=speed)
