"""Predictions of two workers in a real log, and what became of them: late, twice, contradicted, revised, unordered.

`batch` computes from the same facts, all at once and in another way, what the windows must come to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.store import GroundTruth

START = 1_750_000_000 // 3600 * 3600
HOUR_S = 3600
LATE_S = 4 * HOUR_S


class Simulated(NamedTuple):
    """A frame with a row per prediction, and the outcomes in the order in which they came."""

    predictions: pd.DataFrame
    outcomes: list[GroundTruth]
    now: float


def simulate(log: Path, seed: int, requests: int = 1500, hours: int = 5) -> Simulated:
    """Write the log and make the outcomes up: positives take 3 hours on average, negatives half an hour."""
    draw = np.random.default_rng(seed)
    sources = [IdSource(11), IdSource(2**33 + 5)]
    writers = [SegmentWriter(log, source.writer, 40_000) for source in sources]  # several segments each
    found = []
    for moment in np.sort(draw.uniform(START, START + hours * HOUR_S, requests)):
        which, rows = int(draw.integers(2)), int(draw.integers(1, 4))
        score = draw.random(rows).round(6)
        sequence = sources[which].sequence
        uuid, _ = sources[which].next(int(moment * 1e9))
        outputs = {"predict": (score > 0.5).astype(np.int64), "predict_proba": np.column_stack([1 - score, score])}
        version = "2" if draw.random() < 0.2 else "1"
        writers[which].append(PredictionRecord(
            uuid, "", int(moment * 1e9), 1000, "credit", version, "candidate" if version == "2" else "stable", rows,
            {"x": draw.normal(size=rows)}, outputs, 0, 0, 0), sequence)
        found += [{"id": prediction_id(uuid, row), "time": int(moment * 1e3) / 1e3, "version": version,
                   "score": score[row], "said": int(score[row] > 0.5)} for row in range(rows)]
    for writer in writers:
        writer.close()
    frame = pd.DataFrame(found)
    now = START + (hours + 2) * HOUR_S
    return Simulated(frame, _outcomes(frame, draw, now), float(now))


def _outcomes(frame: pd.DataFrame, draw: np.random.Generator, now: float) -> list[GroundTruth]:
    said: list[GroundTruth] = []

    def say(row: Any, kind: str, value: Any, after: float, source: str = "crm") -> None:
        happened = row.time + after
        said.append(GroundTruth(row.id, source, kind, value, happened, happened + draw.exponential(60.0)))

    for row in frame.itertuples():
        truth = int(draw.random() < row.score)
        delay = draw.exponential(3 * HOUR_S if truth else HOUR_S / 2)
        what = draw.random()
        say(row, "final", truth, delay)
        if what < 0.05:
            said.append(said[-1]._replace(received_time=said[-1].received_time + draw.exponential(600.0)))
        elif what < 0.07:
            say(row, "final", 1 - truth, delay + draw.exponential(900.0), "bank")
        elif what < 0.10:
            say(row, "revision", 1 - truth, delay + draw.exponential(900.0))
        elif what < 0.11:
            say(row, "retract", None, delay + draw.exponential(900.0))
        elif what < 0.12:
            said.append(said[-1]._replace(prediction_id=prediction_id(IdSource(77).next(int(row.time * 1e9))[0], 0)))
    order = draw.permutation(len(said))
    return [said[index] for index in order if said[index].received_time <= now]


def batch(simulated: Simulated) -> pd.DataFrame:
    """By version and hour, what is known at the end, computed with pandas from all facts at once."""
    said = pd.DataFrame(simulated.outcomes).drop(columns=["name", "weight", "copies"])
    said["value"] = said["value"].astype("Float64")
    facts = ["prediction_id", "source", "kind", "value", "event_time"]
    distinct = said.groupby(facts, dropna=False, as_index=False).agg(
        received=("received_time", "min"), copies=("received_time", "size")).sort_values("event_time")
    by_id = distinct.groupby("prediction_id")
    kinds = pd.crosstab(distinct["prediction_id"], distinct["kind"]).reindex(
        columns=["final", "revision", "retract"], fill_value=0)
    last = by_id.last()[["kind", "value"]]
    known = pd.DataFrame({
        "truth": last["value"].where(last["kind"] != "retract"),
        "duplicates": by_id["copies"].sum() - by_id.size(),
        "conflicts": (kinds["final"] > 1).astype(int),
        "revised": ((kinds["revision"] > 0) & (last["kind"] != "retract")).astype(int),
        "retracted": ((last["kind"] == "retract") & (kinds["final"] + kinds["revision"] > 0)).astype(int),
        "updated": by_id["received"].max(), "received": by_id["received"].min()})
    frame = simulated.predictions.merge(known, left_on="id", right_index=True, how="left")
    frame["hour"] = (frame["time"] // HOUR_S).astype(int)
    frame["labelled"] = frame["truth"].notna().astype(int)
    frame["late"] = ((frame["updated"] - frame["time"] > LATE_S) & (frame["labelled"] == 1)).astype(int)
    frame["right"] = ((frame["truth"] == frame["said"]) & (frame["labelled"] == 1)).fillna(False).astype(int)
    sums = ["labelled", "late", "duplicates", "conflicts", "revised", "retracted", "right"]
    counted = frame.groupby(["version", "hour"])[sums].sum().astype(int)
    counted["predictions"] = frame.groupby(["version", "hour"]).size()
    return counted
