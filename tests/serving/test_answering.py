"""What is done to answers before they leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from serinus.monitors.profile import Profile
from serinus.serving.answering import Answering, head
from serinus.serving.board import read_all
from serinus.serving.request import Referred
from serinus.serving.settings import ReferralSettings, SecuritySettings
from tests.serving.asgi import Line
from tests.serving.probing import WEIGHTS, WIDTH, body, credit_line, credit_profile, honest, probabilities

ROWS = honest(40, seed=5)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return credit_profile()


@pytest.fixture
def line_of(tmp_path: Path, profile: Profile) -> Iterator[Any]:
    lines: list[Line] = []

    def make(**settings: Any) -> Line:
        lines.append(credit_line(tmp_path, profile, **settings))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def tallies(line: Line, name: str) -> dict[tuple[str, ...], int]:
    """The board's counters of one name, by their labels."""
    counters = read_all(line.boards)[0][0]
    keys = {key: orjson.loads(key) for key in counters if key.startswith(f'["{name}"')}
    return {tuple(labels[1:]): counters[key] for key, labels in keys.items()}


def test_answers_are_left_alone_unless_a_setting_says_otherwise(line_of: Any) -> None:
    """Nothing is made for nothing; the answer has every digit and no word of referral."""
    line = line_of()
    assert line.pipeline.answering is None
    answer = line.call("POST", "/predict", body(ROWS[:1]))
    assert answer.json["predictions"][0]["predict_proba"][1] == probabilities(ROWS)[0]
    assert "refer" not in answer.json and "x-serinus-refer" not in answer.headers


def test_probabilities_are_rounded_in_the_answer_and_exact_in_the_log(line_of: Any) -> None:
    """Two digits leave; log and monitors keep all; every such answer is counted."""
    line = line_of(security={"round_digits": 2})
    answer = line.call("POST", "/predict", body(ROWS)).json
    told = np.array([row["predict_proba"] for row in answer["predictions"]])
    assert np.array_equal(told[:, 1], np.round(probabilities(ROWS), 2))
    (record,) = line.records()
    assert np.array_equal(record.outputs["predict_proba"][:, 1], probabilities(ROWS))
    tensor = line.call("POST", "/v2/models/credit/infer", orjson.dumps({"inputs": [
        {"name": "input", "datatype": "FP64", "shape": [1, WIDTH], "data": ROWS[0].tolist()}]})).json
    assert tensor["outputs"][1]["data"] == np.round([1 - probabilities(ROWS)[0], probabilities(ROWS)[0]], 2).tolist()
    assert tallies(line, "rounded") == {("credit", "1"): 2}


def test_rounding_spoils_an_equation_solving_extraction(line_of: Any) -> None:
    """Six answers give the weights to nine digits; with one digit they are off by a quarter and more."""
    rows = honest(WIDTH + 1, seed=6)

    def stolen(line: Line) -> np.ndarray:
        answers = [line.call("POST", "/predict", body(row[None])).json["predictions"][0] for row in rows]
        yes = np.clip([answer["predict_proba"][1] for answer in answers], 1e-9, 1 - 1e-9)
        return np.linalg.solve(np.column_stack([rows, np.ones(WIDTH + 1)]), np.log(yes / (1 - yes)))[:WIDTH]

    assert stolen(line_of()) == pytest.approx(WEIGHTS, abs=1e-9)
    assert np.abs(stolen(line_of(security={"round_digits": 1})) - WEIGHTS).max() > 0.25


def test_unsure_answers_are_referred_with_their_reason(line_of: Any) -> None:
    """In the rows' answer, in the tensors' parameters, in a header for every protocol, and counted."""
    line = line_of(referral={"confidence": 0.8})
    answer = line.call("POST", "/predict", body(ROWS))
    largest = np.maximum(probabilities(ROWS), 1 - probabilities(ROWS))
    unsure = [{"row": int(row), "reason": "low_confidence"} for row in np.flatnonzero(largest < 0.8)]
    assert answer.json["refer"] == unsure and 0 < len(unsure) < len(ROWS)
    assert answer.headers["x-serinus-refer"].startswith(f"{unsure[0]['row']}=low_confidence")
    sure = ROWS[largest >= 0.8][:1]
    quiet = line.call("POST", "/predict", body(sure))
    assert quiet.json["refer"] == [] and "x-serinus-refer" not in quiet.headers
    tensor = line.call("POST", "/v2/models/credit/infer", orjson.dumps({"inputs": [
        {"name": "input", "datatype": "FP64", "shape": [1, WIDTH], "data": [0.0] * WIDTH}]}))
    assert orjson.loads(tensor.json["parameters"]["refer"]) == [{"row": 0, "reason": "low_confidence"}]
    assert tallies(line, "referred") == {("credit", "1", "low_confidence"): len(unsure) + 1}


def test_novel_rows_are_referred(line_of: Any) -> None:
    """A row that no reference row resembles, alone and deep in a large request of which monitors see a sample."""
    line = line_of(referral={"novelty_p": 0.001})
    odd = np.full((1, WIDTH), 9.0)
    assert line.call("POST", "/predict", body(odd)).json["refer"] == [{"row": 0, "reason": "novel_row"}]
    many = np.concatenate([np.zeros((3_000, WIDTH)), odd, np.zeros((999, WIDTH))])
    assert line.call("POST", "/predict", body(many)).json["refer"] == [{"row": 3_000, "reason": "novel_row"}]


@pytest.mark.parametrize(("referral", "referred"), [
    ({"confidence": 1.0, "by_model": {"credit": {}}}, None),
    ({"confidence": 1.0, "by_model": {"fraud": {}}}, 40),
    ({"by_model": {"credit": {"confidence": 1.0}}}, 40),
    ({"by_model": {"fraud": {"confidence": 1.0}}}, None)])
def test_a_model_may_have_limits_of_its_own(line_of: Any, referral: dict[str, Any], referred: int | None) -> None:
    """They stand in place of the general ones; without any limit an answer has no word of referral."""
    answer = line_of(referral=referral).call("POST", "/predict", body(ROWS)).json
    assert (len(answer["refer"]) if "refer" in answer else None) == referred


def test_what_is_wanted_decides_whether_there_is_anything_to_do(line_of: Any) -> None:
    """Any of the three settings, also rounding to no digit at all."""
    board = line_of().board
    assert Answering.wanted(ReferralSettings(by_model={"a": {}}), SecuritySettings(), board) is None
    for referral, security in ((ReferralSettings(confidence=0.5), SecuritySettings()),
                               (ReferralSettings(by_model={"a": {"novelty_p": 0.5}}), SecuritySettings()),
                               (ReferralSettings(), SecuritySettings(round_digits=0))):
        assert Answering.wanted(referral, security, board) is not None


def test_the_header_stays_short() -> None:
    """Twenty rows are named, the others counted."""
    assert head((Referred(3, "low_confidence, novel_row"),)) == (
        b"x-serinus-refer: 3=low_confidence+novel_row\r\n")
    assert head(tuple(Referred(row, "novel_row") for row in range(25))).endswith(b"19=novel_row; and 5 more\r\n")
