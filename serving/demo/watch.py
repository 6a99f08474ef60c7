"""What the demo sees of the monitors, by the public commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from serinus.serving.demo.commands import Commands
from serinus.serving.demo.narrator import Narrator
from serinus.serving.demo.training import MODEL

__all__ = ["Closing", "Watch"]

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
        drift = view.get("drift") or {"features": [{"name": "nothing", "direction": "known"}], "evidence": 0.0}
        first = drift["features"][0]
        self._narrator.check(view.get("state") in _ALARMS and first["name"] == feature,
                             f"{view.get('state')} after {took:.1f} s: {first['name']}, {first['direction']}, evidence "
                             f"{drift['evidence']:.0%}. {view.get('text')}")

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

    def has_judged(self, version: str, answered: int) -> bool:
        """Whether so many answers of a version have been judged."""
        return int(self._view(version).get("seen", 0)) >= answered

    def close_alarm(self, version: str, reason: str) -> None:
        """By the command."""
        done = self._commands.do("monitor", "reset", f"{MODEL}:{version}", "--reason", reason)
        self._narrator.check(done.code == 0, done.text.strip().splitlines()[-1] if done.text.strip() else "Closed.")

    def check_ok(self, version: str) -> None:
        """Claim that all is well by now."""
        view = self._wait_for(version, lambda view: view["state"] == "ok")
        self._narrator.check(view.get("state") == "ok", f"The state of version {version} is {view.get('state')} again.")

    def _wait_for(self, version: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The version's view once it holds, or when patience ends."""
        deadline = time.monotonic() + _PATIENCE_S
        while not ((view := self._view(version)) and holds(view)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return view

    def _view(self, version: str) -> dict[str, Any]:
        found = self._commands.ask("monitor", "explain", MODEL) or {"versions": []}
        return next((view for view in found["versions"] if view["version"] == version), {})


class Closing:
    """An alarm that is closed once everything is judged that was answered before its cause was gone, `answered`
    answers of the version; something else may go on meanwhile."""

    def __init__(self, watch: Watch, version: str, answered: int, reason: str) -> None:
        self._watch = watch
        self._version, self._answered, self._reason = version, answered, reason
        self._closed = False

    def look(self, _: str = "") -> None:
        """Close it if it is time."""
        if not self._closed and self._watch.has_judged(self._version, self._answered):
            self._close()

    def finish(self) -> None:
        """Close it if that was not done, and claim that all is well from then on."""
        if not self._closed:
            self._watch.settle(self._version, self._answered)
            self._close()
        self._watch.check_ok(self._version)

    def _close(self) -> None:
        self._closed = True
        self._watch.close_alarm(self._version, self._reason)
