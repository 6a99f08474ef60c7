"""Vetoes: rollbacks that hold on this host at once, before and without the store.

A veto is one entry of a small file that every worker looks at 50 times a second. While it stands, its model's
traffic goes to `stable` alone. The steward carries it into the store; it removes the veto only after a snapshot that
says the same has been written, so a worker that reads vetoes first and the snapshot second never sees a gap.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from serinus.serving.errors import ControlRefused, SerinusError
from serinus.serving.files import locked, write_atomically
from serinus.serving.home import Home
from serinus.serving.rollout import transitions
from serinus.serving.rollout.errors import TransitionRefused
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.snapshot import read_snapshot

__all__ = ["Veto", "Vetoes", "cast_veto", "read_vetoes", "remove_veto"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Veto:
    """One rollback: `version` gets no traffic, `stable` answers. `to` is set when a person named the version."""

    model: str
    sequence: int
    rollout_id: str
    version: str
    stable: str
    to: str | None
    actor: str
    reason: str
    time: float


class Vetoes(NamedTuple):
    """All vetoes in force; `sequence` grows with every change of the file."""

    sequence: int
    by_model: dict[str, Veto]


def read_vetoes(path: Path) -> Vetoes:
    """The vetoes at `path`; none when there is no file."""
    try:
        stored = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return Vetoes(0, {})
    if stored.get("format") != FORMAT:
        raise SerinusError(f"{path} has format {stored.get('format')}, this program reads {FORMAT}: upgrade it.")
    found = {name: Veto(**veto) for name, veto in stored["vetoes"].items()}
    return Vetoes(stored["sequence"], found)


def cast_veto(home: Home, model: str, *, actor: str, reason: str, to: str | None = None) -> Veto:
    """Take `model` back to its stable version, or after a promotion to the one before, on this host, now.

    Needs nothing but the last-known-good snapshot. Raises `ControlRefused` when there is nothing to go back to.
    """
    with locked(home.vetoes.with_suffix(".lock")):
        vetoes = read_vetoes(home.vetoes)
        standing = vetoes.by_model.get(model)
        if standing is not None and to in (None, standing.stable):
            return standing
        record = read_snapshot(home.snapshot).records.get(model)
        if record is None:
            raise ControlRefused(f"Nothing is known of a rollout of {model!r} on this host.", "not_found")
        now = time.time()
        decision = _decide(record, to, actor, reason, now)
        veto = Veto(model, vetoes.sequence + 1, record.rollout_id, decision.version, decision.stable, to, actor,
                    reason, now)
        _write(home.vetoes, Vetoes(veto.sequence, {**vetoes.by_model, model: veto}))
    return veto


def remove_veto(home: Home, veto: Veto) -> None:
    """The store and the snapshot say the same now: the veto may go. A newer one of the same model stays."""
    with locked(home.vetoes.with_suffix(".lock")):
        vetoes = read_vetoes(home.vetoes)
        if vetoes.by_model.get(veto.model) == veto:
            left = {name: other for name, other in vetoes.by_model.items() if name != veto.model}
            _write(home.vetoes, Vetoes(vetoes.sequence + 1, left))


def _decide(record: RolloutRecord, to: str | None, actor: str, reason: str, now: float) -> transitions.Veto:
    """What the state machine makes of a rollback of the last record that this host knows."""
    if to is not None and to not in (record.stable, record.previous_at(now)):
        raise ControlRefused(f"Version {to} of {record.model!r} is not kept loaded, so it cannot answer at once: roll "
                             f"it out with `serinus rollout start {record.model}:{to}`.", "refused")
    try:
        _, commands = transitions.advance(record, transitions.RollBack(to, actor=actor, reason=reason), now)
    except TransitionRefused as error:
        raise ControlRefused(str(error), "refused") from None
    for command in commands:
        if isinstance(command, transitions.Veto):
            return command
        if isinstance(command, transitions.Notice):
            raise ControlRefused(command.text, "nothing_to_do")
    raise AssertionError("a rollback gives a veto or a notice")


def _write(path: Path, vetoes: Vetoes) -> None:
    write_atomically(path, orjson.dumps({
        "format": FORMAT, "sequence": vetoes.sequence,
        "vetoes": {name: asdict(veto) for name, veto in vetoes.by_model.items()}}))
