"""The story, step by step: each step says what it does, does it, and checks what it claims."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path

from serinus.serving.demo.books import Books
from serinus.serving.demo.collector import Collector
from serinus.serving.demo.commands import Commands
from serinus.serving.demo.crowd import Answer, Client, Crowd, open_inference, rows
from serinus.serving.demo.narrator import Narrator
from serinus.serving.demo.patients import DRIFTING, Clinic, Patients
from serinus.serving.demo.server import DemoServer
from serinus.serving.demo.training import MODEL, TARGET, Data, prepare, recipes, train_and_register
from serinus.serving.demo.trial import CALM, FAST, Trial, came_back, write_plan
from serinus.serving.demo.watch import Closing, Watch
from serinus.serving.home import Home

__all__ = ["Scenario", "Story"]

_CALLERS = 200
_KILL_AFTER_S, _KILL_MORE_S, _KILL_PAUSE_S = 0.5, 0.5, 0.05
_POLICY = """[margins]
accuracy = 0.05

[robustness]
features = 3

[latency]
max_ratio = 4.0
"""


class Scenario(StrEnum):
    """Which story is told."""

    STORY = "story"
    """All of it."""
    GOOD = "good"
    """A sound version only: nothing may be rolled back."""
    BAD = "bad"
    """A useless version only: it must go by itself."""
    DRIFT_ONLY = "drift-only"
    """A sound version is tried while what is measured drifts: no version may be blamed for it."""


class Story:
    """Tells and checks, from training to a clean stop."""

    def __init__(self, home: Path, narrator: Narrator, *, scenario: Scenario = Scenario.STORY, seed: int = 7,
                 fast: bool = False, stay: Callable[[], None] | None = None) -> None:
        self._home = Home(home)
        self._narrator = narrator
        self._scenario = scenario
        self._seed = seed
        self._pace = FAST if fast else CALM
        self._stay = stay
        self._commands = Commands(home, narrator.command)
        self._books = Books(self._home, narrator)
        self._watch = Watch(self._commands, narrator)
        self._plan = home / "plan.toml"
        self._data: Data = prepare(seed)

    def tell(self) -> None:
        """All of it. `stay` is called when all is told, and what it waits for ends it."""
        patients = Patients(self._data.unseen, self._seed)
        with ExitStack() as stack:
            collector = None if _has_backend() else stack.enter_context(Collector())
            server = self._serve(stack, collector)
            if self._scenario is Scenario.STORY:
                self._first_hour(server, patients, collector)
            clinic = Clinic(server.port, patients, self._pace.delay_s)
            with clinic:
                self._acts(clinic)
                if self._stay is not None:
                    self._stay_for_a_look(server)
            self._books.enter(clinic.answers, clinic.broken)
            if self._scenario is Scenario.STORY:
                self._roll_back(server, patients)
            self._books.check_truths(self._commands, clinic, self._pace.delay_s)
            self._stop(server)

    def _first_hour(self, server: DemoServer, patients: Patients, collector: Collector | None) -> None:
        """What one version does: answer, refuse, keep books, and survive a death."""
        first = self._ask(server, patients)
        self._crowd(server, patients)
        self._books.check_log()
        self._books.check_metrics(server.port)
        self._books.check_traces(collector, first)
        self._kill(server, patients)  # before any rollout: who dies in a candidate's call takes it off

    def _acts(self, clinic: Clinic) -> None:
        trial = Trial(self._commands, self._narrator, self._plan)
        write_plan(self._plan, self._pace)
        if self._scenario in (Scenario.STORY, Scenario.GOOD):
            self._promote(trial, clinic)
        if self._scenario is Scenario.STORY:
            self._drift(clinic)
        if self._scenario is Scenario.DRIFT_ONLY:
            self._promote_in_drift(trial, clinic)
        if self._scenario is Scenario.GOOD:
            self._nobody_is_blamed("Nothing was wrong.")
            self._watch.check_quiet(clinic.tally())
        if self._scenario in (Scenario.STORY, Scenario.BAD):
            self._reject(trial, clinic)

    def _train(self, number: str) -> None:
        """Register a version with its reference and card."""
        recipe = recipes(self._data)[number]
        version = train_and_register(self._home.path, recipe)
        self._narrator.line(f"{version.tag}  {recipe.about}: right on {version.card.metrics['accuracy']:.1%} of "
                            "the unseen rows of its own data.")

    def _serve(self, stack: ExitStack, collector: Collector | None) -> DemoServer:
        """Train and serve the first version; the others are trained, and all are judged, while the server starts."""
        data = self._data
        self._narrator.title("Train and serve a version; meanwhile train two more, and judge all")
        self._narrator.line(f"scikit-learn's breast cancer data: {len(data.known)} rows to learn from, "
                            f"{len(data.unseen)} to ask about; 30 measures and a column of words, {data.missing:.0%} "
                            "missing.")
        self._train("1")
        server = DemoServer(self._home, collector.environ if collector else {})
        self._narrator.command(f"serinus serve --workers 2 --port {server.port}")
        started = time.monotonic()
        stack.enter_context(server)
        self._train("2")
        self._train("3")
        self._gates()
        with self._narrator.waiting("Workers load the model"):
            server.wait_until_ready()
        self._narrator.line(f"Ready after {time.monotonic() - started:.1f} s: two workers that answer, and a steward "
                            "that keeps the books.")
        self._narrator.line(f"Look at it: http://127.0.0.1:{server.port}/ui")
        return server

    def _gates(self) -> None:
        """Keep the verdicts of `serinus models evaluate` with the versions."""
        policy = self._home.path / "policy.toml"
        policy.write_text(_POLICY, encoding="utf-8")
        for number, recipe in recipes(self._data).items():
            data = self._home.path / f"unseen-{number}.csv"
            recipe.data.unseen.to_csv(data, index=False)
            against = () if number == "1" else ("--against", "1")
            with self._narrator.waiting("The gate looks at ten things"):
                done = self._commands.do("models", "evaluate", f"{MODEL}:{number}", "--data", data, "--target",
                                         TARGET, *against, "--policy", policy)
            self._narrator.check(done.code == 0, done.text.strip().splitlines()[0])

    def _ask(self, server: DemoServer, patients: Patients) -> Answer:
        self._narrator.title("Ask one question, and one that makes no sense")
        client, row = Client(server.port), patients.rows[0]
        shown = ", ".join(f'"{name}": {json.dumps(row[name])}' for name in ("mean radius", "size class"))
        answer = client.post(f"/predict/{MODEL}", rows([row]))
        self._narrator.line(f"POST /predict/{MODEL}  {{{shown}, … 29 more}}")
        prediction = answer.document["predictions"][0]
        chance = max(prediction["predict_proba"])
        self._narrator.check(answer.status == 200 and answer.version == "1",
                             f"{answer.status}  {prediction['predict']} ({chance:.1%}), by version {answer.version}, "
                             f"as prediction {answer.prediction_ids[0]}")
        bad = client.post(f"/predict/{MODEL}", rows([row | {"mean radius": "n/a"}]))
        self._narrator.line(f'POST /predict/{MODEL}  {{"mean radius": "n/a", … 30 more}}')
        self._narrator.check(bad.status == 422 and "mean radius" in bad.document["detail"],
                             f"{bad.status}  {bad.document['detail']}")
        client.close()
        self._books.enter([answer])
        self._books.refused += 1
        return answer

    def _crowd(self, server: DemoServer, patients: Patients) -> None:
        wanted = self._pace.crowd
        self._narrator.title(f"{wanted} requests from six clients, in two protocols")
        started = time.monotonic()
        with Crowd(server.port, _either_protocol(patients), numbers=wanted) as crowd:
            crowd.wait()
        took = time.monotonic() - started
        self._books.enter(crowd.answers, crowd.broken)
        good = sum(answer.status == 200 for answer in crowd.answers)
        self._narrator.check(good == wanted and not crowd.broken, f"{good} answered in {took:.1f} s, half as "
                             "rows, half in the Open Inference Protocol.")

    def _kill(self, server: DemoServer, patients: Patients) -> None:
        self._narrator.title("Kill a worker under load")
        with Crowd(server.port, _either_protocol(patients), pause_s=_KILL_PAUSE_S) as crowd:
            time.sleep(_KILL_AFTER_S)
            victim = server.workers()[0].pid
            self._narrator.command(f"kill -9 {victim}")
            os.kill(victim, signal.SIGKILL)
            with self._narrator.waiting("Another worker starts"):
                took = server.wait_for_workers(without=victim)
            time.sleep(_KILL_MORE_S)
        good = [answer for answer in crowd.answers if answer.status == 200]
        self._books.enter(crowd.answers, crowd.broken)
        self._narrator.check(len(good) == len(crowd.answers), f"{len(good)} requests answered meanwhile, "
                             f"{crowd.broken} connections broken; another worker after {took:.1f} s.")
        self._books.check_log()

    def _promote(self, trial: Trial, clinic: Clinic, watch: Callable[[str], None] = lambda _: None) -> None:
        self._narrator.title("Try version 2: in the shadow, on "
                             f"{self._pace.first} % of the callers, on half of them")
        record = trial.run("2", "it knows more patients", watch)
        self._narrator.check((record["phase"], record["stable"], record["previous_stable"]) == ("promoted", "2", "1"),
                             f"Version {record['stable']} is stable, on evidence: nobody had to look.")
        found = trial.explain()
        units = max((check["candidate_units"] for check in found["checks"] if check["name"] == "errors"), default=0)
        keys = {each.key for each in list(clinic.met) if each.version == "2"}
        self._narrator.check(0 < units <= len(keys), f"It was judged by {units} callers, each counted once; "
                             f"{len(keys)} have met it so far, by their answers' headers.")
        again, back = came_back(list(clinic.met), "1", "2")
        self._narrator.check(back == 0, f"Callers came again {again} times: {back} of them met version 1 after "
                             "version 2.")

    def _promote_in_drift(self, trial: Trial, clinic: Clinic) -> None:
        """What is measured drifts as soon as the first callers meet the candidate."""
        def watch(phase: str) -> None:
            if phase == "canary" and not clinic.drifted:
                clinic.drifted = True
                self._narrator.line(f"From now on the scanner measures '{DRIFTING}' 30 % too high.")

        self._promote(trial, clinic, watch)
        self._watch.wait_for_alarm("2", DRIFTING)
        self._nobody_is_blamed("No version is blamed for what was measured.")

    def _nobody_is_blamed(self, why: str) -> None:
        kinds = Counter(entry["kind"] for entry in self._commands.ask("rollout", "journal", MODEL))
        off = kinds["roll_back"] + kinds["reject"]
        self._narrator.check(off == 0, f"Rolled back or turned away: {off}. {why}")

    def _drift(self, clinic: Clinic) -> None:
        self._narrator.title("A scanner drifts")
        self._narrator.line(f"From now on it measures '{DRIFTING}' 30 % too high. Nobody says so.")
        before = clinic.tally()["2"]
        clinic.drifted = True
        self._watch.wait_for_alarm("2", DRIFTING)
        self._narrator.line(f"{clinic.tally()['2'] - before} answers later. The scanner is repaired.")
        clinic.drifted = False

    def _reject(self, trial: Trial, clinic: Clinic) -> None:
        drifted = self._scenario is Scenario.STORY
        self._narrator.title("Try version 3, which passed its gate"
                             + ("; meanwhile close the scanner's alarm" if drifted else ""))
        stable = str(self._commands.ask("rollout", "status", MODEL)["record"]["stable"])
        alarm = Closing(self._watch, "2", clinic.tally()["2"], "the scanner was repaired") if drifted else None
        record = trial.run("3", "as good as version 2 by every figure", alarm.look if alarm else lambda _: None)
        self._narrator.check((record["phase"], record["stable"], record["weight"]) == ("rolled_back", stable, 0),
                             f"Version 3 is off, by itself; version {record['stable']} answers.")
        trial.explain()
        met = clinic.tally()["3"]
        self._narrator.check(met == 0, f"{met} answers came from version 3: it never left the shadow.")
        again = self._commands.do("rollout", "start", f"{MODEL}:3")
        self._narrator.check(again.code == 1 and "rolled back before" in again.text,
                             again.text.strip().splitlines()[-1])
        if alarm:
            alarm.finish()

    def _roll_back(self, server: DemoServer, patients: Patients) -> None:
        self._narrator.title("Go back by hand")
        done = self._commands.do("rollback", MODEL, "--to", "1", "--reason", "a person wants version 1")
        first, *others = done.text.strip().splitlines()
        self._narrator.check(done.code == 0, first)
        for line in others:
            self._narrator.line(line)
        with Crowd(server.port, _either_protocol(patients), numbers=_CALLERS) as crowd:
            crowd.wait()
        self._books.enter(crowd.answers, crowd.broken)
        met = Counter(answer.version for answer in crowd.answers)
        self._narrator.check(met == {"1": _CALLERS}, f"{_CALLERS} callers ask: {met['1']} meet version 1.")

    def _stay_for_a_look(self, server: DemoServer) -> None:
        assert self._stay is not None
        self._narrator.title("Look around")
        self._narrator.line(f"The clinic goes on: http://127.0.0.1:{server.port}/ui")
        self._narrator.line(f"serinus rollout explain {MODEL} --home {self._home.path}")
        self._narrator.line("Ctrl-C ends it.")
        self._stay()

    def _stop(self, server: DemoServer) -> None:
        self._narrator.title("Stop")
        started = time.monotonic()
        code = server.stop()
        left = server.processes()
        self._narrator.check(code == 0 and not left, f"Ended after {time.monotonic() - started:.1f} s; {len(left)} "
                             "processes are left.")
        self._books.check_log()


def _has_backend() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def _either_protocol(patients: Patients) -> Callable[[Client, int], Answer]:
    def ask(client: Client, number: int) -> Answer:
        row = [patients.rows[number // 2 % len(patients.rows)]]
        if number % 2:
            return client.post(f"/predict/{MODEL}", rows(row))
        return client.post(f"/v2/models/{MODEL}/infer", open_inference(row))

    return ask
