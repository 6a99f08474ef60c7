"""The key index is kept as long as the log is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.keys import KeyWriter, key_files
from serinus.serving.steward.cap_keys import CapKeys
from serinus.serving.steward.job import Shared
from tests.serving.steward.hosts import shared

DAY = 24 * 3600


def aged(host: Shared, days: float, *, close: bool = True) -> Path:
    """A file of the index that was written last so long ago."""
    before, writer = set(key_files(host.home.keys)), KeyWriter(host.home.keys, 7)
    writer.append([b"k" * 16], b"u" * 16)
    (path,) = set(key_files(host.home.keys)) - before
    if close:
        writer.close()
    os.utime(path, (time.time() - days * DAY,) * 2)
    OPEN.append(writer)
    return path


OPEN: list[KeyWriter] = []
"""Writers that live on."""


def test_it_goes_with_the_log(tmp_path: Path) -> None:
    """What is older than everything in the log goes, but not while it is written; without a log nothing does."""
    host = shared(tmp_path)
    old, written, young = aged(host, 9), aged(host, 9, close=False), aged(host, 5)
    CapKeys().run(host)
    assert set(key_files(host.home.keys)) == {old, written, young}
    source = IdSource(7)
    log = SegmentWriter(host.home.log, 7, 1 << 20)
    log.append(PredictionRecord(source.next(time.time_ns())[0], "", time.time_ns(), 1, "wine", "1", "stable", 1,
                                {"x": np.zeros(1)}, {"y": np.zeros(1)}, 0, 0, 0), 0)
    log.close()
    (segment,) = host.home.log.glob("*.segment")
    os.utime(segment, (time.time() - 7 * DAY,) * 2)
    CapKeys().run(host)
    assert set(key_files(host.home.keys)) == {written, young}
