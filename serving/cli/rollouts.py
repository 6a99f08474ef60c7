"""What a command can do to rollouts, on a home of this host (`local`) or on a running server (`remote`) alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import click
from click.core import ParameterSource

from serinus.serving.cli.options import open_home
from serinus.serving.cli.output import share
from serinus.serving.rollout.state import Phase, Plan, RolloutRecord
from serinus.serving.store import JournalEntry

__all__ = ["Followed", "Rollouts", "bar", "choose", "describe", "wait_until_followed"]

_LOOK_S = 0.02


class Rollouts(Protocol):
    """Documents are those of the server's `/api/rollouts/MODEL`."""

    @property
    def where(self) -> str:
        """The home or the address, for sentences."""
        ...

    def act(self, model: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Let a verb happen; the answer has `record` and, when there was nothing to do, `notice`."""
        ...

    def roll_back(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """The previous version again, at once; the answer lists when each worker obeyed."""
        ...

    def status(self, model: str) -> dict[str, Any]:
        """Record, veto and workers."""
        ...

    def analysis(self, model: str) -> dict[str, Any]:
        """The latest verdict, with its checks."""
        ...

    def journal(self, model: str) -> list[JournalEntry]:
        """The model's journal, oldest first."""
        ...


    def traffic(self) -> list[dict[str, Any]]:
        """What each server answered in the last quarter of an hour."""
        ...


class Followed(NamedTuple):
    """Whether all live workers follow, how many do, how long it took, and how many could not load a version."""

    complete: bool
    following: int
    workers: int
    seconds: float
    load_failures: int


def choose(home: Path | None, url: str | None) -> Rollouts:
    """A home that was named beats an address from the environment; both on one command line are an error."""
    context = click.get_current_context()
    if home is not None and url and context.get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--home acts on this host and --url on a running server: give one of them.")
    if url and home is None:
        from serinus.serving.cli.remote import RemoteRollouts

        return RemoteRollouts(url)
    from serinus.serving.cli.local import LocalRollouts

    return LocalRollouts(open_home(home))


def wait_until_followed(rollouts: Rollouts, model: str, generation: int, timeout_s: float,
                        before: dict[str, Any] | None = None,
                        sleep: Callable[[float], None] = time.sleep) -> Followed:
    """Until every live worker follows a record of at least `generation`; `before` is an earlier status."""
    started = time.monotonic()
    while True:
        seen = rollouts.status(model)
        workers = seen["workers"]
        following = [worker for worker in workers if worker["follows"]]
        took = time.monotonic() - started
        done = len(following) == len(workers) and (not workers or seen["record"]["generation"] >= generation)
        if done or took >= timeout_s:
            failures = _load_failures(seen) - (_load_failures(before) if before else 0)
            return Followed(done, len(following), len(workers), took, max(failures, 0))
        sleep(_LOOK_S)


def _load_failures(status: dict[str, Any]) -> int:
    return sum(worker.get("load_failures", 0) for worker in status["workers"])


def describe(record: RolloutRecord) -> str:
    """Where a model's rollout stands, as one sentence."""
    if record.running and record.plan is not None:
        return f"{record.model}: {_on_trial(record)} ({_where(record, record.plan)})."
    sentence = f"{record.model}: version {record.stable} answers every request"
    previous = record.previous_at(time.time())
    if previous is not None and record.previous_until is not None:
        until = datetime.fromtimestamp(record.previous_until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        sentence += f"; a rollback brings version {previous} again, until {until}"
    return sentence + "."


def bar(share: float, room: int = 10) -> str:
    """A share from 0 to 1 as so many characters, and in percent."""
    full = min(room, max(0, round(share * room)))
    return f"{'█' * full}{'░' * (room - full)} {100 * share:.0f} %"


_STOPPED = {Phase.HOLD: ", paused", Phase.FROZEN: ", frozen"}


def _on_trial(record: RolloutRecord) -> str:
    if record.phase is Phase.PREFLIGHT:
        return f"version {record.candidate} is checked and loaded, version {record.stable} answers every request"
    if record.shadow_weight:
        return (f"version {record.candidate} gets copies of {share(record.shadow_weight)} of the requests, version "
                f"{record.stable} answers them all")
    return (f"version {record.candidate} answers {share(record.weight)} of the requests, version {record.stable} the "
            "rest")


def _where(record: RolloutRecord, plan: Plan) -> str:
    steps = ", ".join(f"{step / 100:g}" for step in plan.steps)
    phase = record.held or record.phase
    at = f"step {record.step + 1} of {len(plan.steps)}" if phase is Phase.CANARY else f"{phase}, then"
    if phase is Phase.SOAK:
        return f"soak after {steps} %{_STOPPED.get(record.phase, '')}"
    held = f", held: {record.cause}" if record.phase is Phase.HOLD and record.cause else _STOPPED.get(record.phase, "")
    return f"{at}: {steps} %{held}"
