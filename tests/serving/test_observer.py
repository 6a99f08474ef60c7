"""What a worker observes is what it answered: each row once, whatever requests look like, and never at an answer's
expense."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from serinus.models import Field, Signature, wrap
from serinus.monitors.counts import Counts
from serinus.monitors.features import MISSING
from serinus.serving.ids import IdSource
from serinus.serving.monitoring import FORMAT, MonitorFiles, View
from serinus.serving.observer import Observer, Waiting, Watch, sample
from serinus.serving.prediction_log import find
from serinus.serving.request import InferenceRequest
from serinus.serving.router import Loaded, Router, Target
from serinus.serving.settings import MonitorSettings
from serinus.serving.sheet import Sheet, is_owned, read, sheets_in
from tests.serving.asgi import Line
from tests.serving.profiles import live, small_profile

PROFILE = small_profile()
LONG_NS = 10**9
VIEW = View({"format": FORMAT, "model": "m", "version": "1", "state": "ok", "judged": 0.0, "evidence": 0.125,
             "run_length": 1000, "reference": {"digest": PROFILE.digest}})
IDS = IdSource(1)


def _uuid() -> bytes:
    return IDS.next(time.time_ns())[0]


def _watch(folder: Path, **monitors: Any) -> Watch:
    sheet = Sheet(folder, IDS.next(time.time_ns())[1], "m", "1", PROFILE.digest, len(PROFILE.features))
    return Watch(PROFILE, sheet, VIEW, MonitorSettings(**monitors))


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = _watch(tmp_path)
    yield made
    made.close()


def _ask(watch: Watch, inputs: Mapping[str, Any], outputs: Mapping[str, Any], own_ns: int = LONG_NS) -> bytes:
    rows = len(next(iter(inputs.values())))
    request, uuid = InferenceRequest(inputs, rows), _uuid()
    look = watch.look(request, uuid, own_ns)
    watch.keep(look, request, outputs, uuid, time.time_ns())
    return watch.head(look, violations=False)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90), st.booleans()), min_size=1, max_size=12))
def test_every_answered_row_is_counted_once(tmp_path_factory: pytest.TempPathFactory,
                                            requests: list[tuple[int, bool]]) -> None:
    """Requests of any size, with all outputs or one of them: the counts are those of all rows encoded at once; an
    output that nobody asked for is not missing."""
    watch = _watch(tmp_path_factory.mktemp("sheets"))
    expected = Counts(len(PROFILE.features))
    for number, (rows, whole) in enumerate(requests):
        inputs, outputs = live(rows, number)
        if not whole:
            del outputs["score"]
        _ask(watch, inputs, outputs)
        seen = PROFILE.encoder.observe(inputs, outputs)
        expected.add(seen.codes, seen.deviations)
        if not whole:
            expected.table[3, MISSING] -= rows
    watch.flush()
    found = read(watch.sheet.path)
    assert found.counts == expected
    assert found.seen == expected.rows == sum(rows for rows, _ in requests)
    watch.close()


def test_rows_are_counted_in_batches_or_after_a_while(watch: Watch) -> None:
    """256 rows are counted at once, fewer after 100 ms."""
    _ask(watch, *live(255, 0))
    assert watch.sheet.rows == 0
    _ask(watch, *live(1, 1))
    assert watch.sheet.rows == 256
    _ask(watch, *live(2, 2))
    watch.flush_due(time.monotonic_ns())
    assert watch.sheet.rows == 256
    watch.flush_due(time.monotonic_ns() + 100_000_000)
    assert watch.sheet.rows == 258


def test_a_large_request_that_took_no_time_is_sampled(watch: Watch) -> None:
    """Where monitors would take more than their share, 32 rows are observed, and all are known to have been there."""
    _ask(watch, *live(5000, 0), own_ns=1000)
    watch.flush()
    found = read(watch.sheet.path)
    assert (found.seen, found.counts.rows) == (5000, 32)
    _ask(watch, *live(5000, 1), own_ns=LONG_NS)
    watch.flush()
    assert watch.sheet.rows == 5032


def test_few_rows_are_always_observed(watch: Watch) -> None:
    """Up to 32 rows cost little whatever the request's own time was."""
    for rows in (1, 32):
        _ask(watch, *live(rows, rows), own_ns=0)
    watch.flush()
    assert watch.sheet.rows == 33


def test_a_sample_is_uniform_and_repeatable() -> None:
    """Every row is chosen equally often over many requests, the same ones for the same request."""
    chosen = [sample(_uuid(), 100, 10) for _ in range(3000)]
    assert all(len(set(rows.tolist())) == 10 and (np.diff(rows) > 0).all() for rows in chosen)
    assert chisquare(np.bincount(np.concatenate(chosen), minlength=100)).pvalue > 1e-4
    uuid = _uuid()
    assert sample(uuid, 10_000, 32).tolist() == sample(uuid, 10_000, 32).tolist()
    assert sample(uuid, 5, 5).tolist() == [0, 1, 2, 3, 4]


def test_an_unusual_row_is_told_and_remembered(watch: Watch) -> None:
    """Its answer carries a small p-value; the sheet keeps its id and what is unusual about it."""
    usual, unusual = live(3, 0), live(3, 1)
    unusual[0]["age"][1] = 50.0
    assert b"novelty_p=0.000999;" in _ask(watch, *unusual)
    assert b"novelty_p=0.000999;" not in _ask(watch, *usual)
    strange = live(1, 2)
    strange[0]["colour"][0] = "octarine"
    assert b"novelty_p=0.0" in _ask(watch, *strange)
    watch.flush()
    rows = read(watch.sheet.path).unusual
    assert [(row.row, PROFILE.names[row.feature]) for row in rows] == [(1, "age"), (0, "colour")]


def test_the_header_says_where_the_stream_stands(watch: Watch) -> None:
    """Schema, the smallest p-value, and the time-stamped state of the stream; without novelty all but that."""
    request = InferenceRequest(live(1, 0)[0], 1)
    head = watch.head(watch.look(request, _uuid(), LONG_NS), violations=True)
    assert head.startswith(b"x-serinus-monitor: schema=warn; novelty_p=0.")
    assert head.endswith(b"; drift=ok@1970-01-01T00:00:00Z; evidence=0.12; run_length=1000\r\n")
    plain = b"x-serinus-monitor: schema=ok; drift=ok@1970-01-01T00:00:00Z; evidence=0.12; run_length=1000\r\n"
    assert watch.head(None, violations=False) == plain


def test_novelty_can_be_switched_off(tmp_path: Path) -> None:
    """Rows are counted all the same."""
    watch = _watch(tmp_path, novelty=False)
    assert b"novelty" not in _ask(watch, *live(300, 0))
    assert watch.sheet.rows == 300
    watch.close()


def test_a_watch_that_ended_does_no_harm(tmp_path: Path) -> None:
    """A request that was under way when its version was let go is answered as ever."""
    watch = _watch(tmp_path)
    watch.close()
    assert _ask(watch, *live(100, 0)).startswith(b"x-serinus-monitor: schema=ok; drift=")


def test_a_monitor_that_fails_falls_silent(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, the answer goes out; the log tells once, and where, but no value."""
    _ask(watch, {"age": np.zeros((2, 3, 4)), "colour": np.array([1, 2])}, {})
    watch.flush()
    _ask(watch, {"age": "Ada Lovelace"}, {})
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Error); " in caplog.text
    assert "encoder.py" in caplog.text
    assert "Lovelace" not in caplog.text
    assert _ask(watch, *live(100, 0)).startswith(b"x-serinus-monitor: schema=ok; drift=")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("inputs", [
    {"age": np.array([np.inf, np.nan, 1e300]), "colour": np.array([None, 7, b"\xff"], object)},
    {"colour": np.array(["x"] * 3, object)}, {"age": np.array(["a", "b", None], object)},
    {"age": np.empty(0), "colour": np.empty(0, object)}])
def test_no_input_makes_a_monitor_fail(watch: Watch, caplog: pytest.LogCaptureFixture,
                                       inputs: dict[str, Any]) -> None:
    """Infinite, missing, of a wrong type, none at all: each is counted as what it is."""
    _ask(watch, inputs, {})
    watch.flush()
    assert watch.sheet.rows == len(next(iter(inputs.values())))
    assert not caplog.records


PEOPLE = Signature((Field("age", "FP64", (-1,)), Field("colour", "BYTES", (-1,))),
                   (Field("label", "BYTES", (-1,)), Field("score", "FP64", (-1,))))
ROWS = b'{"rows": [{"age": 0.5, "colour": "red"}, {"age": 50, "colour": "blue"}]}'
TENSORS = (b'{"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [0.5, 50]}, '
           b'{"name": "colour", "shape": [2], "datatype": "BYTES", "data": ["red", "blue"]}]}')


def test_an_answer_tells_each_rows_novelty_if_asked(tmp_path: Path) -> None:
    """The header always has the smallest; with `x-serinus-explain: novelty` the body has all, in both forms."""
    model = wrap(lambda inputs: {"label": inputs["colour"], "score": inputs["age"]}, PEOPLE)
    line = Line(tmp_path / "home", {"people": {"1": model}})
    watch = line.router.routes["people"].stable.watch = _watch(tmp_path / "sheets")
    plain = line.call("POST", "/predict", ROWS)
    assert "novelty_p=0.000999;" in plain.headers["x-serinus-monitor"] and "novelty_p" not in plain.json
    usual, unusual = line.call("POST", "/predict", ROWS, x_serinus_explain="novelty").json["novelty_p"]
    one = line.call("POST", "/predict", b'{"rows": [{"age": 50, "colour": "blue"}]}').json["prediction_ids"][0]
    assert find(line.home.log, one).novelty.tolist() == [unusual]
    assert line.records()[0].novelty.tolist() == [usual, unusual]
    assert unusual == pytest.approx(1 / 1001) and usual > 0.05
    tensors = line.call("POST", "/v2/models/people/infer", TENSORS, x_serinus_explain="novelty").json
    assert json.loads(tensors["parameters"]["novelty_p"]) == [usual, unusual]
    watch.flush()
    assert (watch.sheet.seen, watch.sheet.rows) == (7, 7)
    line.close()
    watch.close()


def test_rows_that_were_not_observed_have_no_p_value(watch: Watch) -> None:
    """They are null: unknown is not usual."""
    inputs, _ = live(100, 0)
    look = watch.look(InferenceRequest(inputs, 100), _uuid(), 0)
    assert look is not None
    told = look.by_row(100)
    assert told is not None and len(told) == 100
    assert sum(p is not None for p in told) == 32 and look.least == min(p for p in told if p is not None)
    np.testing.assert_array_equal(look.logged(100), [np.nan if p is None else p for p in told])


SIGNATURE = Signature((Field("x", "FP64", (-1,)),), (Field("y", "FP64", (-1,)),))


def test_published_files_are_followed(tmp_path: Path) -> None:
    """No file: not watched. Learning: said. A reference: watched. Another one: another sheet. No route: the end."""
    asyncio.run(_follow(tmp_path))


async def _follow(folder: Path) -> None:
    files, sheets = MonitorFiles(folder / "monitors"), folder / "sheets"
    router = Router(lambda name, version: Loaded(wrap(lambda inputs: {"y": inputs["x"]}, SIGNATURE), "p", {}))
    router.load("m", "1")
    router.flip("m", Target("1", None, 0, "", ()))
    observer, arm = Observer(MonitorSettings(), files, sheets, "00aa"), router.routes["m"].stable
    await observer.look(router)
    assert arm.watch is None
    learning = {"format": FORMAT, "model": "m", "version": "1", "state": "learning", "judged": 0.0, "rows": 3,
                "wanted_rows": 9}
    files.publish(View(learning))
    await observer.look(router)
    assert isinstance(arm.watch, Waiting) and b"drift=learning@1970-01-01T00:00:00Z; rows=3/9" in arm.watch.head(None)
    files.publish_profile(PROFILE.digest, PROFILE.to_bytes())
    files.publish(VIEW)
    await observer.look(router)
    watch = arm.watch
    assert isinstance(watch, Watch)
    files.publish(View({**VIEW.document, "state": "alarm"}))
    await observer.look(router)
    assert arm.watch is watch and b"drift=alarm@" in watch.head(None)
    (first,) = sheets_in(sheets)
    other = small_profile(seed=5)
    files.publish_profile(other.digest, other.to_bytes())
    files.publish(View({**VIEW.document, "reference": {"digest": other.digest}}))
    await observer.look(router)
    assert isinstance(arm.watch, Watch) and arm.watch is not watch
    (second,) = [path for path in sheets_in(sheets) if is_owned(path)]
    assert second != first
    router.drop("m")
    observer.attach(router)
    assert not is_owned(second)
    observer.close()
