"""Prediction records as a worker makes them, of a lender that approves loans."""

import numpy as np

from serinus.monitors import PredictionRecord


def record(rows=4, *, seed=0, factor=1.0, **changes):
    """One answered request: amounts between 1,000 and 20,000, half of them approved."""
    generator = np.random.default_rng(seed)
    inputs = {"amount": factor * generator.uniform(1_000, 20_000, rows),
              "purpose": np.array(["car", None, "house", "boat"] * rows, dtype=object)[:rows]}
    outputs = {"approve": generator.integers(0, 2, rows)}
    made = PredictionRecord(bytes(16), "request", 1_700_000_000_000_000_000, 1_000_000, "loans", "1", "stable", rows,
                            inputs, outputs, 0, 0, 0)
    return made._replace(**changes)


def records(count=60, *, factor=1.0, start=0):
    """Requests of one to eight rows."""
    return [record(1 + seed % 8, seed=start + seed, factor=factor) for seed in range(count)]
