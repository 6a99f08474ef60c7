"""What can go wrong for a client, as a tree; the text is the server's own sentence wherever it sent one.

    ClientError
    ├── Unreachable         no connection, or it broke, or no answer within the time
    └── Refused             the server answered, and did not do what was asked
        ├── InputInvalid    the inputs, the body or the order of things is wrong: `violations` says where
        ├── NotAllowed      no token, a wrong one, or one without the scope
        ├── Unknown         there is no such model, version or address
        ├── NotPossible     not in the present state: no rollout runs, its artifact is in quarantine, …
        ├── Busy            too much at once, or not ready: `retry_after_s`
        └── Failed          the model or the server failed
"""

from __future__ import annotations

from serinus.serving.errors import SerinusError, Violation

__all__ = ["Busy", "ClientError", "Failed", "InputInvalid", "NotAllowed", "NotPossible", "Refused", "Unknown",
           "Unreachable", "refusal"]


class ClientError(SerinusError):
    """Root of what `serinus.Client` raises by itself."""


class Unreachable(ClientError):
    """No whole answer came: nobody listens there, the connection broke, or the time was over."""


class Refused(ClientError):
    """The server answered with an error. `request_id` finds the request in its log and traces."""

    def __init__(self, message: str, status: int, request_id: str = "", violations: tuple[Violation, ...] = (),
                 retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.violations = violations
        self.retry_after_s = retry_after_s


class InputInvalid(Refused):
    """What was sent is not what the model or the call takes."""


class NotAllowed(Refused):
    """The token is missing, wrong, or lacks the scope."""


class Unknown(Refused):
    """No such model, version, prediction or address."""


class NotPossible(Refused):
    """Not in the present state."""


class Busy(Refused):
    """Too much at once, or not ready; after `retry_after_s` it may be otherwise."""


class Failed(Refused):
    """The model raised, the time that it may take was over, or the server failed."""


_BY_STATUS: dict[int, type[Refused]] = {
    401: NotAllowed, 403: NotAllowed, 404: Unknown, 409: NotPossible, 429: Busy, 503: Busy}


def refusal(status: int) -> type[Refused]:
    """The class of error that an HTTP status means."""
    return _BY_STATUS.get(status, Failed if status >= 500 else InputInvalid)
