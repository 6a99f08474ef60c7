"""What is said about a backend that does not take a signal: one line when that begins, with the exporter's own reason,
and one when it is over.

OpenTelemetry's exporters log a line for every try; their lines are heard here and not printed.
"""

from __future__ import annotations

import logging
import threading

__all__ = ["STEWARDS_S", "WORKERS_S", "Outage", "patience"]

WORKERS_S, STEWARDS_S = 1.8, 0.8
"""How long a backend is waited for at the end of a server: by all workers at once, then by the steward. With what comes
in between, three seconds."""

_log = logging.getLogger("serinus.telemetry")
_LONGEST = 300
_FAILING_S = 1.0


class Outage:
    """Told of every export of one signal, by the thread that exports. `meanwhile` says what an outage does not harm."""

    def __init__(self, signal: str, meanwhile: str) -> None:
        self.lasts = False
        self._signal = signal
        self._meanwhile = meanwhile
        _listen()

    def tell(self, sent: bool, lost: str = "") -> None:
        """Whether an export was taken; `lost` says at the end of an outage what it cost."""
        reason = _heard.forget()
        if sent is not self.lasts:
            return
        self.lasts = not sent
        if sent:
            _log.warning("The OpenTelemetry backend takes %s again%s.", self._signal, lost)
        else:
            _log.warning("The OpenTelemetry backend does not take %s; %s.%s", self._signal, self._meanwhile,
                         f" The exporter says: {reason}" if reason else "")


def patience(timeout_s: float, outage: Outage) -> float:
    """How long to wait at a process's end: a backend that did not take the last export gets a second."""
    return min(timeout_s, _FAILING_S) if outage.lasts else timeout_s


class _Heard(logging.Handler):
    """Keeps the first thing that the exporter of each thread says: later ones tell of giving up, not of why."""

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if not getattr(self._of_thread, "text", ""):
            self._of_thread.text = " ".join(record.getMessage().split())[:_LONGEST]

    def forget(self) -> str:
        """What was heard since this was asked last."""
        text, self._of_thread.text = getattr(self._of_thread, "text", ""), ""
        return text


_heard = _Heard()


def _listen() -> None:
    exporters = logging.getLogger("opentelemetry.exporter.otlp")
    exporters.handlers[:] = [_heard]
    exporters.propagate = False
