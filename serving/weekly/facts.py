"""What is known of one model over some days, from the files of a home: no server need run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.monitors.builder import Progress
from serinus.monitors.metrics import Measure
from serinus.serving.home import Home
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.published_alerts import as_document, published
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.snapshot import read_snapshot
from serinus.serving.store import JournalEntry, SqliteStore, Store, StoreError

__all__ = ["DAY_S", "Facts", "Quality", "Traffic", "gather", "traffic"]

DAY_S = 86_400
_HOUR_S = 3_600
_HOUR_NS = _HOUR_S * 10**9
_PAGE = 1000
_NOTHING = Measure(None, None, 0, "no truth is known")


class Quality(NamedTuple):
    """What the answers of a version in a role turned out to be worth; `before` is the same in as many days before."""

    version: str
    role: str
    rows: int
    """In hours of which truths are known."""
    labelled: int
    measure: str
    larger_is_better: bool
    now: Measure
    before: Measure


class Traffic(NamedTuple):
    """Rows in the prediction log, by hour since 1970 and version; since when it holds any row of any model."""

    rows: Mapping[tuple[int, str], int]
    since: float | None


@dataclass(frozen=True)
class Facts:
    """Times are Unix seconds. `journal` is that of the days asked about, oldest first."""

    model: str
    begin: float
    end: float
    record: RolloutRecord | None = None
    journal: tuple[JournalEntry, ...] = ()
    alerts: tuple[Mapping[str, Any], ...] = ()
    monitors: tuple[Mapping[str, Any], ...] = ()
    """Documents of the versions that are watched."""
    quality: tuple[Quality, ...] = ()
    harm: tuple[Mapping[str, Any], ...] = ()
    """`version`, `role`, `state` and `text` of the harm alarms."""
    traffic: Traffic = field(default_factory=lambda: Traffic({}, None))
    remarks: tuple[str, ...] = ()
    """What could not be read, and why."""

    @property
    def days(self) -> float:
        """How many are asked about."""
        return (self.end - self.begin) / DAY_S


def gather(home: Home, model: str, begin: float, end: float, progress: Progress | None = None) -> Facts:
    """Read everything; `progress` hears how many rows of the log were counted. Raises `ModelNotFound` for a name that
    neither registry nor store knows."""
    registry = Registry(home.path)
    known = Facts(model, begin, end, monitors=_monitors(home, model), harm=_harm(home, model),
                  traffic=traffic(home.log, model, begin - (end - begin), end, progress))
    try:
        store = SqliteStore(home.store, create=False)
    except StoreError as error:
        return _without_store(known, home, registry, str(error))
    with closing(store):
        try:
            return _with_store(known, home, registry, store)
        except StoreError as error:
            return _without_store(known, home, registry, str(error))


def _with_store(known: Facts, home: Home, registry: Registry, store: Store) -> Facts:
    from serinus.serving.alerting import message_counts, read_book

    record = store.record(known.model)
    _check_known(registry, known.model, record)
    book = as_document(read_book(store)[0], message_counts(store), known.end)
    return Facts(**{**vars(known), "record": record, "journal": tuple(_journal(store, known)),
                    "alerts": _open_alerts(book, known.model),
                    "quality": tuple(_quality(home, registry, store, known))})


def _without_store(known: Facts, home: Home, registry: Registry, why: str) -> Facts:
    record = read_snapshot(home.snapshot).records.get(known.model)
    _check_known(registry, known.model, record)
    return Facts(**{**vars(known), "record": record, "alerts": _open_alerts(published(home.run), known.model),
                    "remarks": (f"The store could not be read, so its journal is missing here: {why}",)})


def _check_known(registry: Registry, model: str, record: RolloutRecord | None) -> None:
    if record is None and not registry.versions(model):
        registry.get(model)


def _journal(store: Store, known: Facts) -> Iterator[JournalEntry]:
    after = 0
    while page := store.journal(known.model, after=after, limit=_PAGE):
        yield from (entry for entry in page if known.begin <= entry.time < known.end)
        after = page[-1].seq or 0


def _open_alerts(document: Mapping[str, Any], model: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(alert for alert in document["alerts"] if alert["model"] == model and alert["state"] != "resolved")


def _monitors(home: Home, model: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(view.document for view in MonitorFiles(home.monitors).views(model))


def _harm(home: Home, model: str) -> tuple[Mapping[str, Any], ...]:
    from serinus.serving.errors import ControlRefused
    from serinus.serving.performance import published as performance

    try:
        versions = performance(home.performance, model)["versions"]
    except ControlRefused:
        return ()
    return tuple({"version": one["version"], "role": one["role"], **one["harm"]} for one in versions
                 if one["harm"] is not None)


def _quality(home: Home, registry: Registry, store: Store, known: Facts) -> Iterator[Quality]:
    """Exact sums over the windows of ground truth; of hours of which too little is known yet, nothing."""
    import orjson

    from serinus.serving.ground_truth.columns import answers_of
    from serinus.serving.ground_truth.summary import WindowName
    from serinus.serving.performance.document import main_measure
    from serinus.serving.performance.realised import Realised, together
    from serinus.serving.steward.join_ground_truth import WINDOW

    realised = Realised()
    windows_of = {WindowName.of(document.key): {"revision": document.revision, **orjson.loads(document.body)}
                  for document in store.documents(WINDOW) if document.key.startswith(f"{known.model}:")}
    realised.take(windows_of, int(2 * known.begin - known.end) // _HOUR_S)
    early = _too_early(home, known.model)
    for version, role in sorted({(name.version, name.role) for name in realised.windows}):
        try:
            answers = answers_of(registry.get(known.model, version).signature)
        except ModelError:  # removed since
            continue
        measure = main_measure(answers.definition if answers else None)
        windows = {hour: window for hour, window in realised.of(known.model, version, role).items()
                   if (version, role, hour) not in early}
        mine = {hour: window for hour, window in windows.items() if known.begin <= hour * _HOUR_S < known.end}
        if answers is None or measure is None or not mine:
            continue
        earlier = [window for hour, window in windows.items()
                   if 2 * known.begin - known.end <= hour * _HOUR_S < known.begin]
        definition = answers.definition
        now, before = (definition.measure(together(some, definition.digest)).get(measure, _NOTHING)
                       for some in (mine.values(), earlier))
        yield Quality(version, role, sum(window.predictions for window in mine.values()),
                      sum(window.labelled for window in mine.values()), measure,
                      definition.task == "classification", now, before)


def _too_early(home: Home, model: str) -> set[tuple[str, str, int]]:
    """Version, role and hour of the windows in which early truths would mislead."""
    from datetime import datetime

    from serinus.serving.ground_truth.published import published as ground_truth

    windows = ground_truth(home.run)["models"].get(model, {"windows": []})["windows"]
    return {(window["version"], window["role"], int(datetime.fromisoformat(window["window"]).timestamp()) // _HOUR_S)
            for window in windows if not window["mature"]}


def traffic(folder: Path, model: str, begin: float, end: float, progress: Progress | None = None) -> Traffic:
    """Count the rows of a model in a prediction log; of Parquet files without opening them. A segment that cannot be
    read counts nothing."""
    from serinus.serving.prediction_log import Choice, entries, read_segment
    from serinus.serving.prediction_log.frame import HEADER_BYTES, FrameError, unpack_header

    counted: Counter[tuple[int, str]] = Counter()
    began: list[float] = []
    wanted = Choice(model=model, since_ns=int(begin * 1e9), until_ns=int(end * 1e9))
    for entry in entries(folder):
        manifest = entry.manifest
        if manifest is not None:
            began.append(manifest.first_ms / 1000)
            for part in filter(wanted.takes_part, manifest.parts):
                counted[part.hour, part.shape.version] += part.rows
            continue
        try:
            with entry.path.open("rb") as file:
                began.append(unpack_header(file.read(HEADER_BYTES))[2] / 1e9)
            _count(counted, read_segment(entry.path, wanted), progress)
        except (FrameError, OSError):
            continue
    return Traffic(dict(counted), min(began, default=None))


def _count(counted: Counter[tuple[int, str]], records: Iterable[Any], progress: Progress | None) -> None:
    done = counted.total()
    for record in records:
        counted[record.received_ns // _HOUR_NS, record.version] += record.rows
        done += record.rows
        if progress is not None:
            progress("The prediction log", done, None)
