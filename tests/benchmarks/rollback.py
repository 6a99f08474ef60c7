"""`python -m tests.benchmarks.rollback [--times 100] [--workers 2]`: how fast a rollback is.

One server under load (four callers who ask without a pause), a rollout of half of the traffic, and a rollback over
HTTP; again and again. Printed: from the moment of the veto until the worker that took the call obeyed, and until every
worker of the host did, as each says on its own board; and how many requests that were sent after the call had been
answered still met the candidate. What else the machine does is counted in.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from tests.integration.client import Answer, Client, Crowd
from tests.integration.rollouts import record, start_rollout
from tests.integration.server import Server, eventually

NAME = "numbers"
ROWS = {"rows": [[0.1, 0.2, 0.3]]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        _register(home)
        with Server(home, Path(folder), workers=options.workers) as server:
            found = [_once(server) for _ in range(options.times)]
    load = os.getloadavg()[0]
    print(f"{options.times} rollbacks, {options.workers} workers, {time.strftime('%Y-%m-%d')}, load average {load:.1f} "
          f"on {os.cpu_count()} cores\n\n| until | p50 | p99 | most |\n|---|---|---|---|")
    for name, column in zip(("the worker that took the call obeys", "every worker of the host does",
                             "the call is answered"), zip(*(times for times, _ in found), strict=True), strict=True):
        p50, p99 = np.quantile(column, (0.5, 0.99))
        print(f"| {name} | {1000 * p50:.1f} ms | {1000 * p99:.1f} ms | {1000 * max(column):.1f} ms |")
    late = sum(number for _, number in found)
    print(f"\nRequests that met the candidate although they were sent after the answer: {late}")


def _register(home: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(200, 3))
    for strength in (1.0, 0.1):
        register(LogisticRegression(C=strength).fit(rows, rows.sum(axis=1) > 0), NAME, home=home)


def _once(server: Server) -> tuple[tuple[float, float, float], int]:
    """Seconds until the one worker, all workers and the answer; and how many met the candidate after it."""
    start_rollout(server, NAME, "2", "50")
    with Crowd([server.client() for _ in range(4)], _ask) as crowd, server.client() as client:
        crowd.wait_for(40)
        client.get("/v2/health/live")
        mine, sent = server.worker_of(client), time.monotonic()
        answer = client.post(f"/api/rollouts/{NAME}/rollback", {"actor": "benchmark"})
        took, answered = time.monotonic() - sent, time.time()
        crowd.wait_for(40)
    assert answer.status == 200, answer.body
    obeyed = {worker["pid"]: worker["seconds"] for worker in answer.json()["workers"]}
    late = sum(exchange.sent > answered and exchange.answer is not None and exchange.answer.version == "2"
               for exchange in crowd.exchanges)
    eventually(lambda: record(server, NAME)["phase"] == "rolled_back", 60)
    return (obeyed[mine], max(obeyed.values()), took), late


def _ask(client: Client, number: int) -> Answer:
    return client.post(f"/predict/{NAME}", ROWS)


if __name__ == "__main__":
    main()
