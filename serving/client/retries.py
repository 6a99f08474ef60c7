"""Whether, and after how long, a call is sent again: pure, so that clock and chance come from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serinus.serving.client.call import Resend

__all__ = ["Failure", "Retries"]


class Failure(StrEnum):
    """How an attempt failed."""

    UNSENT = "unsent"
    """No connection came about, so the server knows nothing of it."""
    BROKEN = "broken"
    """The connection broke before the whole answer: nobody knows whether it was done."""
    REFUSED = "refused"
    """The server said that it is too busy or not ready."""


_ALLOWED = {
    Resend.ALWAYS: frozenset(Failure),
    Resend.REFUSED: frozenset({Failure.UNSENT, Failure.REFUSED}),
    Resend.UNSENT: frozenset({Failure.UNSENT}),
    Resend.NEVER: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `most` further attempts. The wait before the n-th is a random share of `first_s` · 2ⁿ, of `longest_s` at
    most; a server that names a wait (Retry-After) is obeyed, with up to a quarter more so that not all come at once."""

    most: int = 3
    first_s: float = 0.1
    longest_s: float = 5.0

    def wait_s(self, resend: Resend, failure: Failure, attempts: int, left_s: float, chance: float,
               named_s: float | None = None) -> float | None:
        """Seconds until the next attempt; None when there is none: too many, not safe, or not in the time that is left.

        `attempts` were made so far, and `chance` is a random number in [0, 1).

        >>> Retries().wait_s(Resend.ALWAYS, Failure.BROKEN, attempts=2, left_s=30, chance=0.5)
        0.1
        >>> Retries().wait_s(Resend.UNSENT, Failure.BROKEN, attempts=1, left_s=30, chance=0.5) is None
        True
        """
        if attempts > self.most or failure not in _ALLOWED[resend]:
            return None
        if named_s is None:
            wait = min(self.longest_s, self.first_s * 2 ** (attempts - 1)) * chance
        else:
            wait = named_s * (1 + chance / 4)
        return wait if wait < left_s else None
