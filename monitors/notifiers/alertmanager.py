"""Notifier: Prometheus' Alertmanager, by its API v2.

Alertmanager takes an alert for over when nobody repeats it, so what fires is sent again every `resend_seconds` with an
end four times as far away, as Prometheus does; a server that dies leaves no alert behind for long. Silences set here
end it there too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serinus.monitors.notifiers.call import check_timeout, checked_address, origin, post
from serinus.monitors.notifiers.notifier import Notification, NotifierMisconfigured, moment
from serinus.monitors.notifiers.secret import Secret

__all__ = ["Alertmanager"]

_PERIODS = 4
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Alertmanager:
    """`url` is Alertmanager's own, http://HOST:9093; `labels` are added to every alert, for your routes."""

    url: str = ""
    url_env: str = ""
    url_file: str = ""
    authorization_env: str = ""
    """Names a variable that holds the value of an Authorization header."""
    authorization_file: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    resend_seconds: float = 60.0
    timeout_seconds: float = 10.0
    target: str = field(init=False)

    def __post_init__(self) -> None:
        check_timeout(self.timeout_seconds)
        if not self.resend_seconds > 0:
            raise NotifierMisconfigured(f"Option resend_seconds: expected more than 0, got {self.resend_seconds!r}.")
        if not isinstance(self.labels, Mapping):
            raise NotifierMisconfigured("Option labels: expected a table such as {team = \"ml\"}, got "
                                        f"{self.labels!r}.")
        for name, value in self.labels.items():
            if not _LABEL.fullmatch(name) or not isinstance(value, str):
                raise NotifierMisconfigured(f"Option labels: expected names of letters, digits and '_', and text, got "
                                            f"{name!r} = {value!r}.")
        object.__setattr__(self, "target", origin(self._address()))
        self._headers()

    def send(self, notification: Notification) -> None:
        """See `Notifier.send`."""
        body = json.dumps([self._alert(notification)]).encode()
        post(f"{self._address().rstrip('/')}/api/v2/alerts", body, self._headers(), self.timeout_seconds)

    def _alert(self, notification: Notification) -> dict[str, Any]:
        ends = notification.ended if notification.ended is not None else (
            notification.sent + _PERIODS * self.resend_seconds)
        labels = {**self.labels, "alertname": f"serinus_{notification.kind}", "model": notification.model,
                  "model_version": notification.version, "severity": notification.severity,
                  "alert_id": notification.alert}
        facts = {f"fact_{re.sub('[^a-zA-Z0-9_]', '_', key)}": str(value) for key, value in notification.facts.items()}
        annotations = {"summary": notification.summary, "features": ", ".join(notification.features), **facts}
        return {"labels": labels, "annotations": {key: value for key, value in annotations.items() if value},
                "startsAt": moment(notification.since), "endsAt": moment(ends)}

    def _address(self) -> str:
        return checked_address(Secret("url", self.url, self.url_env, self.url_file).read())

    def _headers(self) -> dict[str, str]:
        authorization = Secret("authorization", "", self.authorization_env, self.authorization_file)
        return {"Authorization": authorization.read()} if authorization.is_given else {}
