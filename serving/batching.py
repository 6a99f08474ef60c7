"""Opportunistic micro-batching: requests that wait for the same version anyway share one call of its model.

Nobody waits for company. A request that finds the model idle is run at the end of the present turn of the event loop,
with those that arrived in the same turn; while a call runs in a thread, the next batch gathers. Only models whose rows
do not touch each other take part (`batches_safely`), and versions never share a batch. When a shared call raises, each
of its requests is run by itself, so that one bad row never fails its neighbours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from time import time_ns
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.examples import example_rows
from serinus.models.model import Model
from serinus.models.row_wise import is_row_wise
from serinus.models.steps import Steps, told_by
from serinus.serving.request import InferenceRequest

__all__ = ["BatchQueue", "Ran", "batches_safely"]

Outputs = Mapping[str, NDArray[Any]]
_TRIED_ROWS = 5
_TOLERANCE = {"e": 1e-2, "f": 1e-5, "d": 1e-9}


class Ran(NamedTuple):
    """What a call gave one of its requests. Times are Unix nanoseconds, of the whole call."""

    outputs: Outputs | Exception
    started_ns: int
    ended_ns: int
    batch_rows: int
    steps: Steps = ()


class Waiting(NamedTuple):
    """A request in the queue, and where its answer is awaited."""

    request: InferenceRequest
    form: tuple[Any, ...]
    future: asyncio.Future[Ran]


class BatchQueue:
    """The queue of one version in one worker. Lives on the event loop; only `_call` runs in threads.

    `inline` says of a number of rows whether the call is short enough for the loop; `around` is told when a call
    begins and gives back what to call with its end.
    """

    def __init__(self, model: Model, threads: Executor, max_rows: int, inline: Callable[[int], bool],
                 around: Callable[[int], Callable[[int, int], None]]) -> None:
        self._model = model
        self._threads = threads
        self._max_rows = max_rows
        self._inline = inline
        self._around = around
        self._waiting: list[Waiting] = []
        self._running: asyncio.Future[Any] | None = None
        self._begun_ns = 0
        self._scheduled = False

    @property
    def busy(self) -> bool:
        """Whether a call runs in a thread, so that whoever comes now has to wait for it."""
        return self._running is not None

    def give_up(self, before_ns: int) -> asyncio.Future[Any] | None:
        """Wait no longer for the call that runs, if it began before then: those behind it get a thread of their own.
        The call itself, which nobody can stop."""
        running = self._running
        if running is None or self._begun_ns > before_ns:
            return None
        self._running = None
        self._schedule(asyncio.get_running_loop())
        return running

    def put(self, request: InferenceRequest) -> asyncio.Future[Ran]:
        """Queue a request; cancelling the future takes it out again."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ran] = loop.create_future()
        self._waiting.append(Waiting(request, _form(request), future))
        self._schedule(loop)
        return future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and not self.busy and self._waiting:
            self._scheduled = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self.busy:
            return
        batch, rows = self._take()
        if not batch:
            return
        started = time_ns()
        done = self._around(started)
        if self._inline(rows):
            self._deliver(batch, told_by(_call, self._model, batch), started, rows, done)
        else:
            running = asyncio.get_running_loop().run_in_executor(self._threads, told_by, _call, self._model, batch)
            self._running, self._begun_ns = running, started
            running.add_done_callback(lambda call: self._ended(call, batch, started, rows, done))

    def _ended(self, call: asyncio.Future[Any], batch: Sequence[Waiting], started: int, rows: int,
               done: Callable[[int, int], None]) -> None:
        if self._running is call:
            self._running = None
        self._deliver(batch, _answers(call, batch), started, rows, done)

    def _take(self) -> tuple[list[Waiting], int]:
        """The next batch: the oldest request, and those behind it that fit it in form and size."""
        batch: list[Waiting] = []
        left: list[Waiting] = []
        rows = 0
        for waiting in self._waiting:
            if waiting.future.done():  # its client went away, or its deadline passed
                continue
            size = waiting.request.rows
            if not batch or (rows + size <= self._max_rows and waiting.form == batch[0].form):
                batch.append(waiting)
                rows += size
            else:
                left.append(waiting)
        self._waiting = left
        return batch, rows

    def _deliver(self, batch: Sequence[Waiting], told: tuple[Sequence[Outputs | Exception], Steps], started: int,
                 rows: int, done: Callable[[int, int], None]) -> None:
        ended, (answers, steps) = time_ns(), told
        done(ended, rows)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(Ran(answer, started, ended, rows, steps))
        self._schedule(asyncio.get_running_loop())


def _form(request: InferenceRequest) -> tuple[Any, ...]:
    """What requests of one call have in common: inputs, shapes of a row, and outputs wanted."""
    return request.outputs, tuple((name, array.shape[1:]) for name, array in request.inputs.items())


def _call(model: Model, batch: Sequence[Waiting]) -> list[Outputs | Exception]:
    """An answer, or what was raised, for each request."""
    requests = [waiting.request for waiting in batch]
    if len(requests) > 1:
        try:
            return list(_together(model, requests))
        except Exception:  # somebody's row; each by itself will show whose
            pass
    return [_alone(model, request) for request in requests]


def _alone(model: Model, request: InferenceRequest) -> Outputs | Exception:
    try:
        return model.predict(request.inputs, request.outputs)
    except Exception as error:
        return error


def _together(model: Model, requests: Sequence[InferenceRequest]) -> list[Outputs]:
    first = requests[0]
    inputs = {name: np.concatenate([request.inputs[name] for request in requests]) for name in first.inputs}
    outputs = model.predict(inputs, first.outputs)
    stops = np.cumsum([request.rows for request in requests]).tolist()
    if any(array.shape[:1] != (stops[-1],) for array in outputs.values()):
        raise ValueError("not one output per row")
    return [{name: array[stop - request.rows:stop] for name, array in outputs.items()}
            for request, stop in zip(requests, stops, strict=True)]


def _answers(call: asyncio.Future[tuple[list[Outputs | Exception], Steps]],
             batch: Sequence[Waiting]) -> tuple[Sequence[Outputs | Exception], Steps]:
    """What the thread gave; an error for everybody where it could not run at all (the pool was shut down)."""
    if call.cancelled():
        return [RuntimeError("the server is shutting down")] * len(batch), ()
    error = call.exception()
    return ([RuntimeError(str(error))] * len(batch), ()) if error is not None else call.result()


def batches_safely(model: Model) -> bool:
    """Whether requests may share calls of this model: it says that its rows do not touch each other, and made-up rows
    give the same answers together as one by one (labels equal, numbers to rtol 1e-5 in single and 1e-9 in double
    precision)."""
    if not is_row_wise(model) or any(field.shape[:1] != (-1,) for field in model.signature.inputs):
        return False
    try:
        rows = example_rows(model.signature, _TRIED_ROWS)
        together = model.predict(rows)
        alone = [model.predict({name: array[row:row + 1] for name, array in rows.items()})
                 for row in range(_TRIED_ROWS)]
        return all(_agree(array, np.concatenate([answer[name] for answer in alone]))
                   for name, array in together.items())
    except Exception:  # a model that does not like made-up rows is none the worse, only alone
        return False


def _agree(together: NDArray[Any], alone: NDArray[Any]) -> bool:
    if together.shape != alone.shape or len(together) != _TRIED_ROWS:
        return False
    tolerance = _TOLERANCE.get(together.dtype.char)
    if tolerance is None:
        return bool(np.array_equal(together, alone))
    return bool(np.allclose(together, alone, rtol=tolerance, atol=tolerance * 1e-3, equal_nan=True))
