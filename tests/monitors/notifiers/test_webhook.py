"""The signed webhook: its signature is the published one, and a receiver can tell forged, old and repeated messages."""

from __future__ import annotations

import pytest

from serinus.monitors.notifiers import is_authentic, make_notifier
from serinus.monitors.notifiers.testing import examples
from serinus.monitors.notifiers.webhook import sign
from tests.monitors.notifiers.receiver import Receiver, receiver

__all__ = ["receiver"]

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_the_published_one() -> None:
    """The example of the Standard Webhooks libraries."""
    signature = sign(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("key", [KEY, "plain text"])
def test_a_receiver_can_tell(key: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authentic as it came; not with another key, body, id or time, and not for long."""
    monkeypatch.setenv("HOOK_KEY", key)
    message = examples()[0].attempt(1_767_225_660.0)
    make_notifier("webhook", {"url": receiver.url, "secret_env": "HOOK_KEY"}).send(message)
    ((_, headers, body),) = receiver.received
    assert headers["webhook-id"] == headers["Idempotency-Key"] == message.id
    assert is_authentic(key, headers, body, message.sent) and is_authentic(key, headers, body, message.sent + 300)
    assert not is_authentic(key, headers, body, message.sent + 301)
    assert not is_authentic(key + "x" * 4, headers, body, message.sent)
    assert not is_authentic(key, headers, body + b" ", message.sent)
    assert not is_authentic(key, {**headers, "webhook-id": "another"}, body, message.sent)
    assert not is_authentic(key, {**headers, "webhook-timestamp": "1767225661"}, body, message.sent)
    assert not is_authentic(key, {**headers, "webhook-timestamp": "soon"}, body, message.sent)
    assert not is_authentic(key, {**headers, "webhook-signature": "v1,é"}, body, message.sent)


def test_the_body_is_what_the_documentation_shows(receiver: Receiver) -> None:
    """Type, time and data; names, counts and sentences only."""
    make_notifier("webhook", {"url": receiver.url, "unsigned": True}).send(examples()[0])
    document = receiver.received[0].json
    assert document == {
        "type": "serinus.alert.firing", "timestamp": "2026-01-01T00:00:00Z", "data": {
            "id": "6f1c0a9d2b7e-2", "event": "firing", "alert": "6f1c0a9d2b7e", "model": "credit", "version": "3",
            "kind": "drift", "severity": "alarm", "summary": "age and income moved.", "features": ["age", "income"],
            "facts": {"evidence": 1.0, "rows": 4096, "age": "up 0.3 sd"}, "since": 1767225600.0, "at": 1767225600.0,
            "ended": None}}
    assert "webhook-signature" not in receiver.received[0].headers


def test_a_header_lets_it_in(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from the environment or a file."""
    monkeypatch.setenv("PASS", "Bearer abc")
    make_notifier("webhook", {"url": receiver.url, "unsigned": True, "authorization_env": "PASS"}).send(examples()[0])
    assert receiver.received[0].headers["Authorization"] == "Bearer abc"
