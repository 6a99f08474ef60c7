"""References to test with: seeded, small, of every kind of column."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serinus.monitors import Profile, Reference
from serinus.monitors.features import Feature, category_hash

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon"]


def frame(rows: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Numbers, ties, zeros, missing values, categories, booleans, a text, two times and an answer."""
    random = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "age": random.normal(40, 10, rows),
            "amount": np.where(random.random(rows) < 0.6, 0.0, random.exponential(100, rows)),
            "children": random.integers(0, 4, rows),
            "member": random.random(rows) < 0.3,
            "colour": random.choice(["red", "green", "blue"], rows, p=[0.6, 0.39, 0.01]),
            "comment": [f"{' '.join(random.choice(WORDS, 5))} {number}" for number in range(rows)],
            "born": pd.to_datetime("1980-01-01") + pd.to_timedelta(random.integers(0, 10**8, rows), "s"),
            "answer": random.random(rows),
            "at": pd.date_range("2024-01-01", periods=rows, freq="h"),
        }
    )
    data.loc[random.random(rows) < 0.1, "age"] = np.nan
    data.loc[random.random(rows) < 0.2, "colour"] = None
    return data


def profile(rows: int = 2000, seed: int = 0) -> Profile:
    """The profile of that frame."""
    return Reference.from_frame(frame(rows, seed), time="at", outputs=["answer"])


def numeric(name: str = "x", edges: tuple[float, ...] = (0.0, 1.0), low: float = -10.0, high: float = 10.0) -> Feature:
    """A numeric column's feature."""
    return Feature(name, name, "input", "numeric", edges=edges, low=low, high=high)


def categorical(name: str, categories: tuple[str, ...], rare: tuple[str, ...] = (), salt: bytes = b"") -> Feature:
    """A categorical column's feature: some categories with a bin of their own, others in the domain only."""
    keys = tuple(key for one in categories if (key := category_hash(one, salt)) is not None)
    others = tuple(key for one in rare if (key := category_hash(one, salt)) is not None)
    domain = np.array(sorted(keys + others), "<u8").tobytes()
    return Feature(name, name, "input", "categorical", categories=categories, keys=keys, domain=domain)
