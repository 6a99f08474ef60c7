"""`python -m tests.benchmarks.shadow`: what a shadow of a tenth of the requests costs those who wait for answers.

One server with one worker, its workers and its shadow on one core, paced requests from the other. Blocks come in pairs,
one with the shadow at 10 % and one at 0.01 %, in random order; the ratio of both is taken within each pair, so that the
machine's moods cancel. Times are from when a request was due. Printed: the median ratio of p99 and of the worker's CPU
time per request, each with its 95 % interval (order statistics), and how many pairs were compared.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

from serinus.models import register
from serinus.models.registry import Registry
from serinus.serving.rollout import Judgement, Plan, RolloutRecord, controller
from serinus.serving.rollout.gathering import PAIRS, pairs_of
from serinus.serving.store import Conflict, JournalEntry, SqliteStore
from tests.benchmarks.measure import SERVER_CORE
from tests.benchmarks.processes import Family, free_port
from tests.benchmarks.servers import CHECKOUT
from tests.benchmarks.subject import Subject

ON, OFF = 1000, 1
NAME = "breast"


class Block(NamedTuple):
    """What one block of requests took."""

    p99_ms: float
    cpu_us: float


class Bench:
    """A server in a rollout that stays in its shadow."""

    def __init__(self, family: Family, port: int, home: Path, rate: float) -> None:
        self.family, self.rate = family, rate
        self.store = SqliteStore(home / "store.db", create=False)
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = Subject(1).body("open_inference").encode()
        self._request = (f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                         f"content-length: {len(body)}\r\n\r\n").encode() + body

    def begin(self, digest: str) -> None:
        """Start the rollout and wait until pairs come."""
        plan = Plan((1000,), manual=False, judgement=Judgement(shadow=ON, shadow_pairs=10**9, shadow_s=10**6))
        controller.start(self.store, NAME, "2", digest, plan, "benchmark", now=time.time())
        deadline = time.monotonic() + 120
        while not self.pairs():
            self.block(0.5)
            if time.monotonic() > deadline:
                raise SystemExit(f"No pairs came. {self.record()}\n{self.family.tail()}")

    def record(self) -> RolloutRecord:
        """The rollout's record."""
        record = self.store.record(NAME)
        assert record is not None
        return record

    def pairs(self) -> int:
        """How many pairs were compared."""
        return pairs_of(self.record().rollout_id, self.store.documents(PAIRS))[0].pairs

    def mirror(self, weight: int) -> None:
        """Set the shadow's share, and wait until the workers know."""
        while True:
            record = self.record()
            entry = JournalEntry(NAME, "benchmark", time.time(), record.generation + 1, "benchmark")
            try:
                self.store.swap(replace(record, shadow_weight=weight, generation=record.generation + 1),
                                expected_generation=record.generation, journal=[entry])
                break
            except Conflict:
                continue
        time.sleep(0.8)

    def block(self, seconds: float) -> Block:
        """Ask at the rate for so long."""
        before, took = self.family.cpu_seconds(), []
        begin, number = time.perf_counter(), round(seconds * self.rate)
        for index in range(number):
            due = begin + index / self.rate
            while (now := time.perf_counter()) < due:
                time.sleep(min(0.0005, due - now))
            self._ask()
            took.append(time.perf_counter() - due)
        after = self.family.cpu_seconds()
        return Block(statistics.quantiles(took, n=100)[98] * 1e3,
                     (after["worker"] - before.get("worker", 0.0)) / number * 1e6)

    def _ask(self) -> None:
        self._connection.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"An answer does not count: {answer[:300]!r}")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(lines[b"content-length"]):
            body += self._connection.recv(65536)


def interval(ratios: list[float], level: float = 0.95) -> tuple[float, float]:
    """The order statistics between which the median lies with this probability at least (from six values on)."""
    ordered, number = sorted(ratios), len(ratios)
    cut, tail = 0, 0.0
    while (tail := tail + comb(number, cut) / 2**number) <= (1 - level) / 2:
        cut += 1
    cut = max(0, cut - 1)
    return ordered[cut], ordered[number - 1 - cut]


def measure(blocks: int, seconds: float, rate: float, priority: str) -> dict[str, Any]:
    """Run the benchmark on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="serinus-shadow-") as folder:
        home, port = Path(folder, "home"), free_port()
        register(Subject.artifact(), NAME, home=home)
        register(_again(Path(folder, "again.onnx")), NAME, home=home)
        command = [sys.executable, "-m", "serinus", "serve", "--home", str(home), "--workers", "1", "--port", str(port)]
        environ = {"PYTHONPATH": str(CHECKOUT), "BENTOML_HOME": f"{folder}/bentoml", "PATH": "/usr/bin:/bin",
                   "SERINUS_SHADOW_PRIORITY": priority}
        with Family(command, SERVER_CORE, environ, Path(folder, "server.log")) as family:
            family.wait_until_ready(f"http://127.0.0.1:{port}/v2/health/ready")
            bench = Bench(family, port, home, rate)
            bench.begin(Registry(home).get(NAME, "2").digest)
            return _compare(bench, blocks, seconds)


def _again(path: Path) -> Path:
    """The same model as another artifact."""
    import onnx

    model = onnx.load(Subject.artifact())
    model.doc_string = "again"
    onnx.save(model, path)
    return path


def _compare(bench: Bench, blocks: int, seconds: float) -> dict[str, Any]:
    rng, rows = random.Random(1), []
    before = bench.pairs()
    for _ in range(blocks):
        found = {}
        for weight in rng.sample((ON, OFF), 2):
            bench.mirror(weight)
            found[weight] = bench.block(seconds)
        rows.append((found[ON], found[OFF]))
    told: dict[str, Any] = {"blocks": blocks, "seconds": seconds, "rate": bench.rate, "pairs": bench.pairs() - before,
                            "chosen": round(blocks * seconds * bench.rate * ON / 10_000)}
    for name in Block._fields:
        ratios = [getattr(on, name) / getattr(off, name) for on, off in rows]
        told[name] = {"on": statistics.median(getattr(on, name) for on, _ in rows),
                      "off": statistics.median(getattr(off, name) for _, off in rows),
                      "ratio": statistics.median(ratios), "interval": interval(ratios)}
    return told


def main() -> int:
    """Measure and print; 1 where the interval of the p99 ratio reaches beyond 1.05."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shadow", description=__doc__)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--priority", default="idle")
    options = parser.parse_args()
    told = measure(options.blocks, options.seconds, options.rate, options.priority)
    print(json.dumps(told, indent=2))
    return int(told["p99_ms"]["interval"][1] > 1.05)


if __name__ == "__main__":
    sys.exit(main())
