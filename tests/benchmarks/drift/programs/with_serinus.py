"""Our own: `DriftMonitor.test_window` for windows, `DriftMonitor` for streams, and the server's steps for the cost."""

import numpy as np
import pandas as pd
from task import microseconds, serve, words

from serinus.monitors.drift import DriftMonitor
from serinus.monitors.reference import Reference

WINDOWS = "Serinus window, level 0.01"
STREAMS = "Serinus e-detector"
RUN_LENGTHS = {"run length = 50,000 (as stated)": 50_000.0, "run length = 5,000": 5_000.0,
               "run length = 1,000": 1_000.0, "run length = 500": 500.0,
               "run length = 250": 250.0}
STEP = 64


def frame(rows, category=False):
    """Return rows as a DataFrame with columns x0, x1, …"""
    return pd.DataFrame({f"x{i}": words(rows[:, i]) if category else rows[:, i] for i in range(rows.shape[1])})


def _of_columns(result, profile, columns):
    """Return alarms and scores of the columns; that of the joint features is in the family and counts below."""
    place = {name: i for i, name in enumerate(profile.names)}
    order = [place[f"x{i}"] for i in range(columns)]
    return result.drifted[order], -np.log10(np.maximum(result.p[order], 1e-300))


def windows(reference, windows, category):
    """Judge windows; an alarm that only joint features give is in the last, additional column."""
    profile = Reference.from_frame(frame(reference, category))
    monitor, columns = DriftMonitor(profile), reference.shape[1]
    alarms, scores = [], []
    for window in windows:
        result = monitor.test_window(frame(window, category))
        drifted, score = _of_columns(result, profile, columns)
        others = np.delete(result.p, [profile.names.index(f"x{i}") for i in range(columns)])
        joint = -np.log10(max(others.min(initial=1.0), 1e-300))
        alarms.append([*drifted, result.alarm and not drifted.any()])
        scores.append([*score, joint])
    return np.array(alarms), np.array(scores)


def alone(reference, windows, category, clean):
    """Judge each column beside clean ones."""
    profile = Reference.from_frame(frame(reference, category))
    monitor, columns = DriftMonitor(profile), reference.shape[1]
    alarms, scores = np.zeros((len(windows), columns), bool), np.zeros((len(windows), columns))
    for w, window in enumerate(windows):
        for i in range(columns):
            rows = clean[w % len(clean)].copy()
            rows[:, i] = window[:, i]
            drifted, score = _of_columns(monitor.test_window(frame(rows, category)), profile, columns)
            alarms[w, i], scores[w, i] = drifted[i], score[i]
    return alarms, scores


def _arrays(rows):
    return {f"x{i}": np.ascontiguousarray(rows[:, i]) for i in range(rows.shape[1])}


def _counts(profile, rows):
    counts = profile.empty()
    seen = profile.encoder.observe(_arrays(rows), {})
    counts.add(seen.codes, seen.deviations)
    return counts


def _steps(profile, rows):
    return (_counts(profile, rows[start : start + STEP]) for start in range(0, len(rows) - STEP + 1, STEP))


def streams(reference, clean, changed):
    """Play every run length."""
    profile = Reference.from_frame(frame(reference))
    ours = {}
    for label, run_length in RUN_LENGTHS.items():
        false = _false_alarms(DriftMonitor(profile, run_length), _steps(profile, clean))
        delays = [[_delay(profile, run_length, clean, k, stream) for k, stream in enumerate(many)] for many in changed]
        ours[label] = {"false": false, "rows": len(clean), "delays": delays}
    return {STREAMS: ours}


def _false_alarms(monitor, steps):
    false = 0
    for step, counts in enumerate(steps):
        monitor.apply(step, counts)
        if monitor.alarms:
            false += 1
            monitor.reset()
    return false


def _delay(profile, run_length, clean, column, stream):
    rows = clean[: len(stream)].copy()
    rows[:, column] = stream
    monitor = DriftMonitor(profile, run_length)
    for step, counts in enumerate(_steps(profile, rows), 1):
        monitor.apply(step, counts)
        if monitor.alarms:
            return step * STEP
    return None


def speed(reference, rows):
    """Count rows and step per 1,000 of them, as the server does; test a batch by itself, as a notebook does."""
    profile = Reference.from_frame(frame(reference))
    monitor, test, pending = DriftMonitor(profile), DriftMonitor(profile), [profile.empty()]

    def serve_batch(batch):
        pending[0] = pending[0] + _counts(profile, batch)
        if pending[0].rows >= 1_000:
            monitor.apply(serve_batch.second, pending[0])
            serve_batch.second += 1
            pending[0] = profile.empty()

    serve_batch.second = 1
    return {
        "Serinus in the server (count, one step per 1,000 rows)": microseconds(serve_batch, rows),
        "Serinus `test_window` of a frame": microseconds(lambda batch: test.test_window(frame(batch)), rows),
    }


if __name__ == "__main__":
    serve(("numpy", "scipy", "pandas"), windows={WINDOWS: windows}, streams=streams, speed=speed,
          alone={WINDOWS: alone})
