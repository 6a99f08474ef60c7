"""Who is told of alerts: each notifier can be made, and somebody listens where its messages go."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from serinus.serving.alerting import check_alerting, make_configured
from serinus.serving.doctor.check import Check, ok, problem, warning
from serinus.serving.errors import SettingsError
from serinus.serving.home import Home
from serinus.serving.published_alerts import published
from serinus.serving.settings import Settings

__all__ = ["look_at_alerts"]

_PATIENCE_S = 3.0


def look_at_alerts(settings: Settings, home: Home) -> Iterator[Check]:
    """A line for each notifier, and one for what a server would refuse to start with. No message is sent: that is
    `serinus alerts test`."""
    names = sorted(settings.alerts.notifiers)
    if not names:
        yield ok("alerts", "Told in the server's log only: alerts.notifiers names nobody else.")
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        for checks in pool.map(lambda name: list(_looked(name, settings)), names):
            yield from checks
    try:
        check_alerting(settings)
    except SettingsError as error:
        yield problem("alerts", str(error), "A server does not start with it.")
    for name, counts in published(home.run)["notifications"].items():
        if counts["waiting"] and counts["failures"]:
            yield warning("alerts", f"{counts['waiting']} messages to {name} wait, after {counts['failures']} attempts "
                                    "that failed.", f"Try `serinus alerts test {name}`.")


def _looked(name: str, settings: Settings) -> Iterator[Check]:
    try:
        target = make_configured(name, settings.alerts).target
    except SettingsError:  # told below, once
        return
    refusal = _refusal(target)
    if refusal:
        yield problem("alerts", f"Notifier {name}: nobody listens at {target}: {refusal}.",
                      "Correct its address, or start what should listen there.")
    else:
        yield ok("alerts", f"Notifier {name}: {target} listens." if "://" in target else f"Notifier {name}: {target}.")


def _refusal(target: str) -> str:
    """Why nobody can be reached there; empty where somebody can, or the target is no address."""
    parts = urlsplit(target)
    if not parts.hostname:
        return ""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), _PATIENCE_S).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""
