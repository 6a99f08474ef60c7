"""The self-check: what the detector would have said of the reference itself.

A dead zone is as good as the reference's blocks are typical. So the detector is fitted to the first half of them and
replayed on the second, which it has not seen; every alarm there is a false one. A feature that alarms wanders in a way
that the dead zone does not cover, and its ε is raised by half until a replay of the whole reference is quiet. Where
that leaves a dead zone of more than 0.25 standard deviations, the stated run length is not supported for the feature,
and the check says so: then season cells may help, or a reference that covers more time.

Detectors are fitted to the steps here, not to the profile's counts: those of features that were learnt from rows
(novelty, unknown words) leave these rows out, since they seem more usual than new ones do.

The finer the steps, the more the check sees: give `steps`, counts of 64 rows or more in time order (`count_steps`),
where the rows are at hand; the profile's own blocks do otherwise. Windows learn their dispersion from the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.dead_zone import dead_zone
from serinus.monitors.detectors import TOO_WIDE, estimated, weights_of, width
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import WIDTH
from serinus.monitors.profile import BLOCKS, Profile
from serinus.monitors.sequential.e_detector import EDetector
from serinus.monitors.windows import WindowTest

__all__ = ["SelfCheck", "count_steps"]

FORMAT = 1

Table = NDArray[np.int64]
Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

_CELLS = 60_000
"""Steps times features, at most: a longer replay adds neighbouring steps."""
_PASSES = 8
_RAISE = 1.5


@dataclass(frozen=True)
class SelfCheck:
    """The result, to be stored with its profile.

    Attributes:
        digest: of the profile.
        run_length: that was tried.
        rows: replayed rows that the detector had not seen; 0 where the reference is too short for it.
        alarms: on them.
        wandering: features whose dead zone was raised.
        unsupported: those of them for which the run length is not supported.
        too_small: features for which the reference has too few rows.
        raised: by what each feature's dead zone is multiplied.
        windows: what the steps say of windows (`WindowTest.to_json`).
    """

    digest: str
    run_length: float
    rows: int
    alarms: int
    wandering: tuple[str, ...]
    unsupported: tuple[str, ...]
    too_small: tuple[str, ...]
    raised: tuple[float, ...]
    windows: Mapping[str, Any]

    @classmethod
    def of(cls, profile: Profile, steps: Table | None = None, run_length: float = 1_000_000.0) -> SelfCheck:
        """Check a profile on its own blocks, or on finer `steps` `[T, R, 18]` of its rows in time order."""
        tables = _joined(profile.blocks if steps is None else steps)
        half = len(tables) // 2
        raised, alarms = np.ones(len(profile.features)), 0
        if half:
            known = _blocks(tables[:half])
            first = _Replay(profile, known, dead_zone(known, profile.ordered), run_length)
            alarms = _replayed(first, tables[half:], raised, 1.0)[1]
            raised = _replayed(first, tables[half:], raised)[0] if alarms else raised
        whole = _Replay(profile, tables, dead_zone(profile.blocks, profile.ordered), run_length)
        for _ in range(_PASSES):
            raised, left = _replayed(whole, tables, raised)
            if not left:
                break
        too_small = width(profile.counts, profile.ordered, estimated(profile)) > TOO_WIDE
        wide = width(profile.counts, profile.ordered, whole.zone * raised[:, None, None]) > TOO_WIDE
        wandering = raised > 1
        return cls(
            profile.digest,
            run_length,
            int(tables[half:].sum(-1).max(-1).sum()) if half else 0,
            alarms,
            _named(profile, wandering),
            _named(profile, wide & ~too_small),
            _named(profile, too_small),
            tuple(raised.tolist()),
            WindowTest.of(tables, profile.ordered, weights_of(profile.features)).to_json(),
        )

    @property
    def text(self) -> str:
        """The result in sentences."""
        expected = self.rows / self.run_length
        said = [
            f"Replayed {self.rows:,} rows of your own reference: {self.alarms} alarm{'s' * (self.alarms != 1)} "
            f"(expected ≤ {expected:.2g})."
            if self.rows
            else "The reference has too few rows to replay a part of it."
        ]
        if self.wandering:
            said.append(f"Wandering in the reference, so less closely watched: {_list(self.wandering)}.")
        if self.unsupported:
            said.append(
                f"At one false alarm in {self.run_length:,.0f} rows only gross changes show in "
                f"{_list(self.unsupported)}; a longer reference or seasons may help."
            )
        if self.too_small:
            said.append(f"The reference is too small to monitor {_list(self.too_small)}.")
        return " ".join(said)

    def test(self, profile: Profile) -> WindowTest:
        """Give the window test with what the steps said."""
        return WindowTest.from_json(self.windows, profile.counts, profile.ordered, weights_of(profile.features))

    def to_json(self) -> dict[str, Any]:
        """Give the result as JSON values, marked with its format."""
        return {"format": FORMAT, **asdict(self), "text": self.text}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SelfCheck:
        """Read what `to_json` wrote. Raises InvalidData for another format or missing parts."""
        if document.get("format") != FORMAT:
            raise InvalidData(
                f"This self-check has format {document.get('format')!r}, and this Serinus reads format {FORMAT}; "
                "register the reference again."
            )
        values = {name: document.get(name) for name in cls.__dataclass_fields__}
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})  # type: ignore[arg-type]


def count_steps(profile: Profile, chunks: Iterable[tuple[Arrays, Arrays | None]], rows: int = 64) -> Table:
    """Count inputs and outputs, in time order, in steps of so many rows `[T, R, 18]`; a rest is left out."""
    features = len(profile.features)
    tables, left = [], np.empty((0, features), np.uint8)
    for inputs, outputs in chunks:
        codes = np.concatenate([left, profile.encoder.encode(inputs, outputs)])
        whole = len(codes) // rows
        tables.append(tables_of(codes[: whole * rows], rows))
        left = codes[whole * rows :]
    return np.concatenate(tables) if tables else np.empty((0, features, WIDTH), np.int64)


def tables_of(codes: NDArray[np.uint8], rows: int) -> Table:
    """Count codes `[n, R]` in steps of so many rows, `[n / rows, R, 18]`."""
    steps, features = len(codes) // rows, codes.shape[1]
    cells = codes.reshape(steps, rows, features) + np.arange(0, features * WIDTH, WIDTH)
    cells += (np.arange(steps) * features * WIDTH)[:, None, None]
    return np.bincount(cells.ravel(), minlength=steps * features * WIDTH).reshape(steps, features, WIDTH)


class _Replay:
    """A detector of some tables, whose dead zone can be raised."""

    def __init__(self, profile: Profile, tables: Table, zone: Floats, run_length: float) -> None:
        self._counts, self._ordered, self._run_length = tables.sum(0), profile.ordered, run_length
        self._weights = weights_of(profile.features)
        self.zone = zone

    def detector(self, raised: Floats) -> EDetector:
        zone = self.zone * raised[:, None, None]
        return EDetector(self._counts, self._ordered, zone, self._weights, self._run_length)


def _replayed(replay: _Replay, tables: Table, raised: Floats, by: float = _RAISE) -> tuple[Floats, int]:
    """Replay tables; at every alarm raise the dead zone of the features that it names, and begin anew."""
    detector, alarms, raised = replay.detector(raised), 0, raised.copy()
    evidence = detector.start()
    for table in tables:
        evidence = detector.step(evidence, table)
        if detector.alarms(evidence):
            alarms += 1
            named = detector.certain(evidence)
            named[detector.log_features(evidence).argmax()] = True
            raised[named] *= by
            detector = replay.detector(raised)
            evidence = detector.start()
    return raised, alarms


def _joined(tables: Table) -> Table:
    """Add neighbours until there are few enough steps to replay."""
    while len(tables) > BLOCKS and tables.shape[0] * tables.shape[1] > _CELLS:
        tables = np.add.reduceat(tables, np.arange(0, len(tables), 2), axis=0)
    return tables


def _blocks(tables: Table) -> Table:
    return np.stack([part.sum(0) for part in np.array_split(tables, min(BLOCKS, len(tables)))])


def _named(profile: Profile, which: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(feature.name for feature, here in zip(profile.features, which, strict=True) if here)


def _list(names: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
