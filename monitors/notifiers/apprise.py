"""Notifier: whatever the apprise library reaches (mail, Teams, Telegram, PagerDuty and some hundred others)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serinus.monitors.notifiers.notifier import DeliveryFailed, Notification, NotifierMisconfigured
from serinus.monitors.notifiers.secret import Secret

__all__ = ["Apprise"]


@dataclass(frozen=True)
class Apprise:
    """`url` is apprise's own form of an address, such as `mailtos://…` or `tgram://…`; it usually holds a password, so
    better `url_env` or `url_file`."""

    url: str = field(default="", repr=False)
    url_env: str = ""
    url_file: str = ""
    target: str = field(init=False)
    resend_seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._service()
        object.__setattr__(self, "target", f"{self._address().partition(':')[0]} (apprise)")

    def send(self, notification: Notification) -> None:
        """See `Notifier.send`."""
        service = self._service()
        kind = "success" if notification.ended is not None else (
            "failure" if notification.severity == "act" else "warning")
        try:
            arrived = service.notify(title=notification.title, body="\n".join(notification.lines), notify_type=kind)
        except Exception as error:  # some hundred services, each with exceptions of its own
            raise DeliveryFailed(f"{self.target} failed: {type(error).__name__}.") from None
        if not arrived:
            raise DeliveryFailed(f"{self.target} did not take the message; its own log lines say why.")

    def _address(self) -> str:
        return Secret("url", self.url, self.url_env, self.url_file).read()

    def _service(self) -> Any:
        try:
            import apprise
        except ImportError:
            raise NotifierMisconfigured("The kind 'apprise' needs the package apprise: pip install "
                                        "'serinus[notify]'.") from None
        service = apprise.Apprise()
        if not service.add(self._address()):
            raise NotifierMisconfigured("Option url: apprise does not know this form of address; see its list of "
                                        "services.")
        return service
