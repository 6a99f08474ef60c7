"""Applications for loans: what a lender's batches look like, before and after a change."""

import numpy as np
import pandas as pd


def lender(rows=3_000, *, seed=0, start="2026-01-01", days=60, changed=False):
    """A batch in time order; in a changed one the second half has higher incomes, more gaps and a new purpose."""
    generator = np.random.default_rng(seed)
    late = (np.arange(rows) > rows * 0.5) & changed
    times = pd.Timestamp(start) + pd.to_timedelta(np.sort(generator.uniform(0, days * 86_400, rows)), unit="s")
    income = generator.lognormal(10.5, 0.5, rows) * np.where(late, 1.6, 1)
    purpose = generator.choice(["car", "house", "boat"], rows, p=[0.5, 0.3, 0.2]).astype(object)
    gaps = generator.random(rows) < np.where(late, 0.3, 0.03)
    return pd.DataFrame({
        "created": times,
        "income": income,
        "age": generator.integers(18, 80, rows),
        "purpose": np.where(late & (generator.random(rows) < 0.3), "phone", purpose),
        "years": np.where(gaps, np.nan, generator.exponential(5, rows)),
        "owner": generator.random(rows) < 0.3,
        "approved": (income > 36_000).astype(int),
    })
