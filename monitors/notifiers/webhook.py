"""Notifier: a signed POST of JSON, as https://www.standardwebhooks.com describes it.

```
POST /your/path
webhook-id: 6f1c0a9d2b7e-2                 the same at every attempt (so is Idempotency-Key): drop what you have seen
webhook-timestamp: 1767225600              of this attempt; refuse what is older than five minutes
webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=

{"type": "serinus.alert.firing", "timestamp": "2026-01-01T00:00:00Z", "data": {"model": "credit", …}}
```

The signature is the Base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`. `is_authentic` is the receiver's half; the
libraries of that site do the same in other languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from serinus.monitors.notifiers.call import check_timeout, checked_address, origin, post
from serinus.monitors.notifiers.notifier import Notification, NotifierMisconfigured, moment
from serinus.monitors.notifiers.secret import Secret

__all__ = ["REPLAY_WINDOW_S", "Webhook", "is_authentic", "sign"]

REPLAY_WINDOW_S = 300.0
"""How far a message's timestamp may be off before a receiver should refuse it."""
_PREFIX = "whsec_"


@dataclass(frozen=True)
class Webhook:
    """`url` (or `url_env`, `url_file`) is where to; `secret_env` or `secret_file` names the key, as text or as
    `whsec_` and Base64. Without a key nothing is signed, which is refused unless `unsigned` says that it is meant."""

    url: str = field(default="", repr=False)
    url_env: str = ""
    url_file: str = ""
    secret_env: str = ""
    secret_file: str = ""
    authorization_env: str = ""
    """Names a variable that holds the value of an Authorization header."""
    authorization_file: str = ""
    unsigned: bool = False
    timeout_seconds: float = 10.0
    target: str = field(init=False)
    resend_seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        check_timeout(self.timeout_seconds)
        object.__setattr__(self, "target", origin(self._address()))
        if not self._secret.is_given and not self.unsigned:
            raise NotifierMisconfigured("Expected secret_env or secret_file, the key that signs messages, got neither. "
                                        "Give one, or set unsigned = true.")
        self._headers(b"", Notification.test(0.0))

    def send(self, notification: Notification) -> None:
        """See `Notifier.send`."""
        document = {"type": f"serinus.alert.{notification.event}", "timestamp": moment(notification.at),
                    "data": {key: value for key, value in notification.to_json().items() if key != "sent"}}
        body = json.dumps(document, separators=(",", ":")).encode()
        post(self._address(), body, self._headers(body, notification), self.timeout_seconds)

    def _address(self) -> str:
        return checked_address(Secret("url", self.url, self.url_env, self.url_file).read())

    @property
    def _secret(self) -> Secret:
        return Secret("secret", "", self.secret_env, self.secret_file)

    def _headers(self, body: bytes, notification: Notification) -> dict[str, str]:
        sent = str(int(notification.sent))
        headers = {"webhook-id": notification.id, "webhook-timestamp": sent, "Idempotency-Key": notification.id}
        if self._secret.is_given:
            headers["webhook-signature"] = sign(self._secret.read(), notification.id, sent, body)
        authorization = Secret("authorization", "", self.authorization_env, self.authorization_file)
        return headers | ({"Authorization": authorization.read()} if authorization.is_given else {})


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = hmac.new(_key(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def is_authentic(secret: str, headers: Mapping[str, str], body: bytes, now: float,
                 window_s: float = REPLAY_WINDOW_S) -> bool:
    """Whether a message was signed with this secret, not longer ago than the window. Whether its id was seen before is
    for the receiver to know."""
    given = {name.lower(): value for name, value in headers.items()}
    stamp, message_id = given.get("webhook-timestamp", ""), given.get("webhook-id", "")
    if not stamp.isdecimal() or abs(now - int(stamp)) > window_s:
        return False
    wanted = sign(secret, message_id, stamp, body).encode()
    return any(hmac.compare_digest(wanted, one.encode()) for one in given.get("webhook-signature", "").split())


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise NotifierMisconfigured("Option secret: what begins with whsec_ goes on in Base64, got something "
                                    "else.") from None
