"""Micro-batching: who waits anyway shares a call; nobody waits for company, and nobody suffers for a neighbour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import NMF

from serinus.models import Field, Signature, wrap
from serinus.serving.batching import batches_safely
from tests.serving.asgi import Line, Response

NUMBERS = Signature((Field("x", "FP64", (-1,)),), (Field("y", "FP64", (-1,)),))
SLOW, SHORT = 1e9, 0.5e6
"""Expected time in ns: more than may run on the event loop; and more than is better run alone, yet short."""


class Doubling:
    """Answers 2x, keeps the sizes of its calls, fails on a negative number; `gate` holds every call up."""

    def __init__(self) -> None:
        self.signature = NUMBERS
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, inputs: Any, outputs: Any = None) -> dict[str, NDArray[Any]]:
        self.gate.wait(10)
        x = inputs["x"]
        self.sizes.append(len(x))
        self.threads.add(threading.get_ident())
        if (x < 0).any():
            raise ValueError("negative")
        return {"y": x * 2}

    def close(self) -> None:
        pass


class Batched:
    """A request line whose one model shares its calls."""

    def __init__(self, home: Path, expected_ns: float, **limits: Any) -> None:
        self.model = Doubling()
        self.line = Line(home, {"double": {"1": self.model}}, limits=limits)
        route = self.line.router.routes["double"]
        self.arm = route.stable
        self.arm.batches = True
        for size in range(12):
            self.arm.expected_ns[size] = expected_ns

    async def ask(self, *numbers: float, gone: bool = False) -> Response:
        body = orjson.dumps({"rows": [{"x": number} for number in numbers]})
        return await self.line.acall("POST", "/predict", body, gone=gone)

    def ask_all(self, *bodies: tuple[float, ...]) -> list[Response]:
        async def all_at_once() -> list[Response]:
            return await asyncio.gather(*(self.ask(*body) for body in bodies))

        return asyncio.run(all_at_once())


@pytest.fixture(params=[SLOW, SHORT], ids=["thread", "inline"])
def batched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Batched]:
    made = Batched(tmp_path, request.param)
    yield made
    made.line.close()


def predictions(answer: Response) -> list[float]:
    return [row["y"] for row in answer.json["predictions"]]


def test_everybody_gets_their_own_rows(batched: Batched) -> None:
    """In their order, whatever shared the call; each answer is in the log with its own rows."""
    bodies = [tuple(float(10 * caller + row) for row in range(caller % 3 + 1)) for caller in range(20)]
    answers = batched.ask_all(*bodies)
    assert [predictions(answer) for answer in answers] == [[2 * x for x in body] for body in bodies]
    assert len(batched.model.sizes) < len(bodies)
    assert sum(batched.model.sizes) == sum(map(len, bodies))
    logged = {record.request_id: record.outputs["y"].tolist() for record in batched.line.records()}
    assert logged == {answer.json["request_id"]: predictions(answer) for answer in answers}


def test_a_lone_request_is_run_at_once(batched: Batched) -> None:
    """One call of one row; nobody is waited for."""
    (answer,) = batched.ask_all((3.0,))
    assert (predictions(answer), batched.model.sizes) == ([6.0], [1])


def test_one_bad_row_fails_its_own_request_only(batched: Batched) -> None:
    """The shared call raises; then each request is run by itself."""
    answers = batched.ask_all((1.0,), (-1.0, 5.0), (2.0,))
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert [predictions(answers[0]), predictions(answers[2])] == [[2.0], [4.0]]
    assert len(batched.line.records()) == 2


def test_a_call_holds_no_more_than_the_limit(tmp_path: Path) -> None:
    """Later requests make the next call; a request above the limit is run by itself, and 0 switches sharing off."""
    for limit, sizes in ((4, [4, 4, 2]), (1, [1] * 10), (0, [1] * 10)):
        batched = Batched(tmp_path / str(limit), SHORT, batch_rows=limit)
        batched.ask_all(*[(1.0,)] * 10)
        assert batched.model.sizes == sizes
        batched.line.close()


def test_while_a_call_runs_the_next_one_gathers(tmp_path: Path) -> None:
    """Calls of one version never overlap; what arrives meanwhile makes one call."""
    batched = Batched(tmp_path, SLOW)

    async def through() -> list[Response]:
        batched.model.gate.clear()
        first = asyncio.create_task(batched.ask(1.0))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batched.ask(float(number))) for number in range(2, 8)]
        await asyncio.sleep(0.05)
        assert batched.model.sizes == []
        batched.model.gate.set()
        return [await task for task in (first, *others)]

    assert [predictions(answer) for answer in asyncio.run(through())] == [[2.0 * n] for n in range(1, 8)]
    assert batched.model.sizes == [1, 6]
    assert threading.get_ident() not in batched.model.threads
    batched.line.close()


@pytest.mark.parametrize("batches", [True, False])
def test_a_client_that_leaves_takes_its_waiting_work_along(tmp_path: Path, batches: bool) -> None:
    """What had not begun is never run nor logged; the neighbours are answered; it is counted as cancelled."""
    batched = Batched(tmp_path, SLOW)
    batched.arm.batches = batches

    async def through() -> list[Response]:
        batched.model.gate.clear()
        busy = [asyncio.create_task(batched.ask(1.0)) for _ in range(4)]  # as many as there are threads
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(batched.ask(50.0, 51.0, 52.0, gone=True))
        stays = asyncio.create_task(batched.ask(3.0))
        left = await asyncio.wait_for(gone, 5)
        batched.model.gate.set()
        return [left, *[await task for task in (*busy, stays)]]

    left, *others = asyncio.run(through())
    assert (left.status, left.json["detail"]) == (499, "The client went away before its answer.")
    assert [answer.status for answer in others] == [200] * 5
    assert 3 not in batched.model.sizes and sum(batched.model.sizes) == 5
    assert len(batched.line.records()) == 5
    assert sum(series.duration_buckets[-1] >= 0 for labels, series in batched.line.counts()[1].items()
               if labels.status == 499) == 1
    batched.line.close()


@pytest.mark.parametrize("batches", [True, False])
def test_calls_that_do_not_end_make_a_version_unready(tmp_path: Path, batches: bool) -> None:
    """504 for a call that hangs, and the next one gets a thread of its own; after two of them the version is not asked
    any more, until one has ended."""
    batched = Batched(tmp_path, SLOW, deadline_seconds=0.1)
    batched.arm.batches = batches
    ready = batched.line.app.readiness

    async def through() -> list[Response]:
        batched.model.gate.clear()
        answers = [await batched.ask(1.0)]
        await asyncio.sleep(0.05)
        assert ready()[0]
        answers.append(await batched.ask(2.0))
        await asyncio.sleep(0.05)
        answers.append(await batched.ask(3.0))
        assert not ready()[0] and "double:1 does not answer" in ready()[1]
        assert (await batched.line.acall("GET", "/v2/models/double/ready")).status == 503
        batched.model.gate.set()
        await asyncio.sleep(0.05)
        assert ready()[0]
        return [*answers, await batched.ask(4.0)]

    answers = asyncio.run(through())
    assert [answer.status for answer in answers] == [504, 504, 503, 200]
    assert "2 of its calls go on past the deadline" in answers[2].json["detail"]
    assert batched.model.sizes == [1, 1, 1]
    batched.line.close()


def test_a_call_that_its_clients_left_is_given_up_too(tmp_path: Path) -> None:
    """Who goes away before the deadline does not leave the version blocked for those who come after it."""
    batched = Batched(tmp_path, SLOW, deadline_seconds=0.2)

    async def through() -> list[Response]:
        batched.model.gate.clear()
        left = await batched.ask(1.0, gone=True)
        await asyncio.sleep(0.4)
        assert batched.arm.stuck == 1
        late = asyncio.create_task(batched.ask(2.0))
        await asyncio.sleep(0.05)
        batched.model.gate.set()
        return [left, await late]

    assert [answer.status for answer in asyncio.run(through())] == [499, 200]
    assert batched.arm.stuck == 0
    batched.line.close()


def test_other_outputs_are_another_call(tmp_path: Path) -> None:
    """Requests of one call want the same outputs and have the same inputs."""
    batched = Batched(tmp_path, SHORT)
    tensor = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}]}

    async def both() -> list[Response]:
        bodies = [orjson.dumps(tensor), orjson.dumps(tensor | {"outputs": [{"name": "y"}]})]
        return await asyncio.gather(*(batched.line.acall("POST", "/v2/models/double/infer", body) for body in bodies))

    assert [answer.status for answer in asyncio.run(both())] == [200, 200]
    assert batched.model.sizes == [1, 1]
    batched.line.close()


def test_nothing_runs_in_a_thread_that_would_be_short(tmp_path: Path) -> None:
    """A short model's shared calls stay on the event loop."""
    batched = Batched(tmp_path, SHORT)
    batched.ask_all(*[(1.0,)] * 6)
    assert batched.model.threads == {threading.get_ident()}
    batched.line.close()


def test_the_metadata_says_whether_calls_are_shared(tmp_path: Path) -> None:
    """`parameters.batching` of a model."""
    batched = Batched(tmp_path, SHORT)
    for batches in (True, False):
        batched.arm.batches = batches
        assert batched.line.call("GET", "/v2/models/double").json["parameters"] == {"batching": batches}
    batched.line.close()


class Claims:
    """A model that says its rows do not touch each other, whether that is true or not."""

    row_wise = True

    def __init__(self, answer: Any) -> None:
        self.signature = NUMBERS
        self.answer = answer

    def predict(self, inputs: Any, outputs: Any = None) -> dict[str, NDArray[Any]]:
        return {"y": self.answer(inputs["x"])}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("answer", "safe"), [
    (lambda x: x * 2, True),
    (lambda x: x - x.mean(), False),
    (lambda x: x + len(x) * 1e-6, False),
    (lambda x: x + len(x) * 1e-14, True),
    (lambda x: x[:1], False),
    (lambda x: x / 0 if len(x) > 100 else [][0], False),
])
def test_the_claim_is_tried_on_made_up_rows(answer: Any, safe: bool) -> None:
    """Together and one by one must agree to rtol 1e-9 in double precision; a model that raises is left alone."""
    assert batches_safely(Claims(answer)) is safe  # type: ignore[arg-type]


def test_a_model_that_claims_nothing_is_left_alone() -> None:
    """Its rows may touch each other, as NMF's do."""
    rng = np.random.default_rng(1)
    model = wrap(NMF(2, max_iter=500, random_state=0).fit(rng.random((30, 4))))
    assert not batches_safely(model)
    silent = Claims(lambda x: x)
    silent.row_wise = False
    assert not batches_safely(silent)  # type: ignore[arg-type]
