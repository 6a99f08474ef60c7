"""The contract of a notifier as a suite that anybody can run: `check_notifier` tries every rule on a real one.

A rule is a function that yields one (holds, sentence) per check; the first that does not hold is raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from serinus.monitors.notifiers.notifier import DeliveryFailed, Notification, Notifier
from serinus.monitors.testing import Checks, ContractBroken

__all__ = ["RULES", "ContractBroken", "Coverage", "check_notifier", "examples"]

_LONGEST = 500


@dataclass(frozen=True)
class Coverage:
    """What was looked at: how many checks each rule made, by the rule's name, and which rules did not apply."""

    checks: Mapping[str, int]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    notifier: Notifier
    broken: Notifier | None
    secrets: tuple[str, ...]
    patience_s: float


def examples() -> list[Notification]:
    """Messages as they come: each event, with much and with nothing to say, in letters that mean something to
    somebody."""
    plain = replace(Notification.test(1_767_225_600.0), id="6f1c0a9d2b7e-2", event="firing", alert="6f1c0a9d2b7e",
                    model="credit", version="3", kind="drift", severity="alarm", summary="age and income moved.",
                    features=("age", "income"), facts={"evidence": 1.0, "rows": 4096, "age": "up 0.3 sd"}, ended=None)
    odd = replace(plain, id="6f1c0a9d2b7e-3", event="escalated", severity="act", features=tuple(
        f"<!channel> & *{number}* \"quoted\" 'ñ😀\n" for number in range(300)), summary="é <b>\\ \x00 {} %s " * 8)
    over = replace(plain, id="6f1c0a9d2b7e-4", event="resolved", ended=plain.at + 600, features=(), facts={})
    return [plain, odd, replace(plain, event="repeated"), replace(plain, event="refreshed"), over,
            replace(plain, event="retraining", kind="retraining"), Notification.test(plain.at)]


def check_notifier(notifier: Notifier, *, broken: Notifier | None = None, secrets: tuple[str, ...] = (),
                   patience_s: float = 30.0) -> Coverage:
    """Try every rule that a notifier must keep.

    Args:
        notifier: one whose receiver takes messages: a dozen are sent.
        broken: the same kind, made for a receiver that is not there or refuses.
        secrets: the texts of its options that nobody may read.
        patience_s: how long one call may take.

    Raises:
        ContractBroken: the first rule that is broken, in a sentence.
    """
    case = _Case(notifier, broken, secrets, patience_s)
    checks: dict[str, int] = {}
    for name, rule in _RULES.items():
        count = 0
        for holds, sentence in rule(case):
            if not holds:
                raise ContractBroken(name, sentence)
            count += 1
        checks[name] = count
    return Coverage({name: count for name, count in checks.items() if count},
                    tuple(name for name, count in checks.items() if not count))


def _details(case: _Case) -> Checks:
    """The target is a line for people, and the time between two messages a number."""
    target, resend = case.notifier.target, case.notifier.resend_seconds
    yield (isinstance(target, str) and target.strip() != "" and target.isprintable(),
           f"target must be one printable line, got {target!r}.")
    yield (isinstance(resend, int | float) and not isinstance(resend, bool) and resend >= 0,
           f"resend_seconds must be a number of seconds, 0 for never, got {resend!r}.")


def _sends(case: _Case) -> Checks:
    """Every message that can come is sent, in any thread, and changes nothing about the notifier."""
    target = case.notifier.target
    for message in examples():
        error = _outcome(case.notifier, message, case.patience_s)
        yield error is None, f"send of {message.event!r} to a receiver that takes it raised {error!r}."
    again = examples()[0].attempt(time.time())
    for _ in range(2):
        error = _outcome(case.notifier, again, case.patience_s)
        yield error is None, f"a message that is sent twice is not refused, got {error!r}."
    yield case.notifier.target == target, "sending must not change the notifier."


def _fails(case: _Case) -> Checks:
    """What did not arrive is `DeliveryFailed`, in one sentence and in time."""
    if case.broken is None:
        return
    for message in examples()[:2]:
        error = _outcome(case.broken, message, case.patience_s)
        yield isinstance(error, DeliveryFailed), f"send must raise DeliveryFailed where nothing arrives, got {error!r}."
        text = str(error)
        yield (0 < len(text) <= _LONGEST and text.isprintable() and text.rstrip().endswith("."),
               f"a failure is told in one printable sentence, got {text!r}.")


def _discreet(case: _Case) -> Checks:
    """No secret stands in what is shown: target, representation, failures."""
    for secret in case.secrets:
        for one in (case.notifier, *([case.broken] if case.broken is not None else [])):
            yield secret not in one.target, "the target shows a secret."
            yield secret not in repr(one), "the representation shows a secret; field(repr=False) hides it."
        if case.broken is not None:
            error = _outcome(case.broken, examples()[0], case.patience_s)
            yield secret not in str(error), "a failure's text shows a secret."


_RULES: Mapping[str, Callable[[_Case], Checks]] = {
    "details": _details, "sends": _sends, "fails": _fails, "discreet": _discreet}
RULES = tuple(_RULES)
"""The names of all rules, in the order in which they are tried."""


def _outcome(notifier: Notifier, message: Notification, patience_s: float) -> BaseException | None:
    """What one call in a thread of its own raised; `TimeoutError` for one that does not end."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            notifier.send(message.attempt(message.sent or time.time()))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(patience_s)
    if thread.is_alive():
        return TimeoutError(f"not back after {patience_s:g} s")
    return raised[0] if raised else None
