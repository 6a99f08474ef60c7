"""The worker's side: who is copied is settled before the outcome, and no answer is delayed, failed or changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.monitors.record import PredictionRecord
from serinus.serving.board import Board, merge, read
from serinus.serving.files import reachable
from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord
from serinus.serving.shadow.copies import MESSAGE_BYTES, unpack
from serinus.serving.shadow.mirror import Mirrors, Throttle
from tests.serving.asgi import ROW, ROWS, Line, people_model

RECORD = RolloutRecord("people", 3, "r1", Phase.SHADOW, Plan((1000,), manual=False, judgement=Judgement()),
                       step_id="r1/shadow", shadow_weight=10_000, stable="1", candidate="2")
TROY = b'{"rows": [{"city": "Troy", "age": 1.5, "visits": 3, "member": true}]}'


class Worker:
    """A request line whose model is in a shadow, and the far end of its socket."""

    def __init__(self, folder: Path) -> None:
        self.line = Line(folder, {"people": {"1": people_model(), "2": people_model("2")}})
        self.path = folder / "shadow.sock"
        self.mirrors = Mirrors(self.path, self.line.board)
        self.mirrors.attach(self.line.router, {"people": RECORD})
        self.listener: socket.socket | None = None
        self.far: socket.socket | None = None

    def listen(self) -> None:
        """Let a shadow come, and the worker find it."""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with reachable(self.path) as name:
            self.listener.bind(name)
        self.listener.listen()
        self.mirrors._tried = float("-inf")
        self.mirrors.turn()
        self.far, _ = self.listener.accept()
        self.far.settimeout(5)

    def die(self) -> None:
        """Let the shadow die."""
        for end in (self.listener, self.far):
            assert end is not None
            end.close()
        self.path.unlink()

    def ask(self, body: bytes = ROWS, path: str = "/predict") -> tuple[int, bytes]:
        answer = self.line.call("POST", path, body, x_request_id="order-1")
        return answer.status, answer.body

    def received(self) -> list[PredictionRecord]:
        """One message's copies."""
        assert self.far is not None
        rollout_id, copies = unpack(self.far.recv(MESSAGE_BYTES))
        assert rollout_id == "r1"
        return list(copies)

    def counted(self, name: str) -> int:
        """A counter of the board, over all labels."""
        counters, _ = merge([(read(self.line.board.path).counters, {})])
        return sum(number for key, number in counters.items() if key.startswith(f'["{name}",'))

    def close(self) -> None:
        self.mirrors.close()
        self.line.close()
        for end in (self.listener, self.far):
            if end is not None:
                end.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    yield made
    made.close()


def test_a_copy_holds_inputs_and_stables_answer_under_the_callers_id(worker: Worker) -> None:
    """What the model saw and gave, its own time, and nothing before the answer is made."""
    worker.listen()
    status, _ = worker.ask()
    worker.mirrors.turn()
    (copy,) = worker.received()
    (record,) = worker.line.records()
    assert status == 200
    assert (copy.prediction_uuid, copy.request_id, copy.version, copy.rows) == (
        record.prediction_uuid, "order-1", "1", 1)
    assert copy.inputs["city"].tolist() == [ROW["city"]]
    assert copy.outputs["predict"].tolist() == [4.0]
    assert 0 < copy.duration_ns <= record.duration_ns


def test_a_request_that_failed_is_a_copy_without_an_answer(worker: Worker) -> None:
    """Pairs in which stable fails count too, else a candidate that fails less could not show it."""
    worker.listen()
    assert worker.ask(TROY)[0] == 500
    assert worker.ask(b"{")[0] == 400  # it never came to a model
    worker.mirrors.turn()
    (copy,) = worker.received()
    assert (dict(copy.outputs), copy.inputs["city"].tolist()) == ({}, ["Troy"])


def test_a_request_for_a_version_by_its_address_is_no_copy(worker: Worker) -> None:
    """Nobody chose by chance which version answers it."""
    worker.listen()
    assert worker.ask(path="/predict/people/versions/1")[0] == 200
    assert worker.counted("shadow_copies") == 0


@pytest.mark.parametrize("state", ["absent", "listening", "hanging", "dead"])
def test_answers_are_the_same_whatever_the_shadow_does(worker: Worker, tmp_path: Path, state: str) -> None:
    """Byte by byte, but for the ids: beside a shadow that is not there, reads, never reads, or died in between."""
    plain = Line(tmp_path / "plain", {"people": {"1": people_model()}})
    bodies = [ROWS, TROY, b"{", ROWS]
    if state != "absent":
        worker.listen()
    if state == "dead":
        worker.die()
    for number in range(265 if state == "hanging" else 16):
        body = bodies[number % len(bodies)] if number < 8 else ROWS
        answers = [line.call("POST", "/predict", body, x_request_id="order-1") for line in (worker.line, plain)]
        (one, other) = ((answer.status, answer.json) for answer in answers)
        for document in (one[1], other[1]):
            document.pop("prediction_ids", None)
        assert one == other
        assert len(answers[0].headers) == len(answers[1].headers)
        if state != "hanging":
            worker.mirrors.turn()
        if state == "listening" and number == 0:
            assert worker.received()
    plain.close()
    dropped = worker.counted("shadow_dropped")
    assert dropped > 0 if state != "listening" else dropped == 0


def test_a_full_queue_drops_before_the_outcome_is_known(worker: Worker) -> None:
    """A place that was taken is kept: all that were not dropped arrive, failures too, and places come free again."""
    worker.listen()
    for number in range(300):
        worker.ask(TROY if number % 10 == 0 else ROWS)
    assert worker.counted("shadow_dropped") == 300 - 256
    arrived: list[PredictionRecord] = []
    for _ in range(30):
        worker.mirrors.turn()
        arrived += worker.received() if len(arrived) < 256 else []
    assert len(arrived) == 256
    assert sum(not copy.outputs for copy in arrived) == 26
    worker.ask()
    worker.mirrors.turn()
    assert len(worker.received()) == 1


def test_a_shadow_that_comes_back_is_found(worker: Worker) -> None:
    """What was on its way is lost, and nothing else."""
    worker.listen()
    worker.ask()
    worker.die()
    worker.mirrors.turn()
    worker.listen()
    worker.ask()
    worker.mirrors.turn()
    assert worker.received()


def test_a_request_under_way_outlives_the_end_of_its_rollout(worker: Worker) -> None:
    """The stable arm forgets its mirror, and whoever was being copied is answered."""
    (arm,) = [arm for arm in worker.line.router.routes["people"].arms if arm.mirror is not None]
    mirror = arm.mirror
    assert mirror is not None and arm.version == "1"
    worker.mirrors.attach(worker.line.router, {"people": RECORD}, vetoed=["people"])
    assert arm.mirror is None
    arm.mirror = mirror  # chosen just before
    assert worker.ask()[0] == 200


def test_too_many_drops_halve_the_share_and_then_end_it_for_a_while() -> None:
    """Halves to a sixteenth, then 0 for a minute, then a sixteenth again; calm doubles it."""
    throttle, now, parts = Throttle(0.0), 0.0, []

    def window(dropped: int) -> float:
        nonlocal now
        for number in range(100):
            throttle.chosen()
            throttle.dropped() if number < dropped else None
        now += Throttle.WINDOW_S
        throttle.turn(now)
        return throttle.part

    assert window(5) == 1.0
    parts = [window(6) for _ in range(5)]
    assert parts == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 0.0]
    assert window(0) == 0.0
    now += Throttle.OFF_S
    throttle.turn(now)
    assert throttle.part == 1 / 16
    now += Throttle.CALM_S
    assert window(0) == 1 / 8


def test_the_share_is_what_the_plan_says(worker: Worker) -> None:
    """Of 2,000 choices at 10 %, within five sigma."""
    mirror = worker.line.router.routes["people"].stable.mirror
    assert mirror is not None
    mirror.share = 0.1
    for _ in range(2_000):
        mirror.take(None, worker.line.router.choose("people", None, None))  # type: ignore[arg-type]  # no shadow listens
    assert abs(worker.counted("shadow_copies") - 200) < 5 * (2_000 * 0.1 * 0.9) ** 0.5


def test_boards_say_which_share_is_copied(worker: Worker) -> None:
    """And nothing when the rollout is over."""
    worker.mirrors.turn()
    assert worker.counted("shadow_share") == 10_000
    worker.mirrors.attach(worker.line.router, {})
    assert worker.counted("shadow_share") == 0


def test_a_board_is_all_that_is_shared(tmp_path: Path) -> None:
    """Without a rollout no arm has a mirror, and no socket is opened."""
    line = Line(tmp_path, {"people": {"1": people_model()}})
    mirrors = Mirrors(tmp_path / "shadow.sock", Board(tmp_path / "boards"))
    mirrors.attach(line.router, {})
    mirrors.turn()
    assert all(arm.mirror is None for arm in line.router.routes["people"].arms)
    assert mirrors._connection is None
    line.close()
