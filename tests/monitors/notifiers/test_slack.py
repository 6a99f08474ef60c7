"""Slack's form: a title, coloured details, and no name that calls anybody."""

from __future__ import annotations

from serinus.monitors.notifiers import make_notifier
from serinus.monitors.notifiers.testing import examples
from tests.monitors.notifiers.receiver import Receiver, receiver

__all__ = ["receiver"]


def test_the_message_is_what_the_documentation_shows(receiver: Receiver) -> None:
    """One line in bold, the rest beside a colour."""
    make_notifier("slack", {"url": receiver.url}).send(examples()[0])
    assert receiver.received[0].json == {"text": "*[firing] credit:3 drift (alarm)*", "attachments": [{
        "color": "#d64d20", "fallback": "age and income moved.", "ts": 1767225600,
        "text": "age and income moved.\nFeatures: age, income.\nevidence 1, rows 4,096, age up 0.3 sd.\n"
                "Since 2026-01-01T00:00:00Z. Alert 6f1c0a9d2b7e."}]}


def test_a_columns_name_calls_nobody(receiver: Receiver) -> None:
    """`<!channel>` is text, and three hundred names are twenty."""
    odd = examples()[1]
    make_notifier("slack", {"url": receiver.url}).send(odd)
    assert b"<" not in receiver.received[0].body and b"&lt;!channel&gt; &amp;" in receiver.received[0].body
    assert receiver.received[0].json["attachments"][0]["text"].count("channel") == 20


def test_what_is_over_is_green(receiver: Receiver) -> None:
    """And says when it ended."""
    make_notifier("slack", {"url": receiver.url}).send(next(one for one in examples() if one.ended is not None))
    (found,) = receiver.received[0].json["attachments"]
    assert found["color"] == "#2eb886" and "over since 2026-01-01T00:10:00Z" in found["text"]
