"""`serinus.AsyncClient`: the same as `serinus.Client`, for programs that wait for many things at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from serinus.models.signature import Signature
from serinus.serving.client import calls
from serinus.serving.client.answer import Answer
from serinus.serving.client.call import Call
from serinus.serving.client.connection import Address, failed, headers_of, to_reply
from serinus.serving.client.documents import Alert, Explanation, Monitored, Receipt, RolledBack, Rollout, ServedModel
from serinus.serving.client.errors import Busy, ClientError, InputInvalid, Refused, Unreachable
from serinus.serving.client.inputs import is_large, prepare
from serinus.serving.client.retries import Retries
from serinus.serving.store import JournalEntry

__all__ = ["AsyncClient", "AsyncRollouts"]

T = TypeVar("T")
_LOOK_S = 0.1


class AsyncClient:
    """A running server, by its address: every method as in `serinus.Client`, and awaited.

    Use it from one event loop, and `async with` it or `close` it at the end.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0, *, retries: Retries | None = None,
                 actor: str | None = None, **options: Any) -> None:
        self._address = Address.of(url, token, actor)
        self._timeout = timeout
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(**self._address.options(timeout, options))
        self._signatures: dict[str, Signature] = {}
        self.rollouts = AsyncRollouts(self)
        """Try a version, look, promote, roll back."""

    @property
    def url(self) -> str:
        """The server's address."""
        return self._address.url

    @property
    def actor(self) -> str:
        """Who acts, for the journal."""
        return self._address.actor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._http.aclose()

    async def predict(self, model: str, inputs: Any, *, routing_key: str | None = None,
                      keys: str | Sequence[str] | None = None, request_id: str | None = None, novelty: bool = False,
                      headers: Mapping[str, str] | None = None) -> Answer:
        """Ask `NAME`, or exactly `NAME:VERSION`, for predictions.

        `inputs`: a DataFrame (pandas, Polars, Arrow), a dict of columns, a dict with one row's values, a list of such
        dicts, or an array with a row for each prediction. A caller with a `routing_key` always meets the same version;
        `keys` are your own names of the rows (an order's number), by which their truth may come later; `novelty` asks
        for each row's p-value. The request id, one of ours unless it is given, is the same in all
        attempts.
        """
        sent = prepare(inputs)
        takes = await self.signature(model) if is_large(sent) else None
        call = calls.predict(model, sent, takes, routing_key=routing_key, keys=keys, request_id=request_id,
                             novelty=novelty, headers=headers or {})
        try:
            return await self.send(call)
        except InputInvalid:
            self._signatures.pop(model, None)  # perhaps the model takes other inputs now
            raise

    async def signature(self, model: str) -> Signature:
        """What a model takes and gives; asked once and remembered until the server refuses an input."""
        if model not in self._signatures:
            self._signatures[model] = await self.send(calls.signature(model))
        return self._signatures[model]

    async def ready(self) -> bool:
        """Whether requests can be answered now; false where nobody listens, too."""
        with suppress(Unreachable, Busy):
            return await self.send(calls.ready())
        return False

    async def wait_until_ready(self, timeout: float = 60.0) -> Self:
        """Until requests can be answered. Raises `Unreachable` when that takes longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not await self.ready():
            if time.monotonic() > deadline:
                raise Unreachable(f"{self.url} was not ready within {timeout:g} s.")
            await asyncio.sleep(_LOOK_S)
        return self

    async def models(self) -> tuple[ServedModel, ...]:
        """All registered models, and which of their versions does what."""
        return await self.send(calls.models())

    async def feedback(self, prediction_id: str | Sequence[str] | None = None, value: Any = None, *,
                       key: str | Sequence[str] | None = None, kind: str = "", event_time: Any = None,
                       source: str = "", weight: float | None = None) -> Receipt:
        """Tell what became of predictions: one id and the truth, or sequences of both; or, in place of ids,
        the keys that the rows had.

        `kind` is `final` (left out), `provisional`, `revision` or `retract` (then the value is None); `event_time` a
        datetime, ISO 8601 or Unix seconds. Sending the same again changes nothing.
        """
        return await self.send_outcomes(calls.outcomes(
            prediction_id, value, key, kind=kind, event_time=event_time, source=source, weight=weight))

    async def event(self, prediction_id: str | Sequence[str], name: str, value: Any = 1, *, event_time: Any = None,
                    source: str = "") -> Receipt:
        """Tell of something that happened after predictions: a `click`, `revenue` of 12.5. Each one counts."""
        return await self.send_outcomes(calls.outcomes(
            prediction_id, value, kind="event", name=name, event_time=event_time, source=source))

    async def send_outcomes(self, rows: Any) -> Receipt:
        """Outcomes as they come from elsewhere: dicts, or a DataFrame, with `prediction_id`, `value` and what else an
        outcome has; any number of them."""
        total = Receipt(0, (), 0)
        for call in calls.feedback(rows):
            total += await self.send(call)
        return total

    async def ground_truth(self, model: str | None = None) -> dict[str, Any]:
        """What is known of what became of predictions: how much, how late, and what is measured by it."""
        return await self.send(calls.ground_truth(model))

    async def prediction(self, prediction_id: str) -> dict[str, Any]:
        """One logged prediction: inputs, outputs, version, trace id, and what became of it. Who looked is on record."""
        return await self.send(calls.prediction(prediction_id))

    async def explain(self, model: str, inputs: Any) -> tuple[Explanation, ...]:
        """What in each row moves its answer, the largest contributions first; a few rows at a time."""
        return await self.send(calls.explain(model, prepare(inputs)))

    async def explain_prediction(self, model: str, prediction_id: str) -> Explanation:
        """The same of a prediction that is in the log."""
        return await self.send(calls.explain_prediction(model, prediction_id))

    async def performance(self, model: str) -> dict[str, Any]:
        """What answers turned out to be worth, by version and hour, beside what they are estimated to be."""
        return await self.send(calls.performance(model))

    async def monitors(self, model: str | None = None) -> tuple[Monitored, ...]:
        """What the monitors see in a model's versions, or in all."""
        return await self.send(calls.monitors(model))

    async def alerts(self) -> tuple[Alert, ...]:
        """What is wrong and lasts."""
        return await self.send(calls.alerts())

    async def acknowledge(self, alert_id: str) -> Alert:
        """Say, by the client's `actor`, that somebody looks after an alert: it is not repeated unless it gets worse."""
        return await self.send(calls.acknowledge(alert_id, self.actor))

    async def send(self, call: Call[T]) -> T:
        """Make a call, and make it again where that is safe, sensible and in time."""
        deadline, attempts = time.monotonic() + self._timeout, 0
        while True:
            attempts += 1
            try:
                return await self._attempt(call, deadline - time.monotonic())
            except (httpx.HTTPError, Refused) as error:
                told, failure = failed(error, self.url, self._timeout)
                wait = None if failure is None else self._retries.wait_s(
                    call.resend, failure, attempts, deadline - time.monotonic(), random.random(),
                    getattr(error, "retry_after_s", None))
                if wait is None:
                    raise told from None
            await asyncio.sleep(wait)

    async def _attempt(self, call: Call[T], left_s: float) -> T:
        response = await self._http.request(call.method, call.path, content=call.body, headers=headers_of(call),
                                            timeout=left_s)
        return call.result(to_reply(response))


class AsyncRollouts:
    """The rollouts of a server. Each verb answers with how the rollout stands then; who acts and why is in the journal.

    What changes a rollout is never sent a second time by itself, unless no connection came about at all.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def start(self, tag: str, *, plan: Mapping[str, Any] | Path | str | None = None,
                    steps: str | Sequence[float] = "5,25,50", shadow: float = 10.0, manual: bool = False,
                    force: bool = False, reason: str = "") -> Rollout:
        """Begin a rollout of `NAME:VERSION`: checked first, then in the shadow, then step by step, judged by itself.

        `plan` is a plan file or its document; without one `steps` and `shadow`, in percent, make it. With `manual` a
        person takes every step. `force` starts a version that was rolled back before.
        """
        return await self._client.send(calls.start(
            tag, plan=plan, steps=steps, shadow=shadow, manual=manual, force=force, actor=self._client.actor,
            reason=reason))

    async def status(self, model: str) -> Rollout:
        """Where it stands, and whether every worker follows."""
        return await self._client.send(calls.status(model))

    async def promote(self, model: str, *, force: bool = False, reason: str = "") -> Rollout:
        """The next step; after the last one the candidate is stable. A rollout that judges itself wants `force`."""
        return await self._act(model, "promote", reason, force=force)

    async def approve(self, model: str, *, reason: str = "") -> Rollout:
        """Agree, by the client's `actor`, that the present step may end; of a plan that wants it."""
        return await self._act(model, "approve", reason)

    async def pause(self, model: str, *, reason: str = "") -> Rollout:
        """Hold the share as it is."""
        return await self._act(model, "pause", reason)

    async def resume(self, model: str, *, reason: str = "") -> Rollout:
        """Go on."""
        return await self._act(model, "resume", reason)

    async def freeze(self, model: str, *, reason: str = "") -> Rollout:
        """Let nothing automatic happen any more, until a person acts."""
        return await self._act(model, "freeze", reason)

    async def abort(self, model: str, *, reason: str = "") -> Rollout:
        """Stop; the version may be tried again."""
        return await self._act(model, "abort", reason)

    async def retry(self, model: str, *, force: bool = False, reason: str = "") -> Rollout:
        """The latest candidate once more, by the same plan; `force` lifts its quarantine."""
        return await self._act(model, "retry", reason, force=force)

    async def rollback(self, model: str, *, to: str | None = None, reason: str = "") -> RolledBack:
        """The previous version again, in all workers, at once: with or without a store."""
        return await self._client.send(calls.roll_back(model, to, self._client.actor, reason))

    async def journal(self, model: str) -> tuple[JournalEntry, ...]:
        """Every event, oldest first, with who and why."""
        found: tuple[JournalEntry, ...] = ()
        while True:
            page = await self._client.send(calls.journal(model, found[-1].seq or 0 if found else 0))
            found += page
            if len(page) < calls.JOURNAL_PAGE:
                return found

    async def analysis(self, model: str) -> dict[str, Any]:
        """The latest verdict and everything that was compared for it."""
        return await self._client.send(calls.analysis(model))

    async def wait_until_followed(self, model: str, timeout: float = 30.0) -> Rollout:
        """Until every live worker does what the record says. Raises `ClientError` when that takes longer."""
        return await self._wait(model, timeout, "followed by every worker", lambda rollout: rollout.followed)

    async def wait_for_end(self, model: str, timeout: float = 24 * 3600.0) -> Rollout:
        """Until no rollout runs any more: `phase` says how it ended. Raises `ClientError` when that takes longer."""
        return await self._wait(model, timeout, "over", lambda rollout: not rollout.running)

    async def _wait(self, model: str, timeout: float, what: str, is_so: Any) -> Rollout:
        deadline = time.monotonic() + timeout
        while not is_so(found := await self.status(model)):
            if time.monotonic() > deadline:
                raise ClientError(f"The rollout of {model!r} is in phase {found.phase}, and not {what} after "
                                  f"{timeout:g} s.")
            await asyncio.sleep(_LOOK_S)
        return found

    async def _act(self, model: str, verb: str, reason: str, **further: Any) -> Rollout:
        return await self._client.send(calls.act(model, verb, self._client.actor, reason, **further))
