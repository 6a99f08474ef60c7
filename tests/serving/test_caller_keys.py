"""A request may carry its caller's own key, in a header or row by row; then its predictions are found by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from serinus.serving.caller_keys import CallerKeys
from serinus.serving.errors import InvalidRequest
from serinus.serving.expectations import deployment_key
from serinus.serving.home import Home
from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log.keys import hash_of, key_files, named
from serinus.serving.prediction_log.sampling import is_logged
from serinus.serving.request import InferenceRequest
from serinus.serving.settings import LogSettings
from tests.serving.asgi import ROW, Line, people_model

NAME = b"x-prediction-key"


def keys_of(folder: Path, headers: dict[bytes, bytes], rows: int = 1, **settings: Any) -> Any:
    values = np.array(["a", None, "a"], object)
    request = InferenceRequest({"order": values[:rows], "whole": np.arange(2.0)}, rows)
    return CallerKeys(LogSettings(**settings), folder, b"s" * 32, 1).of(headers, request)


@pytest.mark.parametrize(("given", "rows", "keys"), [
    (b"7", 1, ["7"]), (b"7,8", 1, ["7,8"]), (b"7, 8", 2, ["7", "8"]), (b"7", 2, ["7", "7"]), (b"a,b", 3, ["a,b"] * 3),
    (b"\xc3\xbc", 1, ["ü"]), (b"\xfc", 1, ["ü"])])
def test_a_header_names_one_key_or_one_for_each_row(tmp_path: Path, given: bytes, rows: int, keys: list[str]) -> None:
    """A comma in the key of a single row is a part of it."""
    assert keys_of(tmp_path, {NAME: given}, rows) == keys
    assert keys_of(tmp_path, {b"x-order": given}, rows, key_header="X-Order") == keys


@pytest.mark.parametrize(("given", "rows"), [(b"", 1), (b" ", 1), (b"x" * 257, 1), (b"7,,8", 3)])
def test_a_key_that_cannot_be_kept_is_refused(tmp_path: Path, given: bytes, rows: int) -> None:
    """Before anything is predicted: an answer whose key was lost could never be found again."""
    with pytest.raises(InvalidRequest, match="Header x-prediction-key: expected keys of 1 to 256 characters"):
        keys_of(tmp_path, {NAME: given}, rows)


def test_an_input_names_the_key_of_each_row(tmp_path: Path) -> None:
    """A row without a value has none; a header goes before; what is not one per row is none."""
    assert keys_of(tmp_path, {}, 3, key_input="order") == ["a", None, "a"]
    assert keys_of(tmp_path, {NAME: b"7"}, 1, key_input="order") == ["7"]
    assert keys_of(tmp_path, {}, 3, key_input="whole") is None
    assert keys_of(tmp_path, {}, 3, key_input="other") is None
    assert keys_of(tmp_path, {}, 3) is None


@pytest.mark.parametrize(("given", "rows", "keys"), [
    ("7", 1, ["7"]), ("7,8", 2, ["7,8", "7,8"]), (("7", None), 2, ["7", None]), ((None, None), 2, None)])
def test_a_body_names_one_key_or_one_for_each_row(tmp_path: Path, given: Any, rows: int, keys: Any) -> None:
    """A body has lists, so a comma is a part of a key; the header goes before the body, the body before an input."""
    request = InferenceRequest({"order": np.array(["a"] * rows, object)}, rows, prediction_keys=given)
    found = CallerKeys(LogSettings(key_input="order"), tmp_path, b"s" * 32, 1)
    assert (None if keys is None else tuple(keys)) == found.of({}, request)
    assert ["9"] * rows == found.of({NAME: b"9"}, request)


def test_a_body_has_as_many_keys_as_rows(tmp_path: Path) -> None:
    """Else nobody knows whose they are."""
    request = InferenceRequest({}, 3, prediction_keys=("a", "b"))
    with pytest.raises(InvalidRequest, match="expected one for each of 3 rows, got 2"):
        CallerKeys(LogSettings(), tmp_path, b"s" * 32, 1).of({}, request)


BODIES: dict[str, Any] = {
    "/predict": {"rows": [ROW], "prediction_key": 4711},
    "/invocations": {"dataframe_records": [ROW], "params": {"prediction_key": ["4711"]}},
    "/v1/models/people:predict": {"instances": [ROW], "parameters": {"prediction_key": "4711"}},
    "/v2/models/people/infer": {"parameters": {"prediction_key": "4711"}, "inputs": [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for name, value in ROW.items()]},
}


@pytest.mark.parametrize("path", BODIES)
def test_every_protocol_has_a_place_for_the_key(tmp_path: Path, path: str) -> None:
    """A number and its text are one key; what is none is refused where it stands."""
    served, key = line(tmp_path), hash_of("4711", deployment_key(tmp_path))
    assert served.call("POST", path, orjson.dumps(BODIES[path])).status == 200
    assert len(named(served.home.keys, [key])[key]) == 1
    wrong = orjson.dumps(BODIES[path]).replace(b'"prediction_key":', b'"prediction_key":1.5,"":')
    refused = served.call("POST", path, wrong)
    assert (refused.status, b"prediction_key: expected a text of 1 to 256 characters" in refused.body) == (400, True)
    served.close()


def line(home: Path, **log: Any) -> Line:
    made = Line(home, {"people": {"1": people_model()}}, log=log)
    made.pipeline.keys = CallerKeys.wanted(made.settings.log, made.home, made.pipeline.writer)
    made.pipeline.log_share = made.settings.log.sample_share
    return made


def test_predictions_are_found_by_their_keys(tmp_path: Path) -> None:
    """Over protocols; a request without a key makes no file."""
    served = line(tmp_path)
    body = orjson.dumps({"rows": [ROW, ROW]})
    served.call("POST", "/predict", body)
    assert key_files(served.home.keys) == []
    first = served.call("POST", "/predict", body, x_prediction_key="a,b").json["prediction_ids"]
    second = served.call("POST", "/invocations", orjson.dumps({"dataframe_records": [ROW]}), x_prediction_key="a")
    a, b = (hash_of(key, deployment_key(tmp_path)) for key in "ab")
    assert named(served.home.keys, [a, b]) == {a: [first[0], second.headers["x-prediction-id"] + "-0"], b: [first[1]]}
    assert served.call("POST", "/predict", body, x_prediction_key="x" * 300).status == 400
    served.close()


def test_where_the_index_cannot_be_written_the_logs_policy_holds(tmp_path: Path) -> None:
    """An answer whose key was not noted is no answer, unless the log is told to serve."""
    for on_error, status in (("refuse", 503), ("serve", 200)):
        served = line(tmp_path / on_error, on_error=on_error)
        served.home.keys.parent.mkdir(parents=True, exist_ok=True)
        served.home.keys.write_bytes(b"")  # no folder
        answer = served.call("POST", "/predict", orjson.dumps({"rows": [ROW]}), x_prediction_key="a")
        assert answer.status == status
        assert served.counts()[0]["log_failures"] == 1
        served.close()


def test_without_a_log_there_is_no_index() -> None:
    """A key that leads nowhere is not kept."""
    assert CallerKeys.wanted(LogSettings(enabled=False), Home(Path("/nowhere")), 1) is None


def test_a_share_of_the_requests_is_logged_and_their_ids_say_which(tmp_path: Path) -> None:
    """The rest is answered all the same, and leaves no key."""
    served = line(tmp_path, sample_share=0.3)
    answers = [served.call("POST", "/predict", orjson.dumps({"rows": [ROW]}), x_prediction_key="a") for _ in range(200)]
    ids = [answer.json["prediction_ids"][0] for answer in answers]
    chosen = [each for each in ids if is_logged(bytes.fromhex(each[:36].replace("-", "")), 0.3)]
    assert [prediction_id(record.prediction_uuid, 0) for record in served.records()] == chosen
    (by_key,) = named(served.home.keys, [hash_of("a", deployment_key(tmp_path))]).values()
    assert sorted(by_key) == sorted(chosen)
    assert 30 < len(chosen) < 90  # 60 expected, standard deviation 6.5
    served.close()
