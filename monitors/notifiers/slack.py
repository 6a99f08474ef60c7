"""Notifier: the JSON that Slack's incoming webhooks take, and with them Mattermost, Rocket.Chat, Zulip and Discord
(`…/slack`)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from serinus.monitors.notifiers.call import check_timeout, checked_address, origin, post
from serinus.monitors.notifiers.notifier import Notification
from serinus.monitors.notifiers.secret import Secret

__all__ = ["Slack"]

_COLOURS = {"warn": "#daa038", "alarm": "#d64d20", "act": "#a30200"}
_OVER = "#2eb886"


@dataclass(frozen=True)
class Slack:
    """`url` is the incoming webhook; it is a secret in itself, so better `url_env` or `url_file`."""

    url: str = field(default="", repr=False)
    url_env: str = ""
    url_file: str = ""
    timeout_seconds: float = 10.0
    target: str = field(init=False)
    resend_seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        check_timeout(self.timeout_seconds)
        object.__setattr__(self, "target", origin(self._address()))

    def send(self, notification: Notification) -> None:
        """See `Notifier.send`."""
        colour = _OVER if notification.ended is not None else _COLOURS[notification.severity]
        document = {"text": f"*{_plain(notification.title)}*", "attachments": [{
            "color": colour, "text": _plain("\n".join(notification.lines)), "ts": int(notification.at),
            "fallback": _plain(notification.summary)}]}
        headers = {"Idempotency-Key": notification.id}
        post(self._address(), json.dumps(document).encode(), headers, self.timeout_seconds)

    def _address(self) -> str:
        return checked_address(Secret("url", self.url, self.url_env, self.url_file).read())


def _plain(text: str) -> str:
    """The three characters that mean something to Slack, so that a column's name can call nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
