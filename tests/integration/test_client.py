"""`serinus.Client` and a real server with two workers: predictions, what became of them, rollouts, monitors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import serinus
from serinus.serving.client import Client, NotPossible
from tests.integration.server import Server, eventually

_PERSON = {"age": 33, "income": 31_000.0, "city": "Oslo"}


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of the shared server."""
    with serinus.Client(f"http://127.0.0.1:{server.port}", actor="ann") as found:
        yield found


def _people(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"age": rng.integers(18, 80, rows), "income": rng.normal(3e4, 5e3, rows),
                          "city": rng.choice(["Lyon", "Oslo", "Rome"], rows)})
    frame.loc[1, "income"] = None
    return frame


def test_every_form_of_inputs_gets_the_same_answer(client: Client) -> None:
    """A frame as JSON or as binary tensors, columns, rows: the same labels and probabilities, to the last digit."""
    frame = _people(300)
    large, small = client.predict("credit", frame), client.predict("credit", frame[:50])
    rows = [{name: None if value != value else value for name, value in row.items()}
            for row in frame[:50].to_dict("records")]
    for other in (small, client.predict("credit:1", rows), client.predict("credit", {
            name: [row[name] for row in rows] for name in frame})):
        assert other["predict"].tolist() == large["predict"][:50].tolist()
        assert other["predict_proba"].tolist() == large["predict_proba"][:50].tolist()
    assert (large.version, large.role, large.model, len(set(large.prediction_ids))) == ("1", "stable", "credit", 300)
    assert large.to_pandas().loc[large.prediction_ids[7], "predict"] == large.predictions[7]["predict"]


def test_an_array_goes_to_an_onnx_graph(client: Client) -> None:
    """In the type that the graph takes, which is not the one that numpy makes."""
    array = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
    for inputs in (array, array.tolist(), {"petals": array}):
        answer = client.predict("iris", inputs)
        assert answer["label"].tolist() == [0, 2] and answer["probabilities"].dtype == np.float32
    assert [field.name for field in client.signature("iris").inputs] == ["petals"]


def test_an_answer_says_what_the_server_remarked(client: Client) -> None:
    """Violations, each row's novelty, the state of the stream, and a trace; the request id is the caller's."""
    answer = client.predict("credit", [_PERSON, {**_PERSON, "income": -9e9}], novelty=True, request_id="mine-7")
    assert [violation.path for violation in answer.violations] == ["$.rows[1].income"]
    assert answer.request_id == "mine-7" and len(answer.trace_id) == 32
    assert answer.novelty_p is not None and len(answer.novelty_p) == 2
    assert answer.remarks.schema == "warn" and answer.remarks.drift in ("collecting", "ok", "warn", "alarm", "act")


def test_what_became_of_predictions_is_known(client: Client) -> None:
    """Truths in sequences, a revision of one, a click, a frame with a row that is none: counted as it is sent."""
    ids = client.predict("credit", _people(6)).prediction_ids
    before = _labelled(client)
    assert client.feedback(ids[:4], ["yes", "no", "no", "yes"], source="crm").accepted == 4
    assert client.feedback(ids[0], "no", kind="revision", event_time="2026-01-05T10:00:00Z").accepted == 1
    assert client.event(ids[0], "click").accepted == 1
    receipt = client.send_outcomes(pd.DataFrame({"prediction_id": [ids[4], "nonsense"], "value": ["yes", "yes"]}))
    assert (receipt.accepted, receipt.rejected_count, receipt.rejected[0][0]) == (1, 1, 1)
    eventually(lambda: _labelled(client) == before + 5, 20)


def _labelled(client: Client) -> int:
    models = client.ground_truth()["models"]
    return sum(window["labelled"] for window in models.get("credit", {"windows": []})["windows"])


def test_an_answer_is_explained(client: Client) -> None:
    """By rows that are sent, in any form, and by a prediction's id; what it was worth is asked likewise."""
    (one,) = client.explain("credit", _PERSON)
    (other,) = client.explain("credit", {name: [value] for name, value in _PERSON.items()})
    assert one == other and {part.feature for part in one.contributions} <= _PERSON.keys() and one.text
    ids = client.predict("credit", _PERSON).prediction_ids
    logged = eventually(lambda: client.explain_prediction("credit", ids[0]))
    assert logged.contributions == one.contributions
    assert client.prediction(ids[0])["prediction_id"] == ids[0]
    assert client.performance("credit")["model"] == "credit"


def test_a_rollout_by_hand_from_its_start_to_its_rollback(client: Client) -> None:
    """Each verb answers with how it stands then, and the journal knows who and why."""
    rollouts = client.rollouts
    started = rollouts.start("iris:2", manual=True, steps=[10, 50], force=True, reason="smoother")
    assert (started.phase, started.weight, started.steps, started.candidate) == ("canary", 0.1, (0.1, 0.5), "2")
    assert rollouts.wait_until_followed("iris").running
    answers = [client.predict("iris", np.zeros((1, 4)), routing_key=f"caller-{number}") for number in range(80)]
    assert {answer.version: answer.role for answer in answers} == {"1": "stable", "2": "candidate"}
    assert rollouts.pause("iris").phase == "hold" and rollouts.resume("iris").phase == "canary"
    assert rollouts.promote("iris").weight == 0.5
    done = rollouts.rollback("iris", reason="complaints")
    assert (done.stable, done.version, done.complete, len(done.seconds)) == ("1", "2", True, 2)
    assert client.predict("iris", np.zeros((1, 4)), routing_key="caller-1").version == "1"
    assert rollouts.wait_for_end("iris", 20).phase in ("rolling_back", "rolled_back")
    last = eventually(lambda: [entry for entry in rollouts.journal("iris") if entry.kind == "roll_back"], 20)[-1]
    assert last.actor.startswith("ann") and last.reason == "complaints"
    with pytest.raises(NotPossible, match="no rollout is taking steps"):
        rollouts.promote("iris")


def test_what_is_served_and_watched(client: Client) -> None:
    """Models with their versions, the monitors of each, and alerts."""
    assert {model.name: model.versions for model in client.models()} == {"credit": ("1", "2"), "iris": ("1", "2")}
    watched = eventually(lambda: client.monitors("credit"), 20)
    assert watched[0].model == "credit" and watched[0].document["reference"]["rows"] == 400
    assert all(alert.state in ("pending", "firing", "resolved") for alert in client.alerts())


def test_many_at_once(client: Client) -> None:
    """One client for many threads, and one for many tasks: each gets its own answer."""
    ages = list(range(18, 78))
    with ThreadPoolExecutor(8) as pool:
        threads = list(pool.map(lambda age: client.predict("credit", {**_PERSON, "age": age}), ages))

    async def asked() -> list[float]:
        async with serinus.AsyncClient(client.url) as other:
            await other.wait_until_ready()
            answers = await asyncio.gather(*(other.predict("credit", {**_PERSON, "age": age}) for age in ages))
        return [answer["predict_proba"][0, 1] for answer in answers]

    # Requests that share a call differ in the last digit, as matrix products of other sizes do.
    assert asyncio.run(asked()) == pytest.approx([answer["predict_proba"][0, 1] for answer in threads], abs=1e-9)

