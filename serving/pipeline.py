"""The request line: bytes, parse, validate, route, predict, render, record, bytes.

What may refuse a request stands before `predict`; what may only remark stands after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import time_ns
from typing import Any, Literal, cast

from numpy.typing import NDArray

from serinus.models.errors import InvalidInput as UnfitInput
from serinus.models.errors import UnknownOutput
from serinus.models.steps import Steps, told_by
from serinus.monitors.record import PredictionRecord
from serinus.serving.answering import Answering, head
from serinus.serving.batching import BatchQueue, Ran
from serinus.serving.board import Board
from serinus.serving.caller_keys import CallerKeys
from serinus.serving.callers import Callers
from serinus.serving.errors import (
    Cancelled,
    InvalidInput,
    ModelUnavailable,
    PredictionFailed,
    RequestError,
    TimedOut,
    Unrecorded,
    Violation,
)
from serinus.serving.expectations import Guard
from serinus.serving.ids import IdSource
from serinus.serving.inputs import validate
from serinus.serving.observer import Look
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.sampling import is_logged
from serinus.serving.protocols import Headers, Protocol, Rendered
from serinus.serving.request import Answer, InferenceRequest, is_request_id
from serinus.serving.router import Arm, Choice, Router
from serinus.serving.security import Security
from serinus.serving.settings import LimitSettings
from serinus.serving.shadow.mirror import Copy
from serinus.serving.telemetry import Marks, SpanContextIds, within
from serinus.serving.telemetry.logs import of_request
from serinus.serving.trial import Trial
from serinus.serving.values import binned

__all__ = ["Call", "Pipeline"]

_log = logging.getLogger("serinus.pipeline")
_THREADS = 4
_GRACE_S = 0.01
_CLASSES = 20
"""Labels of a version that are counted each by itself."""

_EXPLAIN = b"x-serinus-explain"
_IDS = (b"ce-id", b"x-amzn-sagemaker-inference-id")

Outputs = Mapping[str, NDArray[Any]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Call:
    """One call under way: what the edge knows of it, and the marks that telemetry wants (Unix ns, 0: not reached)."""

    __slots__ = ("assigned", "batch_rows", "body", "choice", "client", "copy", "counts", "drift", "guard", "headers",
                 "ids", "keys", "model", "novelty_p", "parsed_ns", "predict_ended_ns", "predict_started_ns",
                 "prediction", "protocol", "receive", "recorded_ns", "rendered_ns", "request_id", "routed_ns",
                 "routing_key", "rows", "started_ns", "steps", "trial", "validated_ns", "version", "violations")

    def __init__(self, protocol: Protocol, model: str, version: str | None, headers: Headers, receive: Receive,
                 request_id: str, routing_key: str | None, ids: SpanContextIds | None, started_ns: int) -> None:
        self.protocol = protocol
        self.model = model
        self.version = version
        self.headers = headers
        self.receive = receive
        self.request_id = request_id
        self.routing_key = routing_key
        self.ids = ids
        self.started_ns = started_ns
        self.body = b""
        self.client = 0
        self.parsed_ns = self.validated_ns = self.routed_ns = self.predict_started_ns = self.predict_ended_ns = 0
        self.rendered_ns = self.recorded_ns = 0
        self.choice: Choice | None = None
        self.prediction = ""
        self.rows = 0
        self.batch_rows = 0
        self.violations: tuple[Violation, ...] = ()
        self.counts: Mapping[str, int] | None = None
        self.guard: Guard | None = None
        self.steps: Steps = ()
        self.drift = ""
        self.novelty_p: float | None = None
        self.trial: Trial | None = None
        self.assigned = 0
        self.copy: Copy | None = None
        self.keys: Sequence[str | None] | None = None

    @property
    def own_ns(self) -> int:
        """The time that parsing and the model took."""
        return self.parsed_ns - self.started_ns + self.predict_ended_ns - self.predict_started_ns

    @property
    def violation_count(self) -> int:
        """How many values broke an expectation, listed or not."""
        return sum(self.counts.values()) if self.counts else len(self.violations)

    @property
    def marks(self) -> Marks:
        """When the stages were passed."""
        return Marks(self.started_ns, self.parsed_ns, self.validated_ns, self.routed_ns, self.predict_started_ns,
                     self.predict_ended_ns, self.rendered_ns, self.recorded_ns)


class Pipeline:
    """The line of one worker: every stage in order, the same for every protocol."""

    def __init__(self, router: Router, board: Board, limits: LimitSettings,
                 on_log_error: Literal["refuse", "serve"]) -> None:
        self.log: SegmentWriter | None = None
        """Where records go; None when the prediction log is switched off."""
        self.log_share = 1.0
        """The share of requests that is logged."""
        self.keys: CallerKeys | None = None
        """Notes callers' own keys; None where nothing is logged."""
        self.answering: Answering | None = None
        """Rounds and marks answers; None where no setting asks for it."""
        self.callers: Callers | None = None
        """Finds routing keys beyond the header's; None where no setting asks for it."""
        self.security: Security | None = None
        """Looks at clients' rows; None when that is switched off."""
        self._router = router
        self._board = board
        self._on_log_error = on_log_error
        self._max_rows = limits.rows
        self._deadline_s = limits.deadline_seconds
        self._inline_ns = limits.inline_seconds * 1e9
        self._alone_ns = limits.alone_seconds * 1e9
        self._batch_rows = limits.batch_rows
        self._ids = IdSource()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="serinus-predict")

    @property
    def writer(self) -> int:
        """The number in every prediction id that this worker gives."""
        return self._ids.writer

    def fresh_id(self) -> str:
        """An id for a request that got no prediction and brought no id of its own."""
        return self._ids.next(time_ns())[1]

    async def answer(self, call: Call) -> Rendered:
        """What to answer. Raises `RequestError`; an answer that was returned is in the prediction log."""
        request = self._take(call)
        choice = call.choice = self._choose(call, request)
        call.routed_ns = time_ns()
        arm = choice.arm
        self._assign(call, choice, request)
        if arm.stuck and arm.why_unready:
            raise ModelUnavailable(arm.why_unready)
        expected = self._expected_ns(arm, request.rows)
        if arm.batches and expected > self._alone_ns and request.rows <= self._batch_rows:
            outputs = await self._predict_in_batch(call, arm, request)
        elif expected <= self._inline_ns:
            outputs = self._predict(call, arm, request)
        else:
            outputs = await self._predict_in_thread(call, arm, request)
        uuid, call.prediction = self._ids.next(call.started_ns)
        sequence = self._ids.sequence - 1
        call.rows = request.rows
        if call.copy is not None:
            call.copy.answered(uuid, outputs)
        look = None if arm.watch is None else arm.watch.look(request, uuid, call.own_ns)
        rendered = self._render(call, arm, request, outputs, look)
        call.rendered_ns = time_ns()
        self._count(call, choice, request, outputs, uuid)
        if self.log is not None and is_logged(uuid, self.log_share):
            self._record(call, choice, request, outputs, uuid, sequence, look)
            call.recorded_ns = time_ns()
        return self._remark(call, choice, request, outputs, uuid, look, rendered)

    def _take(self, call: Call) -> InferenceRequest:
        """Parse and validate: what may refuse the inputs."""
        addressed = self._router.arm(call.model, call.version)
        sent = call.protocol.parse(call.body, call.headers, addressed.contract)
        call.parsed_ns = time_ns()
        request = validate(sent, addressed.contract, self._max_rows)
        if addressed.guard is not None:
            call.guard = addressed.guard
            request = addressed.guard.check(request, sent.inputs)
        if self.keys is not None:
            call.keys = self.keys.of(call.headers, request)
        call.validated_ns = time_ns()
        call.violations, call.counts = request.violations, request.counts
        own_id = request.request_id
        if own_id is not None and not call.request_id and is_request_id(own_id):
            call.request_id = own_id
        return request

    def _choose(self, call: Call, request: InferenceRequest) -> Choice:
        """Which version answers."""
        key, version = call.routing_key or request.routing_key, call.version
        if self.callers is not None:
            key, version = self.callers.settle(call.headers, request, key, version)
        return self._router.choose(call.model, version, key)

    def _assign(self, call: Call, choice: Choice, request: InferenceRequest) -> None:
        """What a rollout notes of a request before anybody can know how it ends."""
        arm = choice.arm
        if arm.trial is not None and choice.reason == "split":
            call.trial, call.assigned = arm.trial, arm.trial.assign(choice, call.started_ns)
        if arm.mirror is not None:
            call.copy = arm.mirror.take(request, choice)

    def _render(self, call: Call, arm: Arm, request: InferenceRequest, outputs: Outputs,
                look: Look | None) -> Rendered:
        """The answer in its protocol's form, rounded and marked where a setting asks for it."""
        if not call.request_id:
            call.request_id = _foreign_id(call.headers) or call.prediction
        told, referred = (outputs, None) if self.answering is None else self.answering.finish(
            arm, request, outputs, look)
        rendered = call.protocol.render(
            Answer(request, told, arm.name, arm.version, arm.role, call.request_id, call.prediction, referred,
                   _novelty(call, look, request.rows)))
        return _with_head(rendered, head(referred)) if referred else rendered

    def _count(self, call: Call, choice: Choice, request: InferenceRequest, outputs: Outputs, uuid: bytes) -> None:
        """What the answer was, on the board and for a rollout."""
        arm = choice.arm
        if call.trial is not None:
            call.trial.answered(call.assigned, choice, request, outputs, uuid, call.rendered_ns)
        if arm.class_output is not None:
            self._count_classes(arm, outputs, request.rows)
        elif arm.value_output is not None and (values := outputs.get(arm.value_output)) is not None:
            self._count_values(arm, values)

    def _remark(self, call: Call, choice: Choice, request: InferenceRequest, outputs: Outputs, uuid: bytes,
                look: Look | None, rendered: Rendered) -> Rendered:
        """Show the answered request to everybody who watches; the answer says where the monitors stand."""
        arm = choice.arm
        watch = arm.watch
        if watch is not None:
            watch.keep(look, request, outputs, uuid, call.started_ns)
            rendered = _with_head(rendered, watch.head(look, bool(call.violations)))
            call.drift, call.novelty_p = watch.state, None if look is None or look.novelty is None else look.least
        if arm.custom is not None:
            arm.custom.keep(_record_of(call, choice, request, request.inputs, outputs, uuid, look))
        if self.security is not None:
            self.security.look(call.client, arm, look, outputs, request.rows)
        return rendered

    def rest(self) -> None:
        """Called about once a second: end what has been written for long enough, though no request comes."""
        if self.log is not None:
            self.log.end_if_old()

    def close(self) -> None:
        """Let the threads go and end the open segment."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.seal()

    def seal(self) -> None:
        """End the files that are written; what comes later begins others."""
        if self.log is not None:
            self.log.close()
        if self.keys is not None:
            self.keys.close()

    def _predict(self, call: Call, arm: Arm, request: InferenceRequest) -> Outputs:
        started = call.predict_started_ns = time_ns()
        mark = self._board.begin(arm.mark, started)
        try:
            if arm.tells_steps:
                outputs, call.steps = told_by(arm.model.predict, request.inputs, request.outputs)
                return outputs
            return _bound(arm, call.ids)(request.inputs, request.outputs)
        except Exception as error:
            raise _translated(error, arm, call) from error
        finally:
            ended = call.predict_ended_ns = time_ns()
            self._board.end(mark)
            if ended - started > self._inline_ns:  # else it is where it belongs
                arm.learn(request.rows, ended - started)

    async def _predict_in_batch(self, call: Call, arm: Arm, request: InferenceRequest) -> Outputs:
        """Together with what else waits for this version; see `serinus.serving.batching`."""
        queue = arm.queue = arm.queue or self._queue_of(arm)
        short = not queue.busy and self._inline(arm, request.rows)
        try:
            ran: Ran = await self._wait(queue.put(request), call, arm, watch=not short)
        except (TimedOut, Cancelled):
            self._when_late(call, lambda: self._leave(arm, queue.give_up(time_ns() - int(self._deadline_s * 1e9))))
            raise
        call.predict_started_ns, call.predict_ended_ns, call.batch_rows = ran.started_ns, ran.ended_ns, ran.batch_rows
        call.steps = ran.steps
        if isinstance(ran.outputs, Exception):
            raise _translated(ran.outputs, arm, call) from ran.outputs
        return ran.outputs

    def _queue_of(self, arm: Arm) -> BatchQueue:
        def around(started: int) -> Callable[[int, int], None]:
            mark = self._board.begin(arm.mark, started)

            def done(ended: int, rows: int) -> None:
                self._board.end(mark)
                arm.learn(rows, ended - started)

            return done

        return BatchQueue(arm.model, self._threads, self._batch_rows, lambda rows: self._inline(arm, rows), around)

    def _inline(self, arm: Arm, rows: int) -> bool:
        return self._expected_ns(arm, rows) <= self._inline_ns

    def _expected_ns(self, arm: Arm, rows: int) -> float:
        """How long a call will take. While two versions are compared, both go by the slower one, so that both run in
        the same way."""
        if arm.trial is not None:
            return arm.trial.expected_ns(rows.bit_length(), self._inline_ns + 1)
        return arm.expected_ns.get(rows.bit_length(), self._inline_ns + 1)

    async def _predict_in_thread(self, call: Call, arm: Arm, request: InferenceRequest) -> Outputs:
        """For calls that would hold up the others. A running call cannot be stopped: past the deadline it is left
        to end by itself, and its result is dropped."""
        loop, started = asyncio.get_running_loop(), time_ns()
        mark = self._board.begin(arm.mark, started)
        running = self._threads.submit(told_by, _bound(arm, call.ids), request.inputs, request.outputs)
        running.add_done_callback(lambda _: _soon(loop, self._board.end, mark))
        call.predict_started_ns = started
        try:
            outputs, call.steps = await self._wait(asyncio.wrap_future(running), call, arm, watch=True)
            return cast(Outputs, outputs)
        except RequestError:
            self._when_late(call, lambda: self._leave(arm, None if running.done() else asyncio.wrap_future(running)))
            raise
        except Exception as error:
            raise _translated(error, arm, call) from error
        finally:
            ended = call.predict_ended_ns = time_ns()
            arm.learn(request.rows, ended - started)

    def _when_late(self, call: Call, then: Callable[[], None]) -> None:
        """Just after the deadline of a call that nobody waits for any more."""
        rest = self._deadline_s - (time_ns() - call.started_ns) / 1e9
        asyncio.get_running_loop().call_later(max(0.0, rest) + _GRACE_S, then)

    def _leave(self, arm: Arm, running: asyncio.Future[Any] | None) -> None:
        """Remember a call that does not end, until it does."""
        if running is not None and not running.done():
            arm.stuck += 1
            running.add_done_callback(arm.came_back)

    async def _wait(self, future: asyncio.Future[Any], call: Call, arm: Arm, *, watch: bool) -> Any:
        """The future's result, unless the deadline passes or, where it is watched for, the client goes away: then
        what has not begun is cancelled."""
        ended: list[RequestError] = []

        def end(error: RequestError) -> None:
            ended.append(error)
            future.cancel()

        gone = asyncio.ensure_future(_gone(call.receive, end)) if watch else None
        late = future.get_loop().call_later(self._deadline_s, lambda: end(TimedOut(
            f"Model {arm.name}:{arm.version} did not answer within {self._deadline_s:g} s.")))
        try:
            return await future
        except asyncio.CancelledError:
            if not ended:
                raise
            raise ended[0] from None
        finally:
            late.cancel()
            future.cancel()
            if gone is not None:
                gone.cancel()

    def _count_classes(self, arm: Arm, outputs: Outputs, rows: int) -> None:
        array = outputs.get(arm.class_output or "")
        if array is None or array.shape != (rows,):
            return
        labels = {array[0]: 1} if rows == 1 else Counter(array.tolist())
        for label, number in labels.items():
            counter = arm.class_counters.get(label)
            if counter is None:
                shown = str(label) if len(arm.class_counters) < _CLASSES else "other"
                counter = self._board.tally_base("predictions", arm.name, arm.version, arm.role, shown)
                if shown != "other":
                    arm.class_counters[label] = counter
            self._board.add(counter, number)

    def _count_values(self, arm: Arm, values: NDArray[Any]) -> None:
        if arm.values < 0:
            arm.values = self._board.values_base(arm.name, arm.version, arm.role)
        if values.dtype.kind == "f":
            self._board.observe(arm.values, binned(values))

    def _record(self, call: Call, choice: Choice, request: InferenceRequest, outputs: Outputs, uuid: bytes,
                sequence: int, look: Look | None) -> None:
        arm, log, inputs = choice.arm, self.log, request.inputs
        assert log is not None
        guards = _personal_guards(call, arm)
        if guards:
            inputs, outputs = guards[0].hidden(inputs, outputs, *guards[1:])
        try:
            if call.keys is not None and self.keys is not None:
                self.keys.keep(call.keys, uuid)  # first: a record in the log can be found by its key
            log.append(_record_of(call, choice, request, inputs, outputs, uuid, look), sequence)
        except OSError as error:
            self._board.log_failed()
            if self._on_log_error == "refuse":
                raise Unrecorded(f"The prediction log cannot take the record ({error.strerror or error}), and its "
                                 "policy is to refuse: free space, or set log.on_error = \"serve\".") from None
        else:
            self._board.log_counts(log.frames, log.bytes)


def _with_head(rendered: Rendered, lines: bytes) -> Rendered:
    return Rendered(rendered.body, rendered.content_type, rendered.head + lines)


def _novelty(call: Call, look: Look | None, rows: int) -> tuple[float | None, ...] | None:
    """Row by row, for a caller who asks for it."""
    return None if look is None or call.headers.get(_EXPLAIN) != b"novelty" else look.by_row(rows)


def _personal_guards(call: Call, arm: Arm) -> list[Guard]:
    """Who hides what is personal: the guard of the version that answers, and of the one that was addressed, for a
    candidate may not have been told yet what is personal."""
    guards = dict.fromkeys(guard for guard in (arm.guard, call.guard) if guard is not None and guard.personal)
    return list(guards)


def _kinds(call: Call) -> Mapping[str, int] | None:
    return call.counts or (Counter(violation.kind for violation in call.violations) if call.violations else None)


def _record_of(call: Call, choice: Choice, request: InferenceRequest, inputs: Outputs, outputs: Outputs,
               uuid: bytes, look: Look | None) -> PredictionRecord:
    arm, ids = choice.arm, call.ids
    return PredictionRecord(
        uuid, call.request_id, call.started_ns, time_ns() - call.started_ns, arm.name,
        arm.version, arm.role, request.rows, inputs, outputs, choice.key_hash,
        ids.trace_id if ids is not None else 0, ids.span_id if ids is not None else 0,
        _kinds(call), None if look is None else look.logged(request.rows))


def _translated(error: Exception, arm: Arm, call: Call) -> RequestError:
    personal = bool(_personal_guards(call, arm))
    if isinstance(error, UnfitInput) and personal:
        return InvalidInput("The model refused the inputs; why is not told, since some of them are personal.")
    if isinstance(error, UnknownOutput | UnfitInput):  # a date that is none, say: only the model can tell
        return InvalidInput(str(error))
    if personal:  # an exception's text may hold a value
        _log.error("%s:%s raised %s during predict, in %s", arm.name, arm.version, type(error).__name__,
                   _place_of(error), extra=of_request(call.ids))
    else:
        _log.error("%s:%s raised during predict", arm.name, arm.version, exc_info=error, extra=of_request(call.ids))
    return PredictionFailed(f"Model {arm.name}:{arm.version} raised {type(error).__name__} on these inputs; "
                            "the server's log has the details.")


def _place_of(error: BaseException) -> str:
    """Where an exception was raised, the innermost call first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return ", ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)


def _bound(arm: Arm, ids: SpanContextIds | None) -> Callable[..., Outputs]:
    """The model's `predict`; a user's code finds its request's span as the current one."""
    return partial(within, ids, arm.model.predict) if arm.runs_user_code and ids is not None else arm.model.predict


async def _gone(receive: Receive, end: Callable[[RequestError], None]) -> None:
    if (await receive())["type"] == "http.disconnect":  # the body was whole, so nothing else should come
        end(Cancelled("The client went away before its answer."))


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[[int], None], argument: int) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and the process with it
        loop.call_soon_threadsafe(function, argument)


def _foreign_id(headers: Headers) -> str:
    """The id that an event or a SageMaker endpoint gave the request; empty without one."""
    for name in _IDS:
        text = headers.get(name, b"").decode("latin-1")
        if text and is_request_id(text):
            return text
    return ""
