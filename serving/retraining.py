"""Retraining in a server: what is known of each model's, in the store; the user's command, in a folder of its own.

| document | key | is |
|---|---|---|
| `retraining` | `MODEL` | since when it is known, when it was last started, and the run that is under way |

A run is claimed in the store before anything is started, so that no two stewards start one. What it makes is up to the
command; a version that it registers is one like any other: it answers nothing until a rollout gives it a share.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import orjson

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.monitors.alerts import Alert, AlertState
from serinus.monitors.notifiers import Notification
from serinus.monitors.notifiers.notifier import moment
from serinus.monitors.retraining import (
    Circumstances,
    Decision,
    Past,
    Recommendation,
    RetrainingPolicy,
    decide,
    recommend,
)
from serinus.serving.alerting import enqueue, read_book
from serinus.serving.board import start_ticks
from serinus.serving.errors import ControlRefused
from serinus.serving.files import write_atomically
from serinus.serving.home import Home, RunFolder
from serinus.serving.processes import child_environment
from serinus.serving.rollout import Judgement, Phase, Plan, RolloutError
from serinus.serving.settings import RetrainingSettings, Settings
from serinus.serving.steward.commands import perform
from serinus.serving.store import Document, JournalEntry, Store

__all__ = ["Advice", "Retraining", "RetrainingState", "Run", "policy_of"]

FORMAT = 1
_LOST_S = 60.0
_FAR_S = 600.0
_KEPT = 20
_PLAN = Plan((100, 500, 2500, 5000), manual=False, judgement=Judgement(gate="pass"))
"""By which a version is tried that nobody has looked at."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is under way. Times are Unix seconds."""

    folder: str
    host: str
    started: float
    versions: tuple[str, ...]
    """Those that were registered before."""


@dataclass(frozen=True, slots=True)
class RetrainingState:
    """What the store knows of one model's retraining."""

    known_since: float
    last_started: float | None = None
    run: Run | None = None
    revision: int = 0

    @property
    def past(self) -> Past:
        """The part that decisions look at."""
        return Past(self.known_since, self.last_started, self.run is not None)

    @classmethod
    def of(cls, document: Document) -> Self:
        """What `document` gave."""
        stored = orjson.loads(document.body)
        run = stored["run"] and Run(**{**stored["run"], "versions": tuple(stored["run"]["versions"])})
        return cls(stored["known_since"], stored["last_started"], run, document.revision)

    def document(self, model: str, now: float) -> Document:
        """As the next revision of its document."""
        body = {"format": FORMAT, "known_since": self.known_since, "last_started": self.last_started,
                "run": self.run and asdict(self.run)}
        return Document("retraining", model, self.revision + 1, orjson.dumps(body), now)


@dataclass(frozen=True, slots=True)
class Advice:
    """What should be done about a model, whether it is started now, and the alerts that say so."""

    version: str | None
    recommendation: Recommendation
    decision: Decision
    alerts: tuple[Alert, ...] = ()


def policy_of(settings: RetrainingSettings) -> RetrainingPolicy:
    """The part of the settings that decides when something is started."""
    return RetrainingPolicy(frozenset(settings.actions), settings.cooldown_seconds, settings.window_seconds,
                            settings.every_days, settings.at)


class Retraining:
    """The retraining of the models of one home. `actor` is who acts, in the journal."""

    def __init__(self, store: Store, home: Home, registry: Registry, settings: Settings, actor: str) -> None:
        self._store = store
        self._home = home
        self._registry = registry
        self._settings = settings
        self._actor = actor

    def state(self, model: str, now: float) -> RetrainingState:
        """What the store knows; a model that it does not know is known from now on, once something is kept."""
        found = self._store.document("retraining", model)
        return RetrainingState.of(found) if found else RetrainingState(now)

    def advise(self, model: str, now: float, state: RetrainingState) -> Advice:
        """Look at the alerts of the stable version, at the calendar and at what was started before."""
        book, _ = read_book(self._store)
        record = self._store.record(model)
        stable = record.stable if record else None
        alerts = tuple(alert for alert in book.alerts if alert.model == model and alert.version == stable
                       and alert.state is AlertState.FIRING)
        promoted = record.updated if record and record.phase is Phase.PROMOTED else None
        about = Circumstances(promoted, record.previous_stable if record else None)
        found = recommend(alerts, about)
        decision = decide(found, state.past, policy_of(self._settings.retraining), now,
                          maintenance=book.maintenance(model, now) is not None)
        return Advice(stable, found, decision, alerts)

    def keep(self, model: str, state: RetrainingState, now: float, epoch: int | None = None) -> RetrainingState:
        """Keep a state. Raises `Conflict` where another steward was first."""
        self._store.put_document(state.document(model, now), expected_revision=state.revision, epoch=epoch)
        return replace(state, revision=state.revision + 1)

    def start(self, model: str, state: RetrainingState, advice: Advice, now: float,
              epoch: int | None = None) -> Path | None:
        """Start it: the command, whose folder is given, and the message. Raises `Conflict` where another was first."""
        settings = self._settings.retraining
        folder = self._folder(model, now) if settings.command else None
        run = folder and Run(str(folder), socket.gethostname(), now, tuple(self._registry.versions(model)))
        self.keep(model, replace(state, last_started=now, run=run or None), now, epoch)
        self._note(model, "started", now, f"Retraining of {model} was started ({advice.decision.trigger}).",
                   advice.decision.why, {"trigger": advice.decision.trigger, "folder": str(folder or "")})
        if settings.notifier is not None:
            enqueue(self._store, _message(model, advice, now), [settings.notifier], now,
                    self._settings.alerts.deadline_seconds)
        if folder is not None:
            self._run(folder, _document(model, advice, now))
        return folder

    def settle(self, model: str, state: RetrainingState, now: float) -> RetrainingState:
        """Take down how the run ended, if it has. Only its own host can tell; a host that is gone for long after the
        time-out has lost it."""
        run = state.run
        if run is None:
            return state
        outcome = _outcome(run, now) if run.host == socket.gethostname() else None
        if outcome is None and now < run.started + self._settings.retraining.timeout_seconds + _FAR_S:
            return state
        kept = self.keep(model, replace(state, run=None), now)
        new = [version for version in self._registry.versions(model) if version not in run.versions]
        self._note(model, "ended", now, _told(model, run, outcome, new), "",
                   {"folder": run.folder, "new_versions": ",".join(new), **(outcome or {})})
        if new and self._settings.retraining.start:
            self._try(model, new[-1], now)
        self._clear(model)
        return kept

    def _try(self, model: str, version: str, now: float) -> None:
        """Start a rollout of what was trained, from its preflight and shadow on, if its evaluation passed; else say why
        not."""
        request = {"verb": "start", "version": version, "plan": _PLAN, "actor": self._actor,
                   "reason": "the retraining registered it"}
        try:
            perform(self._store, self._registry, model, request)
        except (ControlRefused, RolloutError, ModelError) as error:
            self._note(model, "not_started", now, f"Version {version} of {model} is not tried yet.", str(error),
                       {"version": version})

    def _folder(self, model: str, now: float) -> Path:
        stamp = moment(now).replace(":", "").replace("-", "")
        return self._home.path / "retraining" / model / stamp

    def _run(self, folder: Path, document: dict[str, Any]) -> None:
        settings = self._settings.retraining
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        write_atomically(folder / "reason.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))
        write_atomically(folder / "run.json", orjson.dumps(
            {"argv": list(settings.command), "timeout_seconds": settings.timeout_seconds}))
        process = subprocess.Popen([sys.executable, "-m", "serinus.serving.retraining_run", str(folder)],
                                   env=_environment(self._home, folder), stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        _started.append(process)

    def _note(self, model: str, kind: str, now: float, text: str, reason: str, body: Mapping[str, Any]) -> None:
        record = self._store.record(model)
        self._store.append(JournalEntry(model, f"retraining.{kind}", now, record.generation if record else 0,
                                        self._actor, reason, {"text": text, **body}))

    def _clear(self, model: str) -> None:
        """The folders of long ago."""
        for folder in sorted((self._home.path / "retraining" / model).glob("*Z"))[:-_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)


_started: list[subprocess.Popen[bytes]] = []


def _environment(home: Home, folder: Path) -> dict[str, str]:
    """What the command may know: the home, the reason, and nothing of the server's own settings and secrets."""
    inherited = {name: value for name, value in child_environment(RunFolder(home.run)).items()
                 if not name.startswith("SERINUS_")}
    return inherited | {"SERINUS_HOME": str(home.path), "SERINUS_RETRAINING": str(folder / "reason.json")}


def _outcome(run: Run, now: float) -> dict[str, Any] | None:
    """How a run of this host ended; None while it goes on."""
    for process in list(_started):  # whom nobody waits for stays a zombie, which looks alive
        if process.poll() is not None:
            _started.remove(process)
    folder = Path(run.folder)
    with contextlib.suppress(FileNotFoundError):
        return dict(orjson.loads((folder / "outcome.json").read_bytes()))
    try:
        pid, ticks = map(int, (folder / "runner").read_text().split())
    except (FileNotFoundError, ValueError):
        return None if now - run.started < _LOST_S else {"lost": True}
    if ticks and start_ticks(pid) == ticks:
        return None
    with contextlib.suppress(FileNotFoundError):  # written between the two looks
        return dict(orjson.loads((folder / "outcome.json").read_bytes()))
    return {"lost": True}


def _told(model: str, run: Run, outcome: Mapping[str, Any] | None, new: Sequence[str]) -> str:
    if outcome is None or outcome.get("lost"):
        return f"Retraining of {model} was lost: its process or its host is gone. See {run.folder}."
    how = "ran into its time-out" if outcome["timed_out"] else f"ended with exit code {outcome['exit_code']}"
    took = outcome["ended"] - run.started
    what = "; it registered nothing" if not new else (
        f"; it registered version {', '.join(new)}, to be tried by `serinus rollout start {model}:{new[-1]}`")
    return f"Retraining of {model} {how} after {took:.0f} s{what}. See {run.folder}."


def _message(model: str, advice: Advice, now: float) -> Notification:
    since, until = advice.decision.window
    facts = {"action": advice.recommendation.action, "trigger": advice.decision.trigger,
             "data_from": moment(since), "data_to": moment(until)}
    name = f"retraining-{model}-{now:.0f}"
    return Notification(f"{name}-1", "retraining", name, model, advice.version or "", "retraining", "act",
                        advice.decision.why, (), facts, now, now)


def _document(model: str, advice: Advice, now: float) -> dict[str, Any]:
    """What the command reads as `$SERINUS_RETRAINING`: names, counts and sentences, never a value of a request."""
    since, until = advice.decision.window
    alerts = [{key: value for key, value in asdict(alert).items() if key in (
        "id", "kind", "severity", "summary", "features", "facts", "firing_since")} for alert in advice.alerts]
    return {"format": FORMAT, "model": model, "version": advice.version, "started": moment(now),
            "trigger": advice.decision.trigger, "why": advice.decision.why, "action": advice.recommendation.action,
            "reasons": list(advice.recommendation.reasons), "alerts": alerts,
            "window": {"from": moment(since), "to": moment(until)}}
