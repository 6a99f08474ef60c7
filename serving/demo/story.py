"""The story, step by step: each step says what it does, does it, and checks what it claims."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from serinus.serving.cli.local import LocalRollouts
from serinus.serving.cli.rollouts import wait_until_followed
from serinus.serving.demo.collector import Collector, tree
from serinus.serving.demo.crowd import Answer, Client, Crowd, open_inference, rows
from serinus.serving.demo.server import DemoServer
from serinus.serving.home import Home
from serinus.serving.ids import parse_prediction_id
from serinus.serving.prediction_log import read

__all__ = ["Story"]

_CROWD_REQUESTS = 600
_CALLERS = 500
_SHARE = 10
_KILL_AFTER_S, _KILL_MORE_S = 0.7, 0.7
_PATIENCE_S = 6.0
_ACTOR = "serinus demo"


class Story:
    """Tells and checks. `failures` counts the claims that did not hold; `colours` is for terminals."""

    def __init__(self, home: Path, say: Callable[[str], None], *, colours: bool) -> None:
        self.failures = 0
        self._home = Home(home)
        self._say = say
        self._colours = colours
        self._step = 0
        self._answers: list[Answer] = []
        self._refused = 0

    def tell(self) -> None:
        """From training to a clean stop."""
        unseen = self._train()
        with ExitStack() as stack:
            collector = None if _has_backend() else stack.enter_context(Collector())
            server = self._serve(stack, collector)
            first = self._ask(server, unseen)
            self._crowd(server, unseen)
            self._log()
            self._metrics(server)
            self._traces(collector, first)
            self._kill(server, unseen)  # before the rollout: who dies in a candidate's call takes it off the host
            self._rollout(server, unseen)
            self._roll_back(server, unseen)
            self._stop(server)

    def _train(self) -> list[dict[str, Any]]:
        self._title("Train two models and register them")
        from serinus.serving.demo.training import train_and_register

        known, unseen, trained = train_and_register(self._home.path)
        missing = known.isna().sum().sum() / known.size
        self._line(f"scikit-learn's breast cancer data: {len(known)} rows, 30 measures and a column of words, "
                   f"{missing:.0%} missing.")
        for each in trained:
            self._line(f"{each.version.tag}  {each.about:<20} right on {each.accuracy:.1%} of {len(unseen)} unseen "
                       "rows")
        return unseen

    def _serve(self, stack: ExitStack, collector: Collector | None) -> DemoServer:
        self._title("Serve them")
        environ = collector.environ if collector else {}
        started = time.monotonic()
        server = DemoServer(self._home, environ)
        self._line(f"$ serinus serve --workers 2 --port {server.port}")
        stack.enter_context(server)
        self._line(f"Ready after {time.monotonic() - started:.1f} s: two workers that answer, and a steward that "
                   "keeps the books.")
        return server

    def _ask(self, server: DemoServer, unseen: list[dict[str, Any]]) -> Answer:
        self._title("Ask one question, and one that makes no sense")
        client, row = Client(server.port), unseen[0]
        shown = ", ".join(f'"{name}": {json.dumps(row[name])}' for name in ("mean radius", "size class"))
        answer = client.post("/predict/tumour", rows([row]))
        self._line(f"POST /predict/tumour  {{{shown}, … 29 more}}")
        prediction = answer.document["predictions"][0]
        chance = max(prediction["predict_proba"])
        self._check(answer.status == 200 and answer.version == "1",
                    f"{answer.status}  {prediction['predict']} ({chance:.1%}), by version {answer.version}, as "
                    f"prediction {answer.prediction_ids[0]}")
        bad = client.post("/predict/tumour", rows([row | {"mean radius": "n/a"}]))
        self._line('POST /predict/tumour  {"mean radius": "n/a", … 30 more}')
        self._check(bad.status == 422 and "mean radius" in bad.document["detail"],
                    f"{bad.status}  {bad.document['detail']}")
        client.close()
        self._answers.append(answer)
        self._refused += 1
        return answer

    def _crowd(self, server: DemoServer, unseen: list[dict[str, Any]]) -> None:
        self._title(f"{_CROWD_REQUESTS} requests from six clients, in two protocols")
        started = time.monotonic()
        with Crowd(server.port, _either_protocol(unseen), numbers=_CROWD_REQUESTS) as crowd:
            crowd.wait()
        took = time.monotonic() - started
        self._answers += crowd.answers
        good = sum(answer.status == 200 for answer in crowd.answers)
        self._check(good == _CROWD_REQUESTS and not crowd.broken,
                    f"{good} answered in {took:.1f} s, half as rows, half in the Open Inference Protocol.")

    def _log(self) -> None:
        """Every answer there has been is in the prediction log, once."""
        wanted = [prediction for answer in self._answers for prediction in answer.prediction_ids]
        found = Counter(record.prediction_uuid for record in read(self._home.log))
        times = Counter(found[_uuid(prediction)] for prediction in wanted)
        self._check(bool(wanted) and times == {1: len(wanted)} and sum(found.values()) == len(self._answers),
                    f"Prediction log: {len(wanted)} predictions answered, {times[1]} found exactly once.")

    def _metrics(self, server: DemoServer) -> None:
        sent = len(self._answers) + self._refused
        counted = _eventually(lambda: _counted(server.port), sent)
        self._check(counted == sent, f"GET /metrics: {sent} requests sent, {counted} counted over both workers.")

    def _traces(self, collector: Collector | None, first: Answer) -> None:
        if collector is None:
            self._line("Traces went to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names: look there.")
            return
        sent = len(self._answers) + self._refused
        arrived = _eventually(lambda: len(collector.server_spans()), sent)
        self._check(arrived == sent, f"OpenTelemetry: {sent} requests sent, {arrived} SERVER spans arrived. The first:")
        for line in tree(collector.spans(), first.headers["traceparent"].split("-")[1]):
            self._line(f"  {line}")

    def _kill(self, server: DemoServer, unseen: list[dict[str, Any]]) -> None:
        self._title("Kill a worker under load")
        with Crowd(server.port, _either_protocol(unseen)) as crowd:
            time.sleep(_KILL_AFTER_S)
            victim = server.workers()[0].pid
            self._line(f"$ kill -9 {victim}")
            os.kill(victim, signal.SIGKILL)
            took = server.wait_for_workers(without=victim)
            time.sleep(_KILL_MORE_S)
        good = [answer for answer in crowd.answers if answer.status == 200]
        self._answers += crowd.answers
        self._check(len(good) == len(crowd.answers), f"{len(good)} requests answered meanwhile, {crowd.broken} "
                    f"connections broken; another worker after {took:.1f} s.")
        self._log()

    def _rollout(self, server: DemoServer, unseen: list[dict[str, Any]]) -> None:
        self._title(f"Try version 2 on {_SHARE} % of the callers")
        self._line(f"$ serinus rollout start tumour:2 --manual --steps {_SHARE}")
        rollouts = LocalRollouts(self._home)
        done = rollouts.act("tumour", "start", {"version": "2", "steps": str(_SHARE), "actor": _ACTOR})
        followed = wait_until_followed(rollouts, "tumour", done["record"]["generation"], 30.0)
        self._check(followed.complete and followed.workers == 2,
                    f"{followed.following} of {followed.workers} workers follow after "
                    f"{followed.seconds * 1000:.0f} ms.")
        once, again = self._versions(server, unseen), self._versions(server, unseen)
        share = sum(version == "2" for version in once.values()) / len(once)
        self._check(0.05 < share < 0.16, f"{len(once)} callers ask: {share:.1%} of them meet version 2.")
        same = sum(once[key] == again.get(key) for key in once)
        self._check(same == len(once) == _CALLERS, f"They ask again: {same} of {len(once)} meet the same version.")

    def _versions(self, server: DemoServer, unseen: list[dict[str, Any]]) -> dict[str, str]:
        """Which version each caller meets."""
        met: dict[str, str] = {}

        def ask(client: Client, number: int) -> Answer:
            key = f"caller-{number}"
            answer = client.post("/predict/tumour", rows([unseen[number % len(unseen)]]), key)
            met[key] = answer.version
            return answer

        with Crowd(server.port, ask, numbers=_CALLERS) as crowd:
            crowd.wait()
        self._answers += crowd.answers
        return met

    def _roll_back(self, server: DemoServer, unseen: list[dict[str, Any]]) -> None:
        self._title("Roll back")
        self._line("$ serinus rollback tumour")
        done = LocalRollouts(self._home).roll_back("tumour", {"actor": _ACTOR, "reason": "the demo's end"})
        seconds = [worker["seconds"] or 0.0 for worker in done["workers"]]
        self._check(done["complete"] and len(seconds) == 2,
                    f"Version {done['stable']} answers again in {len(seconds)} of 2 workers after "
                    f"{max(seconds, default=0) * 1000:.0f} ms.")
        met = Counter(self._versions(server, unseen).values())
        self._check(met == {"1": _CALLERS}, f"{_CALLERS} callers ask: {met['1']} meet version 1.")

    def _stop(self, server: DemoServer) -> None:
        self._title("Stop")
        started = time.monotonic()
        code = server.stop()
        left = server.processes()
        self._check(code == 0 and not left, f"Ended after {time.monotonic() - started:.1f} s; {len(left)} processes "
                    "are left.")
        self._log()

    def _title(self, text: str) -> None:
        self._step += 1
        self._say("")
        self._say(self._painted("1", f"{self._step}  {text}"))

    def _line(self, text: str) -> None:
        self._say(f"   {text}")

    def _check(self, holds: bool, claim: str) -> None:
        """Print a claim with whether it holds."""
        self.failures += not holds
        self._say((self._painted("32", " ✓ ") if holds else self._painted("31", " ✗ ")) + claim
                  + ("" if holds else self._painted("31", "  (this does not hold)")))

    def _painted(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def _has_backend() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def _either_protocol(unseen: list[dict[str, Any]]) -> Callable[[Client, int], Answer]:
    def ask(client: Client, number: int) -> Answer:
        row = [unseen[number // 2 % len(unseen)]]
        if number % 2:
            return client.post("/predict/tumour", rows(row))
        return client.post("/v2/models/tumour/infer", open_inference(row))

    return ask


def _uuid(prediction: str) -> bytes:
    parsed = parse_prediction_id(prediction)
    return parsed.uuid if parsed is not None else b""


def _counted(port: int) -> int:
    """The requests of inference that `/metrics` has counted."""
    client = Client(port)
    try:
        return sum(_samples(client.get("/metrics")))
    finally:
        client.close()


def _samples(text: str) -> Iterator[int]:
    for line in text.splitlines():
        if line.startswith("http_server_request_duration_seconds_count{"):
            yield int(float(line.rpartition(" ")[2]))


def _eventually(look: Callable[[], int], wanted: int) -> int:
    """What `look` says once it says `wanted`, or when patience ends: counts and spans may trail the answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
