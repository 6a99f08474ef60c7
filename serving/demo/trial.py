"""One rollout of the demo: started by the public command, told from its journal as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from serinus.serving.demo.commands import Commands
from serinus.serving.demo.narrator import Narrator
from serinus.serving.demo.patients import Met
from serinus.serving.demo.training import MODEL

__all__ = ["CALM", "ENDS", "FAST", "Pace", "Trial", "came_back", "write_plan"]

ENDS = ("promoted", "rolled_back", "rejected")
_LOOK_S = 0.3
_PATIENCE_S = 600.0
_SETTLED_S = 3.0
_QUIET = ("reverse",)
_SHOWN = ("errors", "latency:p95", "mix:benign", "ground_truth:pairs", "mix:pairs:benign")


class Pace(NamedTuple):
    """How long things take: seconds, pairs, callers in a step, percent of the first one, truths' delay, requests; and
    which multiple of stable's rates the certificate excludes: smaller ones need more callers."""

    shadow_s: float
    step_s: float
    pairs: int
    units: int
    first: int
    delay_s: float
    crowd: int
    margin: float


FAST = Pace(shadow_s=2.0, step_s=1.5, pairs=150, units=20, first=20, delay_s=0.5, crowd=200, margin=6.0)
CALM = Pace(shadow_s=6.0, step_s=5.0, pairs=300, units=40, first=10, delay_s=2.0, crowd=600, margin=4.0)


def write_plan(path: Path, pace: Pace) -> None:
    """A plan of short steps, and as strict as long ones: of sound versions one in a thousand is taken off."""
    path.write_text(f"""steps = [{pace.first}, 50]             # percent of the callers

[judgement]
shadow = 10000               # every request is copied to the new version before it answers any
shadow_pairs = {pace.pairs}
shadow_s = {pace.shadow_s:g}
step_s = {pace.step_s:g}
step_units = {pace.units}              # callers that it answers in each step at least
certify_from = 5000          # the step of 50 % ends with a certificate, the smaller one only detects
alpha = 0.001
ratio = 1.3
margin = {pace.margin:g}                 # a certificate excludes rates so many times stable's: less needs more callers
accuracy_margin = 0.05
mix_tolerance = 0.05
hold_s = 600
hold_on_drift = false        # one of its stories drifts on purpose, and nobody is there to look
hold_on_estimate = false
""", encoding="utf-8")


class Trial:
    """Tells a rollout. `watch` is called at each look with the phase."""

    def __init__(self, commands: Commands, narrator: Narrator, plan: Path) -> None:
        self._commands = commands
        self._narrator = narrator
        self._plan = plan

    def run(self, version: str, reason: str, watch: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """Start a rollout of a version, and wait for its end; the last record, as `serinus rollout status` has it."""
        known = len(self._journal())
        done = self._commands.do("rollout", "start", f"{MODEL}:{version}", "--plan", self._plan,
                                 "--reason", reason)
        self._narrator.check(done.code == 0, done.text.strip().splitlines()[-1] if done.text.strip() else "Started.")
        record = self._status()
        deadline = time.monotonic() + _PATIENCE_S
        with self._narrator.waiting("The rollout begins") as tell:
            while time.monotonic() < deadline:
                known = self._tell(known)
                record = self._status()
                watch(str(record["phase"]))
                if record["phase"] in ENDS:
                    break
                tell(f"{record['phase']}: {self._commands.ask('rollout', 'explain', MODEL)['reason']}")
                time.sleep(_LOOK_S)
        self._tell(known)
        return record

    def explain(self) -> dict[str, Any]:
        """Tell what the last verdict rests on; the whole of what `serinus rollout explain --json` says."""
        found: dict[str, Any] = self._commands.ask("rollout", "explain", MODEL)
        self._narrator.command(f"serinus rollout explain {MODEL}")
        for check in found["checks"]:
            if check["name"] in _SHOWN:
                self._narrator.line(f"{check['text']}; evidence of harm {check['e_value']:.3g}, would roll back at "
                                    f"{check['e_needed']:,.0f}")
        return found

    def _tell(self, known: int) -> int:
        """What the journal has beyond the first `known` entries; how many there are."""
        entries = self._journal()
        for entry in entries[known:]:
            if entry["kind"] not in _QUIET:
                said = entry["body"].get("text", entry["kind"])
                self._narrator.line(f"{time.strftime('%H:%M:%S', time.localtime(entry['time']))}  {said}"
                                    + (f" {entry['reason']}" if entry["reason"] else ""))
        return len(entries)

    def _journal(self) -> list[dict[str, Any]]:
        return list(self._commands.ask("rollout", "journal", MODEL) or ())

    def _status(self) -> dict[str, Any]:
        return dict(self._commands.ask("rollout", "status", MODEL)["record"])


def came_back(met: Sequence[Met], stable: str, candidate: str) -> tuple[int, int]:
    """How often a caller came again, and how often such a one met stable after the candidate. Who comes again within
    seconds is passed over: not every worker may have followed yet."""
    latest: dict[str, Met] = {}
    again = back = 0
    for each in met:
        before = latest.get(each.key)
        if before is not None and each.at - before.at > _SETTLED_S:
            again += 1
            back += (before.version, each.version) == (candidate, stable)
        latest[each.key] = each
    return again, back
