"""Logged requests reach a receiver, each once over restarts; one that is away is waited for, and then given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.monitors.record import PredictionRecord
from serinus.serving.cloud_events import published
from serinus.serving.home import Home
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.settings import EventSettings
from serinus.serving.steward.send_events import Sender, SendEvents
from tests.serving.sink import Sink
from tests.serving.steward.hosts import shared


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


class Log:
    """A home in which requests are answered, each numbered."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.run.mkdir()
        self.source = IdSource()
        self.writer = SegmentWriter(self.home.log, self.source.writer, 600)
        self.number = 0

    def answer(self, many: int = 1) -> None:
        for _ in range(many):
            now, sequence = time.time_ns(), self.source.sequence
            uuid, _ = self.source.next(now)
            self.writer.append(PredictionRecord(uuid, f"{self.number}", now, 1000, "wine", "1", "stable", 1,
                                                {"x": np.array([1.0])}, {"y": np.array([2.0])}, 0, 0, 0), sequence)
            self.number += 1


def numbers(sink: Sink, kind: str = "request") -> list[int]:
    return [int(event.data["id"]) for event in sink.received if event.kind == kind]


def sender(log: Log, sink: Sink, **settings: Any) -> Sender:
    return Sender(EventSettings(url=sink.url, **settings), log.home)


def test_what_is_logged_is_told_once(tmp_path: Path, sink: Sink) -> None:
    """From the moment on at which it is switched on, over compaction and a restart of the steward."""
    log = Log(tmp_path)
    log.answer(5)
    first = sender(log, sink)
    first.turn()
    log.answer(7)
    first.turn()
    assert numbers(sink) == numbers(sink, "response") == list(range(5, 12))
    log.writer.close()
    compact(log.home.log)
    log.answer(3)
    again = sender(log, sink)
    again.turn()
    log.answer(2)
    again.turn()
    assert numbers(sink) == list(range(5, 17))
    assert published(log.home.run) == {"sent": 24, "dropped": 0}
    assert {event.headers["ce-inferenceservicename"] for event in sink.received} == {"wine"}


@pytest.mark.parametrize("mode", ["request", "response"])
def test_one_half_may_be_enough(tmp_path: Path, sink: Sink, mode: str) -> None:
    """As KServe's logger has it."""
    log = Log(tmp_path)
    telling = sender(log, sink, mode=mode)
    log.answer(2)
    telling.turn()
    assert {event.kind for event in sink.received} == {mode}
    assert published(log.home.run) == {"sent": 2, "dropped": 0}


def test_a_receiver_that_is_busy_is_asked_again(tmp_path: Path, sink: Sink) -> None:
    """5xx and 429 are no answer; another refusal is, and is counted."""
    log = Log(tmp_path)
    telling = sender(log, sink)
    sink.statuses += [503, 429, 202, 400]
    log.answer(2)
    telling.turn()
    assert (numbers(sink), numbers(sink, "response")) == ([0, 1], [1])
    assert published(log.home.run) == {"sent": 3, "dropped": 1}


def test_what_cannot_be_delivered_in_time_is_dropped(tmp_path: Path) -> None:
    """Nothing is held up for longer by a receiver that is gone; what comes when it is back is told."""
    log = Log(tmp_path)
    with Sink() as gone:
        telling = sender(log, gone, deadline_seconds=0.3)
    log.answer(50)
    began = time.monotonic()
    telling.turn()
    assert published(log.home.run) == {"sent": 0, "dropped": 100}
    assert time.monotonic() - began < 20  # two attempts, not a hundred
    with Sink(gone.port) as back:
        log.answer(3)
        telling.turn()
        assert numbers(back) == [50, 51, 52]


def test_the_job_sends_in_a_thread_of_its_own(tmp_path: Path, sink: Sink) -> None:
    """By one steward of a home; without an address nobody does anything."""
    log = Log(tmp_path)
    host = shared(tmp_path, events={"url": sink.url})
    one, other, off = SendEvents(), SendEvents(), SendEvents()
    for job in (one, other):
        job.run(host)
    off.run(shared(tmp_path))
    log.answer(4)
    deadline = time.monotonic() + 30
    while len(sink.received) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    assert numbers(sink) == [0, 1, 2, 3]
    for thread in threading.enumerate():
        if isinstance(thread, Sender):
            thread.end()
