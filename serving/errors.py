"""What can go wrong between a request and its answer, and around the server.

Errors know no HTTP: `kind` is a word, and each protocol translates it into its own status and form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Cancelled", "CommandError", "ControlRefused", "InvalidInput", "InvalidRequest", "ModelUnavailable",
           "NotServed", "Overloaded", "PredictionFailed", "RateLimited", "RequestError", "RequestTooLarge",
           "SerinusError", "SettingsError", "TimedOut", "Unauthorised", "Unrecorded", "UnsupportedEncoding",
           "Violation"]


class Violation(NamedTuple):
    """One value that breaks one expectation: where, what was wanted, what came, and what was done about it."""

    path: str
    kind: str
    wanted: str
    got: str
    done: str = ""
    """Kept, imputed 41, clipped to 0 … 120; empty where the request was refused."""

    def as_json(self) -> dict[str, str]:
        """As answers list it."""
        return {name: value for name, value in self._asdict().items() if value or name != "done"}


class SerinusError(Exception):
    """Root of the errors of `serinus.serving`; the text is one sentence fit for a person."""


class SettingsError(SerinusError):
    """A setting is unknown or has an impossible value."""


class CommandError(SerinusError):
    """A command cannot do what was asked; `exit_code` says why to a script."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ControlRefused(SerinusError):
    """A control call is not allowed, or not possible in the present state."""

    def __init__(self, message: str, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


class RequestError(SerinusError):
    """An inference request that is answered with an error. `kind` is low-cardinality and goes to telemetry."""

    kind = "internal"

    def __init__(self, message: str, violations: tuple[Violation, ...] = (),
                 counts: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.violations = violations
        self.counts = counts
        """How many violations there are of each kind, where not all of them are listed."""


class InvalidRequest(RequestError):
    """The body is not what the protocol says."""

    kind = "invalid_request"


class InvalidInput(RequestError):
    """The body is well formed, but its inputs are not what the model's signature says."""

    kind = "invalid_input"


class UnsupportedEncoding(RequestError):
    """The body's media type or content encoding is not understood."""

    kind = "unsupported_encoding"


class RequestTooLarge(RequestError):
    """Body or rows are over a limit."""

    kind = "too_large"


class NotServed(RequestError):
    """No such model or version here."""

    kind = "not_found"


class ModelUnavailable(RequestError):
    """The version exists but is not ready, or the server is draining."""

    kind = "unavailable"


class Overloaded(RequestError):
    """Too many requests under way."""

    kind = "overloaded"


class RateLimited(RequestError):
    """One client asks faster than it may; `wait_s` is how long until it may again."""

    kind = "rate_limited"

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"This client asks faster than it may. Try again in {wait_s:.3g} s.")
        self.wait_s = wait_s


class Unauthorised(RequestError):
    """Predictions are for holders of a token only, and none came, or a wrong one."""

    kind = "unauthorised"


class Cancelled(RequestError):
    """The client went away while its request was waiting."""

    kind = "cancelled"


class TimedOut(RequestError):
    """The deadline passed before the model answered."""

    kind = "timeout"


class PredictionFailed(RequestError):
    """The model raised an exception."""

    kind = "prediction_failed"


class Unrecorded(RequestError):
    """The prediction log could not take the record, and its policy is to refuse."""

    kind = "unrecorded"
