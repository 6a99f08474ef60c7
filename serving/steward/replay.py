"""Replay: the latest logged requests once more, by the candidate, before it gets any.

It runs in a process of its own, since a candidate may do to its process whatever it likes. Requests whose inputs are
personal are not replayed: the log has hashes in their place.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.loading import load
from serinus.models.trust import Trust
from serinus.monitors.record import PredictionRecord
from serinus.serving.expectations import guard_of
from serinus.serving.home import Home, RunFolder
from serinus.serving.prediction_log import Choice, entries
from serinus.serving.processes import child_environment, die_with_parent
from serinus.serving.served_models import bundle_folders, open_registry
from serinus.serving.settings import Settings

__all__ = ["Replay", "replay"]

_REQUESTS = 200
_SEGMENTS = 4
_BUDGET_S = 20.0
_LIMIT_S = 120.0


class Replay:
    """A replay under way."""

    def __init__(self, process: subprocess.Popen[bytes], tag: str) -> None:
        self._process = process
        self._tag = tag
        self._until = time.monotonic() + _LIMIT_S
        self._said: bytes | None = None

    @classmethod
    def begin(cls, run: RunFolder, model: str, stable: str, candidate: str) -> Self:
        """Start it; see `done`."""
        process = subprocess.Popen([sys.executable, "-m", __name__, model, stable, candidate],
                                   env=child_environment(run), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return cls(process, f"{model}:{candidate}")

    @property
    def done(self) -> bool:
        """Whether it has ended, by itself or because it took too long."""
        if self._said is not None:
            return True
        if self._process.poll() is None:
            if time.monotonic() < self._until:
                return False
            self._process.kill()
        self._said = self._process.communicate()[0]
        return True

    @property
    def document(self) -> dict[str, Any]:
        """What was found, as JSON values."""
        with suppress(orjson.JSONDecodeError):
            return dict(orjson.loads(self._said or b""))
        return {}

    @property
    def problem(self) -> str:
        """Why the candidate must not get requests; empty when nothing speaks against it."""
        code, found = self._process.returncode, self.document
        if code == -signal.SIGKILL:
            return f"{self._tag} did not end its replay of logged requests within {_LIMIT_S:g} s."
        if code < 0:
            return f"{self._tag} ended its process ({signal.Signals(-code).name}) in a replay of logged requests."
        if code or not found:
            return f"{self._tag} could not be tried on logged requests; the server's log says why."
        if found["failed"]:
            return (f"{self._tag} failed on {found['failed']:,} of {found['requests']:,} logged requests that version "
                    f"{found['stable']} has answered, first with: {found['first_failure']}")
        return ""

    @property
    def report(self) -> str:
        """One sentence for the journal."""
        found = self.document
        if not found.get("requests"):
            return str(found.get("why_not", ""))
        compared = found["compared"]
        differs = f", {found['differs']:,} of {compared:,} with another class" if compared else ""
        return (f"{found['requests']:,} logged requests were answered again without an error{differs}, in "
                f"{found['median_ms']:.3g} ms each.")

    def end(self) -> None:
        """Let go of it, whatever it is doing."""
        if self._said is None:
            self._process.kill()
            self._said = self._process.communicate()[0]


def replay(settings: Settings, model: str, stable: str, candidate: str) -> dict[str, Any]:
    """Have the candidate answer what stable answered last."""
    registry = open_registry(settings)
    version = registry.get(model, candidate)
    for each in (version, registry.get(model, stable)):
        guard = guard_of(each, registry, settings.validation.mode)
        if guard is not None and guard.personal:
            return {"requests": 0, "failed": 0, "why_not": "Nothing was replayed: inputs are personal."}
    records = list(_latest(Home(settings.home), model, stable))
    if not records:
        return {"requests": 0, "failed": 0, "why_not": "Nothing was logged that could be replayed."}
    bundled = [digest for folder in bundle_folders() for digest in Trust(folder)]
    loaded = load(version, trust=Trust(settings.home, extra=bundled))
    failures, took, compared, differs = [], [], 0, 0
    until = time.monotonic() + _BUDGET_S
    for record in records:
        began = time.perf_counter()
        try:
            outputs = loaded.predict(record.inputs)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        else:
            more, others = _compared(record.outputs, outputs)
            compared, differs = compared + more, differs + others
        took.append(time.perf_counter() - began)
        if time.monotonic() > until:
            break
    return {"requests": len(took), "failed": len(failures), "first_failure": (failures or [""])[0][:300],
            "compared": compared, "differs": differs, "median_ms": 1e3 * float(np.median(took)), "stable": stable}


def _latest(home: Home, model: str, version: str) -> Iterator[PredictionRecord]:
    """The last requests that a version answered as stable, of the segments that were written last."""
    found: deque[PredictionRecord] = deque(maxlen=_REQUESTS)
    for entry in sorted(entries(home.log), key=lambda entry: entry.last_ns)[-_SEGMENTS:]:
        found.extend(record for record in entry.records(Choice(model, version)) if record.role == "stable")
    yield from found


def _compared(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """How many rows have a class in both, and in how many of them it differs."""
    for name, values in before.items():
        other = after.get(name)
        if values.dtype.kind != "f" and values.ndim == 1 and other is not None and other.shape == values.shape:
            return len(values), int((values.astype(str) != other.astype(str)).sum())
    return 0, 0


def main(arguments: list[str]) -> int:
    """The program: model, stable and candidate version; prints what was found as JSON."""
    die_with_parent()
    sys.stdout.buffer.write(orjson.dumps(replay(Settings.handed_over(), *arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
