"""What a person does to a rollout over HTTP, and what he looks at."""

from __future__ import annotations

from typing import Any

from tests.integration.client import Answer, Client
from tests.integration.server import Server, eventually

__all__ = ["candidate_loaded", "command", "record", "start_rollout", "wait_until_followed"]


def command(server: Server, model: str, verb: str, **body: Any) -> Answer:
    """POST /api/rollouts/MODEL/VERB."""
    with server.client() as client:
        return client.post(f"/api/rollouts/{model}/{verb}", body)


def record(server: Server, model: str) -> dict[str, Any]:
    """The rollout's record, as any worker shows it."""
    with server.client() as client:
        found: dict[str, Any] = client.get(f"/api/rollouts/{model}").json()["record"]
    return found


def start_rollout(server: Server, model: str, version: str, steps: str) -> dict[str, Any]:
    """Start a rollout, of a version that was rolled back before too, and wait until every worker follows."""
    answer = command(server, model, "start", version=version, steps=steps, actor="tester", force=True)
    assert answer.status == 202, answer.body
    wait_until_followed(server, model)
    return record(server, model)


def wait_until_followed(server: Server, model: str) -> None:
    """Until every worker has done what the snapshot asks for, loading included."""
    def followed() -> bool:
        with server.client() as client:
            document = client.get(f"/api/rollouts/{model}").json()
        return len(document["workers"]) == server.workers_wanted and all(
            worker["ready"] and worker["follows"] for worker in document["workers"])

    eventually(followed, 20)


def candidate_loaded(client: Client, model: str, version: str) -> bool:
    """Whether the worker at the other end has this version in memory."""
    return client.get(f"/v2/models/{model}/versions/{version}/ready").status == 200
