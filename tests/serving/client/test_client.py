"""Both clients against servers that hang up, are busy, refuse, or are not there."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import serinus
from serinus.serving.client import (
    AsyncClient,
    AsyncRollouts,
    Busy,
    Client,
    ClientError,
    Failed,
    InputInvalid,
    NotAllowed,
    NotPossible,
    Refused,
    Retries,
    Rollouts,
    Unknown,
    Unreachable,
)
from tests.serving.client.moody_server import HANG_UP, Mood, moody

_PREDICTED = Mood(200, {"predictions": [{"label": 1}], "model": "m", "version": "2", "role": "candidate",
                        "request_id": "r", "prediction_ids": ["p-0"], "violations": []})
_ROLLOUT = Mood(202, {"notice": None, "record": {
    "model": "m", "phase": "canary", "stable": "1", "candidate": "2", "weight": 500, "step": 0, "reason": "",
    "actor": "ann", "plan": {"steps": [500, 5000]}}})
_QUICK = Retries(most=3, first_s=0.001)

Ask = Callable[[str, str], Any]


def _sync(url: str, verb: str, *args: Any, timeout: float = 10.0, options: Any = None, **how: Any) -> Any:
    with Client(url, timeout=timeout, retries=_QUICK, actor="ann", **(options or {})) as client:
        owner: Any = client.rollouts if hasattr(Rollouts, verb) else client
        return getattr(owner, verb)(*args, **how)


def _async(url: str, verb: str, *args: Any, timeout: float = 10.0, options: Any = None, **how: Any) -> Any:
    async def asked() -> Any:
        async with AsyncClient(url, timeout=timeout, retries=_QUICK, actor="ann", **(options or {})) as client:
            owner: Any = client.rollouts if hasattr(AsyncRollouts, verb) else client
            return await getattr(owner, verb)(*args, **how)
    return asyncio.run(asked())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Any:
    """Ask a server once, by either client."""
    return request.param


def test_the_doors_lead_to_the_clients() -> None:
    """`serinus.Client` is the client, and both clients have the same methods with the same parameters."""
    assert serinus.Client is Client and serinus.AsyncClient is AsyncClient
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        serinus.Clint  # type: ignore[attr-defined] # noqa: B018
    for one, other in ((Client, AsyncClient), (Rollouts, AsyncRollouts)):
        assert _public(one) == _public(other)


def _public(cls: type) -> dict[str, list[str]]:
    return {name: list(inspect.signature(member).parameters) for name, member in vars(cls).items()
            if callable(member) and not name.startswith("_")}


def test_a_prediction_is_asked_again_under_one_request_id(ask: Any) -> None:
    """A worker that dies or is busy costs a moment and no answer, and the log shows that it was one request."""
    with moody([HANG_UP, Mood(503, {"detail": "Models are being loaded."}), _PREDICTED]) as server:
        answer = ask(server.url, "predict", "m", {"a": 1.0})
    assert (answer.version, answer.role, answer.predictions) == ("2", "candidate", [{"label": 1}])
    assert len({headers["x-request-id"] for _, _, headers, _ in server.asked}) == 1 and len(server.asked) == 3
    assert [body for *_, body in server.asked] == [b'{"rows":[{"a":1.0}]}'] * 3


def test_what_changes_a_rollout_is_never_sent_twice(ask: Any) -> None:
    """A promotion whose answer was lost may have happened: the caller is told, and looks."""
    with moody([HANG_UP, _ROLLOUT]) as server:
        with pytest.raises(Unreachable, match="broke"):
            ask(server.url, "promote", "m")
        with pytest.raises(Refused, match="in a form that this client does not know"):
            ask(server.url, "rollback", "m")
    assert [path for _, path, *_ in server.asked] == ["/api/rollouts/m/promote", "/api/rollouts/m/rollback"]


def test_truths_are_sent_again_and_events_only_when_refused(ask: Any) -> None:
    """A truth counts once however often it comes; of a click whose answer was lost nobody knows."""
    taken = Mood(202, {"accepted": 1, "rejected": [], "rejected_count": 0})
    with moody([HANG_UP, taken, Mood(503, {"detail": "full"}), taken, HANG_UP]) as server:
        assert ask(server.url, "feedback", "p-0", "yes").accepted == 1
        assert ask(server.url, "event", "p-0", "click").accepted == 1
        with pytest.raises(Unreachable):
            ask(server.url, "event", "p-0", "click")
    assert len(server.asked) == 5


@pytest.mark.parametrize(("status", "kind"), [(400, InputInvalid), (422, InputInvalid), (401, NotAllowed),
                                              (403, NotAllowed), (404, Unknown), (409, NotPossible), (504, Failed)])
def test_a_refusal_is_an_error_of_its_kind(ask: Any, status: int, kind: type[Refused]) -> None:
    """With the server's own sentence, the request's id, and each violation; it is not asked again."""
    violation = {"path": "$.rows[0].a", "kind": "type_mismatch", "wanted": "FP64", "got": "string 'x'"}
    refused = Mood(status, {"detail": "Clean the input.", "violations": [violation]}, {"x-request-id": "r7"})
    with moody([refused]) as server, pytest.raises(kind, match=r"^Clean the input\.$") as found:
        ask(server.url, "predict", "m", [{"a": 1}])
    assert found.value.status == status and found.value.request_id == "r7"
    assert found.value.violations[0].path == "$.rows[0].a" and isinstance(found.value, ClientError)


def test_a_server_that_stays_busy_is_an_error_with_its_wait(ask: Any) -> None:
    """After the last attempt, and at once where the wait that it names is longer than the caller's time."""
    busy = Mood(429, {"error": "Too many."}, {"retry-after": "0"})
    with moody([busy] * 4 + [Mood(429, {"error": "Too many."}, {"retry-after": "60"})]) as server:
        for wait in (0, 60):
            with pytest.raises(Busy, match="Too many") as found:
                ask(server.url, "models")
            assert found.value.retry_after_s == wait
    assert len(server.asked) == 5


def test_nobody_there_and_nobody_answering(ask: Any) -> None:
    """Each is a sentence; `ready` says false instead."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"cannot be reached: .*Does a server listen there"):
            ask(url, "models")
        assert ask(url, "ready") is False
        silent.listen()
        with pytest.raises(Unreachable, match=r"did not answer within 0\.2 s"):
            ask(url, "models", timeout=0.2)


def test_the_token_and_the_actor_travel(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token from the environment where none is given; the journal learns who acted."""
    monkeypatch.setenv("SERINUS_CONTROL_TOKEN", "secret")
    with moody([_ROLLOUT, _ROLLOUT]) as server:
        assert ask(server.url, "pause", "m").weight == 0.05
        ask(server.url, "pause", "m", options={"token": "other", "headers": {"x-team": "risk"}})
    headers = [headers for _, _, headers, _ in server.asked]
    assert [one["authorization"] for one in headers] == ["Bearer secret", "Bearer other"]
    assert headers[1]["x-team"] == "risk" and b'"actor":"ann"' in server.asked[0][3]


def test_a_callers_own_keys_travel(ask: Any) -> None:
    """With the request, one for each row, and with the truth in place of a prediction id."""
    taken = Mood(202, {"accepted": 2, "rejected": [], "rejected_count": 0})
    with moody([_PREDICTED, taken]) as server:
        ask(server.url, "predict", "m", [{"a": 1}, {"a": 2}], keys=["order-7", "order-8"])
        ask(server.url, "feedback", key=["order-7", "order-8"], value=["paid", "lost"])
    assert server.asked[0][2]["x-prediction-key"] == "order-7,order-8"
    assert server.asked[1][3] == b'[{"key":"order-7","value":"paid"},{"key":"order-8","value":"lost"}]'


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_outcomes_come_as_a_frame(ask: Any, library: Any) -> None:
    """Of any library; a gap is nothing that was said."""
    taken = Mood(202, {"accepted": 2, "rejected": [], "rejected_count": 0})
    with moody([taken]) as server:
        frame = library({"prediction_id": ["p-0", "p-1"], "value": [1, 0], "source": ["ops", None]})
        assert ask(server.url, "send_outcomes", frame).accepted == 2
    assert server.asked[0][3] == (b'[{"prediction_id":"p-0","value":1,"source":"ops"},'
                                  b'{"prediction_id":"p-1","value":0}]')


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "localhost", ""])
def test_an_address_without_a_scheme_is_refused(url: str) -> None:
    """At once, not at the first call."""
    with pytest.raises(ClientError, match="expected http://HOST:PORT"):
        Client(url)


def test_what_cannot_be_asked_is_refused_before_it_is_sent(ask: Any) -> None:
    """A start without a version, ids and values of different lengths."""
    with pytest.raises(ClientError, match="Which version of 'm'"):
        ask("http://127.0.0.1:1", "start", "m")
    with pytest.raises(ClientError, match="one value for each of 2 predictions, got 3"):
        ask("http://127.0.0.1:1", "feedback", ["a", "b"], [1, 2, 3])
    with pytest.raises(ClientError, match="prediction ids or keys, one of them"):
        ask("http://127.0.0.1:1", "feedback")
    with pytest.raises(ClientError, match="keys: expected printable ASCII without commas, got 'a,b'"):
        ask("http://127.0.0.1:1", "predict", "m", [{"a": 1}], keys=["a,b"])
