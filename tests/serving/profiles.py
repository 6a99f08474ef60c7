"""A small reference profile, made by hand: one column of numbers, one category, a label and a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from serinus.monitors.counts import Counts
from serinus.monitors.features import Feature, category_hash
from serinus.monitors.novelty import Novelty
from serinus.monitors.profile import Profile
from serinus.serving.monitoring import View
from serinus.serving.references import Chosen
from serinus.serving.stream import Stream
from serinus.serving.ticks import Told

SALT = b"salt"
KEYS = tuple(category_hash(name, SALT) for name in ("red", "blue"))
DOMAIN = np.array(sorted(key for key in KEYS if key), "<u8").tobytes()
EDGES = tuple(np.linspace(-2, 2, 15).tolist())


def number(name: str, field: str, side: Any = "input", **changes: Any) -> Feature:
    """A numeric feature of values about as many as a standard normal's."""
    made = Feature(name, field, side, "numeric", edges=EDGES, low=-6.0, high=6.0, centre=0.0, scale=1.0)
    return replace(made, **changes)


def small_profile(rows: int = 2000, seed: int = 0) -> Profile:
    """The profile of `live(rows, seed)`, with novelty."""
    colour = Feature("colour", "colour", "input", "categorical", categories=("red", "blue"), keys=KEYS, domain=DOMAIN)
    label = replace(colour, name="label", field="label", side="output")
    features = (number("age", "age"), colour, label, number("score", "score", "output"))
    inputs, outputs = live(rows, seed)
    blank = Profile(features, np.zeros((1, 4, 18), np.int64), np.zeros((4, 2)), rows, ("age", "colour"), SALT)
    numbers, codes = blank.encoder.numbers(inputs), blank.encoder.categories(inputs)
    novelty = Novelty.fit(numbers, codes=codes, seed=0)
    edges = tuple(np.unique(np.quantile(novelty.scores(numbers, codes), np.linspace(0, 1, 17)[1:-1])).tolist())
    features = (*features, number("novelty", "", "joint", edges=edges, low=0.0, high=1e9))
    blank = replace(blank, features=features, blocks=np.zeros((1, 5, 18), np.int64), sums=np.zeros((5, 2)),
                    novelty=novelty)
    seen = blank.encoder.observe(inputs, outputs)
    blocks, sums = [], np.zeros((5, 2))
    for codes, deviations in zip(np.array_split(seen.codes, 8), np.array_split(seen.deviations, 8), strict=True):
        counts = Counts(5)
        counts.add(codes, deviations)
        blocks.append(counts.table.copy())
        sums += counts.sums
    return replace(blank, blocks=np.array(blocks), sums=sums)


def live(rows: int, seed: int, shift: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs of so many rows, ages higher by `shift`."""
    draw = np.random.default_rng(seed)
    age = draw.normal(shift, 1.0, rows)
    colour = np.array(["red", "blue"], object)[draw.integers(0, 2, rows)]
    return {"age": age, "colour": colour}, {"label": colour.copy(), "score": draw.normal(0.0, 1.0, rows)}


def watched(model: str, version: str = "1", rows: int = 1000, shift: float = 0.0) -> View:
    """What is published of a version after so many rows."""
    profile = small_profile()
    stream = Stream(model, version, Chosen(profile.digest, "registered"), profile, None, 1_000_000)
    counts = profile.empty()
    for second in range(rows // 200):
        seen = profile.encoder.observe(*live(200, second, shift))
        counts.add(seen.codes, seen.deviations)
        told = Told("w", model, version, profile.digest, second, second, counts.rows, counts.copy(), (), 3, False)
        stream.take([told], second)
    return stream.view()
