"""Notifier: a line in the server's own log, and with it an event for an OpenTelemetry backend. It is always on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from serinus.monitors.notifiers.notifier import Notification

__all__ = ["Log"]

_log = logging.getLogger("serinus.alerts")


@dataclass(frozen=True)
class Log:
    """A warning while an alert fires, a remark when it is over. The line's name is `serinus.alert.{event}`."""

    target: str = field(init=False, default="the server's log")
    resend_seconds: float = field(init=False, default=0.0)

    def send(self, notification: Notification) -> None:
        """See `Notifier.send`."""
        level = logging.INFO if notification.ended is not None else logging.WARNING
        attributes = {
            "serinus.model.name": notification.model, "serinus.model.version": notification.version,
            "serinus.alert.id": notification.alert, "serinus.alert.kind": notification.kind,
            "serinus.alert.severity": notification.severity}
        _log.log(level, "%s %s", notification.title, " ".join(notification.lines),
                 extra={"event_name": f"serinus.alert.{notification.event}", "attributes": attributes})
