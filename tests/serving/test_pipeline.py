"""The request line: what was answered is in the log before the answer leaves, or the policy says why not."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from serinus.models import Field, Signature, wrap
from serinus.serving.board import VALUE_BOUNDS, Labels
from serinus.serving.prediction_log import find
from tests.serving.asgi import PEOPLE, ROW, ROWS, TENSORS, Line, numbers_model, people_model

ROOT = Path(__file__).parents[2]
ADDRESSES = {"/predict": ROWS, "/v2/models/people/infer": TENSORS}

# A disk that fills up while requests are answered (RLIMIT_FSIZE); prints each status.
FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.serving.asgi import ROWS, Line, people_model

line = Line(Path(sys.argv[1]), {"people": {"1": people_model()}}, log={"on_error": sys.argv[2]})
print(line.call("POST", "/predict", ROWS).status)
size = sum(path.stat().st_size for path in line.home.log.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 60, resource.RLIM_INFINITY))
for _ in range(3):
    answer = line.call("POST", "/predict", ROWS)
    print(answer.status, answer.json.get("detail"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(line.call("POST", "/predict", ROWS).status)
print(len(line.records()), line.counts()[0]["log_frames"], line.counts()[0]["log_failures"])
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, {"people": {"1": people_model()}})
    yield made
    made.close()


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize("inline", [True, False])
def test_an_answer_is_in_the_log_before_it_leaves(line: Line, path: str, inline: bool) -> None:
    """At the moment of the first byte another reader finds the record; a refused request has none."""
    if inline:
        line.router.routes["people"].stable.expected_ns[1] = 0
    seen: list[int] = []
    line.on_start = lambda: seen.append(len(line.records()))
    for _ in range(3):
        assert line.call("POST", path, ADDRESSES[path]).status == 200
    assert line.call("POST", path, b"{").status == 400
    assert seen == [1, 2, 3, 3]


def test_the_record_holds_what_the_model_saw_and_gave(line: Line) -> None:
    """Inputs in the model's types, outputs bit by bit, times, ids, version and role; found by the caller's id."""
    body = orjson.dumps({"rows": [ROW, ROW | {"age": None, "visits": 7}]})
    answer = line.call("POST", "/predict", body, x_routing_key="ana", x_request_id="order-17").json
    (record,) = line.records()
    assert (record.model, record.version, record.role, record.rows) == ("people", "1", "stable", 2)
    assert record.request_id == "order-17"
    assert record.routing_key_hash != 0
    assert record.inputs["city"].tolist() == ["Bern", "Bern"]
    assert record.inputs["age"][0] == 40.5 and np.isnan(record.inputs["age"][1])
    assert (record.inputs["visits"].dtype, record.inputs["visits"].tolist()) == (np.int64, [3, 7])
    assert (record.inputs["member"].dtype, record.inputs["member"].tolist()) == (np.bool_, [True, True])
    assert record.outputs["predict"].tolist() == [row["predict"] for row in answer["predictions"]] == [4.0, 8.0]
    assert 0 < record.duration_ns < 5e9
    found = find(line.home.log, answer["prediction_ids"][1])
    assert found is not None and found.prediction_uuid == record.prediction_uuid
    assert record.prediction_uuid.hex() == answer["prediction_ids"][0][:-2].replace("-", "")


def test_the_record_says_what_was_remarked(line: Line) -> None:
    """How many values broke an expectation, by kind, never which values; nothing where none did."""
    answer = line.call("POST", "/predict", orjson.dumps({"rows": [ROW | {"colour": "red"}]})).json
    assert line.call("POST", "/predict", ROWS).status == 200
    first, second = line.records()
    assert first.violations == {violation["kind"]: 1 for violation in answer["violations"]} != {}
    assert second.violations is None


def test_both_protocols_leave_the_same_record(line: Line) -> None:
    """Monitors do not know how a row came in."""
    for path, body in ADDRESSES.items():
        line.call("POST", path, body)
    one, other = line.records()
    for side in ("inputs", "outputs"):
        a, b = getattr(one, side), getattr(other, side)
        assert list(a) == list(b)
        assert [(array.dtype, array.shape, array.tolist()) for array in a.values()] == [
            (array.dtype, array.shape, array.tolist()) for array in b.values()
        ]


def test_the_model_gets_the_arrays_that_were_parsed(tmp_path: Path) -> None:
    """And the log the arrays that the model got: nothing is copied between them."""
    model, seen = people_model(), []
    predict = model.predict
    model.predict = lambda inputs, outputs=None: seen.append(inputs) or predict(inputs, outputs)  # type: ignore[method-assign]
    line = Line(tmp_path, {"people": {"1": model}})
    logged = []
    append = line.pipeline.log.append  # type: ignore[union-attr]
    line.pipeline.log.append = lambda record, sequence: logged.append(record) or append(record, sequence)  # type: ignore
    line.call("POST", "/predict", ROWS)
    assert all(logged[0].inputs[name] is array for name, array in seen[0].items())


@pytest.mark.parametrize(("policy", "status"), [("refuse", 503), ("serve", 200)])
def test_a_full_disk_follows_the_policy(tmp_path: Path, policy: str, status: int) -> None:
    """Refuse with a sentence and 503, or answer; counted either way, and over as soon as there is room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), policy],
        cwd=ROOT,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    first, *refused, last, counts = done.stdout.splitlines()
    assert (first, last, counts) == ("200", "200", "2 2 3")
    assert [int(line.split()[0]) for line in refused] == [status] * 3
    if policy == "refuse":
        assert all(
            "The prediction log cannot take the record" in line and "policy is to refuse" in line for line in refused
        )


@pytest.mark.parametrize(("policy", "status"), [("refuse", 503), ("serve", 200)])
def test_a_lost_folder_follows_the_policy(tmp_path: Path, policy: str, status: int) -> None:
    """The same when somebody removed the log; a refused answer tells when to come back."""
    line = Line(tmp_path, {"people": {"1": people_model()}}, log={"on_error": policy})
    shutil.rmtree(line.home.log)
    for path, body in ADDRESSES.items():
        answer = line.call("POST", path, body)
        assert answer.status == status
        assert ("retry-after" in answer.headers) is (status == 503)
    assert line.counts()[0]["log_failures"] == 2
    line.home.log.mkdir()
    assert line.call("POST", "/predict", ROWS).status == 200
    assert len(line.records()) == 1


def test_without_a_log_nothing_is_kept(tmp_path: Path) -> None:
    """Switched off, it is off."""
    line = Line(tmp_path, {"people": {"1": people_model()}}, log={"enabled": False})
    assert line.call("POST", "/predict", ROWS).status == 200
    assert not line.home.log.exists()


def test_counts_are_exact(line: Line) -> None:
    """One series per outcome; rows, predict calls and log frames add up."""
    for _ in range(3):
        line.call("POST", "/predict/people", orjson.dumps({"rows": [ROW, ROW]}))
    line.call("POST", "/predict/people", b"{}")
    line.call("POST", "/predict/people", orjson.dumps({"rows": [ROW | {"city": "Troy"}]}))
    counters, series = line.counts()
    assert counters["log_frames"] == 3
    assert counters["log_bytes"] == sum(path.stat().st_size for path in line.home.log.iterdir())
    people = Labels("people", "1", "stable", "/predict/{model}", "POST", 200, "")
    failed = people._replace(status=500, error_type="prediction_failed")
    refused = Labels("", "", "", "/predict/{model}", "POST", 400, "invalid_request")
    assert {labels: (found.requests, found.rows, found.predicts) for labels, found in series.items()} == {
        people: (3, 6, 3),
        failed: (1, 0, 1),
        refused: (1, 0, 0),
    }


def test_many_at_once_are_each_answered_and_logged_once(line: Line) -> None:
    """Sixty-four under way in four threads: every caller gets its own answer, every record is its own."""

    async def many():
        bodies = [orjson.dumps({"rows": [ROW | {"visits": number}]}) for number in range(64)]
        return await asyncio.gather(*(line.acall("POST", "/predict", body) for body in bodies))

    answers = asyncio.run(many())
    assert [answer.json["predictions"][0]["predict"] for answer in answers] == [number + 1.0 for number in range(64)]
    ids = [answer.json["prediction_ids"][0] for answer in answers]
    assert len(set(ids)) == 64
    for number, prediction in enumerate(ids):
        record = find(line.home.log, prediction)
        assert record is not None and record.inputs["visits"].tolist() == [number]


def test_a_slow_model_leaves_the_loop(tmp_path: Path) -> None:
    """Once it was seen to be slow it runs in a thread, where it holds nobody up."""
    threads = []

    def predict(frame):
        import threading

        threads.append(threading.current_thread().name)
        if len(threads) == 1:
            import time

            time.sleep(0.05)
        return np.zeros(len(frame))

    line = Line(tmp_path, {"people": {"1": wrap(predict, signature=PEOPLE)}})
    line.router.routes["people"].stable.expected_ns[1] = 0
    line.call("POST", "/predict", ROWS)
    line.call("POST", "/predict", ROWS)
    assert threads[0] == "MainThread"
    assert threads[1].startswith("serinus-predict")


def test_classes_are_counted(tmp_path: Path) -> None:
    """By version and label, single rows and many; not what was refused, and not what has no labels."""
    line = Line(tmp_path, {"three": {"1": numbers_model()}, "people": {"1": people_model()}})
    rows = [[9.0, 9.0, 9.0], [-9.0, -9.0, -9.0], [9.0, 9.0, 9.0]]
    for body in (rows, rows[:1], rows[1:2]):
        assert line.call("POST", "/predict/three", orjson.dumps({"rows": body})).status == 200
    assert line.call("POST", "/predict/three", b'{"rows": [[1]]}').status == 422
    assert line.call("POST", "/predict/people", ROWS).status == 200
    line.close()
    counters = {name: value for name, value in line.counts()[0].items() if name.startswith('["predictions"')}
    assert counters == {'["predictions","three","1","stable","yes"]': 3, '["predictions","three","1","stable","no"]': 2}


def test_numbers_are_counted(tmp_path: Path) -> None:
    """Of a model that answers one per row, by version, each row in the bucket of its value; of a classifier none."""
    line = Line(tmp_path, {"three": {"1": numbers_model()}, "people": {"1": people_model()}})
    for visits in ([0, 1, 6], [149], [-2_000_000, 149]):
        rows = [ROW | {"visits": number} for number in visits]
        assert line.call("POST", "/predict/people", orjson.dumps({"rows": rows})).status == 200
    assert line.call("POST", "/predict/three", b'{"rows": [[9, 9, 9]]}').status == 200
    line.close()
    counters = {name: value for name, value in line.counts()[0].items() if name.startswith('["values"')}
    expected = {1.0: 1, 2.0: 1, 10.0: 1, 200.0: 2}  # the model adds one
    assert counters == {'["values","people","1","stable","0"]': 1} | {
        f'["values","people","1","stable","{VALUE_BOUNDS.index(bound)}"]': count for bound, count in expected.items()}


def test_of_many_classes_the_rest_is_one(tmp_path: Path) -> None:
    """A board has room for some labels of a version; none is lost."""
    labels = tuple(f"class {number}" for number in range(50))
    signature = Signature((Field("x", "INT64", (-1,)),), (Field("y", "BYTES", (-1,), labels=labels),))
    line = Line(tmp_path, {"many": {"1": wrap(lambda frame: [labels[x] for x in frame["x"]], signature=signature)}})
    for start in range(50):
        assert line.call("POST", "/predict", orjson.dumps({"rows": [{"x": start}, {"x": 49 - start}]})).status == 200
    line.close()
    counts = [value for name, value in line.counts()[0].items() if name.startswith('["predictions"')]
    assert (len(counts), sum(counts), max(counts)) == (21, 100, 60)
