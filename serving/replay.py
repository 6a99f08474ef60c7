"""What was asked before, asked again: logged requests of a model, answered by another of its versions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from serinus.models.registry import Registry
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion
from serinus.monitors.builder import Progress
from serinus.monitors.evaluation.replay import Replayed, replay
from serinus.monitors.record import PredictionRecord
from serinus.serving.errors import CommandError
from serinus.serving.expectations import expectations_of
from serinus.serving.home import Home
from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import Choice, entries
from serinus.serving.prediction_log.frame import FrameError

__all__ = ["hidden", "latest", "replay_log"]


def hidden(registry: Registry, version: ModelVersion) -> list[str]:
    """Inputs whose values are not in the log as they came."""
    return sorted(expectations_of(version, registry).personal)


def latest(folder: Path, model: str, many: int) -> Iterator[PredictionRecord]:
    """The newest requests of a model, of as few segments as hold them."""
    found = 0
    for entry in sorted(entries(folder), key=lambda entry: entry.last_ns, reverse=True):
        try:
            records = list(entry.records(Choice(model)))
        except (FrameError, OSError):
            continue
        yield from records[-(many - found):]
        found += min(len(records), many - found)
        if found >= many:
            return


def replay_log(tag: str, home: Home, seconds: float, *, limit: int = 0, shadow: bool = False,
               progress: Progress | None = None) -> tuple[ModelVersion, Replayed]:
    """Ask a version what its model was asked in the last seconds; with `shadow` what its shadows were, and compared
    with what they answered. Raises CommandError where that cannot be."""
    registry = Registry(home.path)
    version = registry.get(*registry.resolve(tag))
    if redacted := hidden(registry, version):
        raise CommandError(f"{', '.join(redacted)} is redacted in the log, so what {version.name} was asked cannot be "
                           "asked again.", 3)
    since = time.time_ns() - int(seconds * 1e9)
    folder = home.shadow_log if shadow else home.log
    records = list(_since(folder, version.name, since, shadow=shadow))
    records = sorted(records, key=lambda record: record.received_ns)[-limit:] if limit else records
    if not records:
        raise CommandError(f"The log in {folder} has no request of {version.name!r} in the last "
                           f"{seconds / 3600:g} h.", 3)
    model = registry.load(version, trust=Trust(home.path))
    try:
        return version, replay(records, model, name_of=prediction_id, clock=time.perf_counter,
                               whole=sum(record.rows for record in records), progress=progress)
    finally:
        model.close()


def _since(folder: Path, model: str, since: int, *, shadow: bool) -> Iterator[PredictionRecord]:
    for entry in entries(folder):
        try:
            if entry.last_ns >= since:
                yield from (record for record in entry.records(Choice(model, since_ns=since))
                            if (record.role == "shadow") == shadow)
        except (FrameError, OSError):
            continue
