"""What every program is asked, and how it answers: `python with_NAME.py TASK answer.json rows.npz …`.

- `windows`: which columns of each window have drifted, alarms and scores `[W, F]` per tool;
- `alone`: the same, where each column is judged as if all others had not changed;
- `streams`: rows until an alarm after a change, and false alarms on clean rows, per tool and setting;
- `speed`: µs per row where rows come in batches of 1, 8, 64 and 1,000, per tool.

A score is any number that grows with drift; it is what is re-tuned. Needs numpy only: every environment imports it.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

BATCHES = (1, 8, 64, 1_000)
_SECONDS, _CALLS = 2.0, 4_000


def columnwise(judge):
    """Return what judges windows column by column; `judge(reference, window, category)` is (score, alarm)."""

    def windows(reference, windows, category):
        columns = range(reference.shape[1])
        pairs = [[judge(reference[:, i], window[:, i], category) for i in columns] for window in windows]
        return np.array(pairs, float)[..., 1].astype(bool), np.array(pairs, float)[..., 0]

    return windows


def microseconds(observe, rows):
    """Return the mean µs per row for each size of batch; `observe` takes the rows of one batch."""
    cost = {}
    for size in BATCHES:
        observe(rows[:size])
        calls, began = 0, time.perf_counter()
        while not calls or (time.perf_counter() - began < _SECONDS and calls < _CALLS):
            start = calls * size % (len(rows) - size + 1)
            observe(rows[start : start + size])
            calls += 1
        cost[str(size)] = (time.perf_counter() - began) / (calls * size) * 1e6
    return cost


def words(column):
    """Return categories as text; what is numbered 3 is "c3"."""
    return np.array([f"c{int(value)}" for value in column], object)


def serve(packages, windows=None, streams=None, speed=None, alone=None):
    """Answer the command line's task for each file of rows.

    `windows` and `alone` are callables by the tool's name, `streams` and `speed` return all tools; what is not given is
    not offered, and `alone` is then `windows`.
    """
    task, answer, files = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    versions = {name: version(name) for name in packages}
    told = [{"tools": _tools(task, dict(np.load(file)), windows, streams, speed, alone), "versions": versions}
            for file in files]
    answer.write_text(json.dumps(told), "utf-8")


def _tools(task, rows, windows, streams, speed, alone):
    if task == "streams":
        return streams(rows["reference"], rows["clean"], rows["changed"]) if streams else {}
    if task == "speed":
        return speed(rows["reference"], rows["rows"]) if speed else {}
    judges = (alone if task == "alone" else None) or windows or {}
    beside = (rows["clean"],) if task == "alone" and alone else ()
    told = {name: judge(rows["reference"], rows["windows"], bool(rows.get("category", False)), *beside)
            for name, judge in judges.items()}
    return {name: {"alarms": alarms.tolist(), "scores": scores.tolist()} for name, (alarms, scores) in told.items()}
