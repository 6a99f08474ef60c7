"""What one look at one thing found, and how it is said."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Check", "counted", "hours", "ok", "problem", "size", "warning"]

State = Literal["ok", "warning", "problem"]


class Check(NamedTuple):
    """`subject` is a word (python, home, store, …), `says` a sentence, `advice` what to do; empty where nothing is."""

    subject: str
    state: State
    says: str
    advice: str = ""


def ok(subject: str, says: str) -> Check:
    """It is in order."""
    return Check(subject, "ok", says)


def warning(subject: str, says: str, advice: str) -> Check:
    """It works, and a person should know."""
    return Check(subject, "warning", says, advice)


def problem(subject: str, says: str, advice: str = "") -> Check:
    """It does not do what it is there for."""
    return Check(subject, "problem", says, advice)


def size(count: float) -> str:
    """Bytes for a person."""
    for unit, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {word}"
    return f"{count:.0f} B"


def counted(number: int, thing: str) -> str:
    """So many things, as one says it."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def hours(seconds: float) -> str:
    """A span of time for a person."""
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {word}"
    return f"{seconds:.0f} s"
