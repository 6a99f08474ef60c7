"""What the demo sees of the monitors, by the public commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from serinus.serving.demo.commands import Commands
from serinus.serving.demo.narrator import Narrator
from serinus.serving.demo.training import MODEL

__all__ = ["Watch"]

_ALARMS, _QUIET = {"alarm", "act"}, {"ok", "collecting"}
_PATIENCE_S, _LOOK_S = 240.0, 0.3


class Watch:
    """Waits for what the monitors find, and tells it as `serinus monitor explain` does."""

    def __init__(self, commands: Commands, narrator: Narrator) -> None:
        self._commands = commands
        self._narrator = narrator

    def wait_for_alarm(self, version: str, feature: str) -> None:
        """Claim that an alarm comes, and that it is `feature` that moved most."""
        started = time.monotonic()
        with self._narrator.waiting("The monitors count"):
            view = self._wait_for(version, lambda view: view["state"] in _ALARMS)
        took = time.monotonic() - started
        self._narrator.command(f"serinus monitor explain {MODEL}:{version}")
        features = (view.get("drift") or {}).get("features") or [{"name": "nothing", "direction": "known"}]
        self._narrator.check(view.get("state") in _ALARMS and features[0]["name"] == feature,
                             f"{view.get('state')} after {took:.1f} s: {features[0]['name']}, "
                             f"{features[0]['direction']}. {view.get('text')}")

    def check_quiet(self, answered: Mapping[str, int]) -> None:
        """Claim that no monitor found anything in what each version answered."""
        for version, number in answered.items():
            self.settle(version, number)
        states = {version: self._view(version).get("state") for version in sorted(answered)}
        self._narrator.command("serinus monitor status")
        self._narrator.check(set(states.values()) <= _QUIET, "The monitors say: "
                             + ", ".join(f"version {version} {state}" for version, state in states.items()) + ".")

    def settle(self, version: str, answered: int) -> None:
        """Until so many answers of a version have been judged."""
        self._wait_for(version, lambda view: view["seen"] >= answered)

    def close_alarm(self, version: str, reason: str) -> None:
        """By the command, and claim that all is well from then on."""
        done = self._commands.do("monitor", "reset", f"{MODEL}:{version}", "--reason", reason)
        view = self._wait_for(version, lambda view: view["state"] == "ok")
        self._narrator.check(done.code == 0 and view.get("state") == "ok", f"Its state is {view.get('state')} again.")

    def _wait_for(self, version: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The version's view once it holds, or when patience ends."""
        deadline = time.monotonic() + _PATIENCE_S
        while not ((view := self._view(version)) and holds(view)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return view

    def _view(self, version: str) -> dict[str, Any]:
        found = self._commands.ask("monitor", "explain", MODEL) or {"versions": []}
        return next((view for view in found["versions"] if view["version"] == version), {})
