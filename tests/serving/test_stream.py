"""A stream's verdict depends on the rows only: not on workers, order, repetition, or who was steward."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from serinus.monitors.counts import Counts
from serinus.serving.references import Chosen
from serinus.serving.stream import Stream
from serinus.serving.ticks import Example, Told
from tests.serving.profiles import live, small_profile

PROFILE = small_profile()
CHOSEN = Chosen(PROFILE.digest, "registered")


def _stream(run_length: int = 100_000) -> Stream:
    return Stream("m", "1", CHOSEN, PROFILE, None, run_length)


def _ticks(seconds: int, workers: int, shift: Sequence[float], rows: int = 120, seed: int = 0) -> list[Told]:
    """Cumulative ticks of workers that share the same rows among them, second by second."""
    totals = [Counts(len(PROFILE.features)) for _ in range(workers)]
    ticks = []
    for second in range(seconds):
        inputs, outputs = live(rows, seed + second, shift[second])
        seen = PROFILE.encoder.observe(inputs, outputs)
        for worker, part in enumerate(np.array_split(np.arange(rows), workers)):
            totals[worker].add(seen.codes[part], seen.deviations[part])
            example = Example(f"{second}-{worker}", float(second), 0.001, 0)
            ticks.append(Told(f"w{worker}", "m", "1", PROFILE.digest, second, second, totals[worker].rows,
                              totals[worker].copy(), (example,), second, False))
    return ticks


SHIFT = [0.0] * 30 + [1.5] * 20


def _whole(stream: Stream) -> object:
    return stream.view().document


def test_a_change_is_seen_and_told() -> None:
    """Clean rows: collecting, then ok. Changed ones: an alarm that names the feature, with a condition for alerts."""
    stream = _stream()
    assert stream.view().state == "collecting"
    stream.take(_ticks(30, 2, SHIFT), closed=29)
    view = stream.view()
    assert (view.state, view.document["rows"], view.document["observed_share"]) == ("ok", 3600, 1.0)
    assert [condition.active for condition in stream.conditions()] == [False, False]
    stream.take(_ticks(50, 2, SHIFT), closed=49)
    view = stream.view()
    assert view.state == "act" and view.document["drift"]["features"][0]["name"] == "age"
    drift = stream.conditions()[0]
    assert (drift.kind, drift.severity, drift.active, drift.features[0]) == ("drift", "act", True, "age")
    assert 29 <= drift.facts["since"] <= 33
    assert view.document["examples"][0] == {"prediction_id": "49-1", "time": 49.0, "novelty_p": 0.001,
                                            "feature": "age"}


def test_the_first_features_values_are_told_by_bin() -> None:
    """The reference's and the live shares over the same bins, of the rows that the feature is told of: a histogram."""
    stream = _stream()
    stream.take(_ticks(50, 2, SHIFT), closed=49)
    feature = stream.view().document["drift"]["features"][0]
    told = feature["histogram"]
    assert feature["name"] == "age" and told["rows"] >= 64
    assert len(told["labels"]) == len(told["reference"]) == len(told["live"])
    values = [label for label in told["labels"] if label not in ("missing", "unseen")]
    assert len(told["edges"]) == len(values) + 1 and told["edges"] == sorted(told["edges"])
    assert sum(told["reference"]) == pytest.approx(1, abs=1e-3) and sum(told["live"]) == pytest.approx(1, abs=1e-3)
    upper = len(values) // 2
    assert sum(told["live"][upper:]) > sum(told["reference"][upper:]) + 0.2, "the rows moved up"


def test_signs_of_evasion_are_shown_for_each_window_of_4096_rows() -> None:
    """Clean rows give nothing to look at; rows that became unusual are told of, after a restart in between, too."""
    stream = _stream()
    stream.take(_ticks(34, 2, [0.0] * 34), closed=33)
    assert stream.view().document["evasion"] == []
    again = _stream()
    assert again.restore(stream.to_bytes())
    ticks = _ticks(35, 2, [0.0] * 35)
    again.take(ticks, closed=34)
    (look,) = again.view().document["evasion"]
    assert (look["kind"], look["rows"], look["told"]) == ("unusual_rows", 35 * 120, False)
    again.take(_ticks(70, 2, [0.0] * 35 + [1.5] * 35), closed=69)
    assert again.view().document["evasion"][0]["told"]


@pytest.mark.parametrize("seed", range(4))
def test_order_repetition_and_batches_of_ticks_do_not_matter(seed: int) -> None:
    """The same set of ticks gives the identical view, to the last bit."""
    ticks = _ticks(50, 3, SHIFT)
    expected = _stream()
    expected.take(ticks, closed=49)
    draw = random.Random(seed)
    stream, closed = _stream(), -1
    while closed < 49:
        closed = min(49, closed + draw.randint(1, 9))
        sent = [tick for tick in ticks if tick.interval <= closed + 3]
        draw.shuffle(sent)
        stream.take(sent + draw.sample(sent, len(sent) // 3), closed)
    assert _whole(stream) == _whole(expected)


def test_more_workers_count_the_same() -> None:
    """Eight workers instead of one: the same counts in every second, so the same verdict."""
    one, eight = _stream(), _stream()
    one.take(_ticks(50, 1, SHIFT), closed=49)
    eight.take(_ticks(50, 8, SHIFT), closed=49)
    assert one.state == eight.state


def test_another_steward_goes_on_where_one_stopped() -> None:
    """From what was saved and the ticks since then, the verdict is that of one who saw everything."""
    ticks = _ticks(50, 2, SHIFT)
    expected = _stream()
    for closed in range(50):
        expected.take(ticks, closed)
    first = _stream()
    first.take(ticks, closed=32)
    saved = first.to_bytes()
    first.take(ticks, closed=40)  # was not saved
    second = _stream()
    assert second.restore(saved)
    second.take([tick for tick in ticks if tick.interval > 20], closed=49)
    assert _whole(second) == _whole(expected)


def test_a_late_tick_counts_in_the_next_interval() -> None:
    """Nothing that a worker counted is lost because its host was slow."""
    ticks = _ticks(10, 2, SHIFT)
    late = [tick for tick in ticks if tick.sheet == "w1"]
    stream = _stream()
    stream.take([tick for tick in ticks if tick.sheet == "w0"], closed=9)
    assert stream.state.rows == 600
    assert not stream.take(late, closed=9), "not before another interval is closed"
    stream.take(late, closed=10)
    assert (stream.state.rows, stream.seen) == (1200, 1200)


def test_ticks_of_another_reference_are_left_out() -> None:
    """What is still on its way when the reference changes says nothing about the new one."""
    stream = _stream()
    assert not stream.take([tick._replace(digest="sha256:old") for tick in _ticks(2, 1, SHIFT)], closed=5)
    assert stream.seen == 0


def test_a_saved_state_that_does_not_fit_begins_anew() -> None:
    """Another run length, another reference or another release's form is not guessed at."""
    first = _stream()
    first.take(_ticks(10, 1, SHIFT), closed=9)
    assert not _stream(50_000).restore(first.to_bytes())
    other = small_profile(seed=9)
    fresh = Stream("m", "1", Chosen(other.digest, "set"), other, None, 100_000)
    assert not fresh.restore(first.to_bytes())
    assert not _stream().restore(first.to_bytes().replace(b'"format":1', b'"format":99', 1))


def test_a_reset_forgets_evidence_and_counts_nothing_twice() -> None:
    """A person has looked; rows from now on are new evidence."""
    ticks = _ticks(50, 2, SHIFT)
    stream = _stream()
    stream.take(ticks[:90], closed=44)
    assert stream.state.alarm
    fresh = _stream()
    assert fresh.restore(Stream.forgotten(stream.to_bytes(), 44))
    assert not fresh.state.alarm
    fresh.take(ticks, closed=49)
    assert (fresh.state.rows, fresh.seen) == (600, 6000)


def test_a_reset_forgets_rows_too_that_no_saved_state_has() -> None:
    """What came before it is counted, and judged no more, whoever goes on from the saved state."""
    ticks = _ticks(50, 2, SHIFT)
    stream = _stream()
    stream.take(ticks[:60], closed=29)
    fresh, another = _stream(), _stream()
    assert fresh.restore(Stream.forgotten(stream.to_bytes(), 44))
    fresh.take(ticks[:80], closed=39)
    assert (fresh.state.rows, fresh.state.alarm) == (0, False)
    assert another.restore(fresh.to_bytes())
    another.take(ticks, closed=49)
    assert (another.state.rows, another.seen) == (600, 6000)
