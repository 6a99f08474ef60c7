"""The notifier contract: each rule catches a notifier that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from serinus.monitors.notifiers import DeliveryFailed, Notification
from serinus.monitors.notifiers.testing import RULES, ContractBroken, check_notifier


@dataclass
class Post:
    """A notifier whose letters do what they are told."""

    does: Callable[[Post, Notification], None] = lambda *_: None
    target: str = "a letter box"
    resend_seconds: float = 0.0
    password: str = ""

    def send(self, notification: Notification) -> None:
        self.does(self, notification)


def fail(error: Exception) -> Callable[[Post, Notification], None]:
    def does(*_: object) -> None:
        raise error

    return does


def move(post: Post, _: Notification) -> None:
    post.target = "another letter box"


def hang(*_: object) -> None:
    import time

    time.sleep(1)


LOST = Post(fail(DeliveryFailed("The letter box is full.")))


def test_a_notifier_that_keeps_the_contract_is_covered_by_every_rule() -> None:
    """Nothing is left out."""
    coverage = check_notifier(Post(), broken=LOST, secrets=("sesame",))
    assert (tuple(coverage.checks), coverage.left_out) == (RULES, ())


@pytest.mark.parametrize(("rule", "notifier", "broken"), [
    ("details", Post(target=""), LOST), ("details", Post(target="two\nlines"), LOST),
    ("details", Post(resend_seconds=-1), LOST), ("details", Post(resend_seconds=True), LOST),
    ("sends", Post(fail(DeliveryFailed("No."))), LOST), ("sends", Post(fail(KeyError("x"))), LOST),
    ("sends", Post(move), LOST), ("sends", Post(hang), LOST),
    ("fails", Post(), Post()), ("fails", Post(), Post(fail(OSError("No.")))),
    ("fails", Post(), Post(fail(DeliveryFailed("")))), ("fails", Post(), Post(fail(DeliveryFailed("two\nlines.")))),
    ("discreet", Post(target="box sesame"), LOST), ("discreet", Post(password="sesame"), LOST),
    ("discreet", Post(), Post(fail(DeliveryFailed("Not opened by sesame.")))),
])
def test_each_rule_catches(rule: str, notifier: Post, broken: Post) -> None:
    """A notifier that breaks it in one way, and the rule is named."""
    with pytest.raises(ContractBroken) as caught:
        check_notifier(notifier, broken=broken, secrets=("sesame",), patience_s=0.2)
    assert caught.value.rule == rule
