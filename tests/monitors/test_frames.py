"""Frames and files become arrays, in chunks, whatever their dtypes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serinus.monitors.errors import InvalidData
from serinus.monitors.frames import arrays_of, chunk_rows, frames_in, is_category, slices_of, times_of
from tests.monitors.references import frame


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([1, 2]), np.array([1, 2])),
        (pd.Series([True, False]), np.array([True, False])),
        (pd.Series([1, None], dtype="Int64"), np.array([1, np.nan])),
        (pd.Series([1.5, None], dtype="Float32"), np.array([1.5, np.nan])),
        (pd.Series([True, None], dtype="boolean"), np.array([True, None], object)),
        (pd.Series(["a", None]), np.array(["a", None], object)),
        (pd.Series(["a", None], dtype="string"), np.array(["a", None], object)),
        (pd.Series(["a", None], dtype="category"), np.array(["a", None], object)),
        (pd.Series([3, None], dtype="category"), np.array([3, None], object)),
        (pd.arrays.SparseArray([0.0, 2.0]), np.array([0.0, 2.0])),
        (pd.Series(["2024-01-01"], dtype="datetime64[ns]"), np.array(["2024-01-01"], "M8[us]")),
        (pd.Series(["2024-01-01T12:00+02:00"], dtype="datetime64[ns, UTC]"), np.array(["2024-01-01T10:00"], "M8[us]")),
        (pd.Series([[1, 2], [3, 4]]), np.array([[1.0, 2.0], [3.0, 4.0]])),
    ],
)
def test_a_column_becomes_an_array(column: pd.Series, expected: np.ndarray) -> None:
    """Of its kind, with None or NaN for what is missing; a column of lists is a tensor."""
    found = arrays_of(pd.DataFrame({"x": column}))["x"]
    assert found.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(found, expected)


def test_lists_of_several_lengths_stay_objects() -> None:
    """They are no tensor."""
    assert arrays_of(pd.DataFrame({"x": [[1], [2, 3]]}))["x"].dtype == object


def test_two_columns_of_one_name_are_refused() -> None:
    """By name; names that are numbers become texts."""
    with pytest.raises(InvalidData, match="several columns named 'a'"):
        arrays_of(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    assert list(arrays_of(pd.DataFrame([[1, 2]]))) == ["0", "1"]


def test_categories_are_pandas_word() -> None:
    """Whatever the values are."""
    assert is_category(pd.Series([1, 2], dtype="category")) and not is_category(pd.Series(["a"]))


def test_chunks_are_small_however_wide() -> None:
    """A frame is cut by rows; the parts are the whole."""
    data = pd.DataFrame(np.arange(90_000).reshape(30_000, 3))
    parts = list(slices_of(data))
    assert max(map(len, parts)) == chunk_rows(3) and pd.concat(parts).equals(data)
    assert chunk_rows(10**9) == 64 and chunk_rows(2000) * 2000 < 1 << 23


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.csv.gz", "r.parquet", "r.pq"])
def test_files_are_read_in_chunks_and_again(name: str, tmp_path: Path) -> None:
    """Every type gives the frame's values, twice."""
    data, path = frame(200), tmp_path / name
    if name.endswith(("parquet", "pq")):
        data.to_parquet(path)
    else:
        data.to_csv(path, sep="\t" if name.endswith("tsv") else ",", index=False)
    read = frames_in(path)
    for _ in range(2):
        found = pd.concat(list(read()))
        assert found["age"].to_numpy() == pytest.approx(data["age"].to_numpy(), nan_ok=True)
        assert list(found.columns) == list(data.columns)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """Missing, of another type, empty, or no Parquet inside."""
    with pytest.raises(InvalidData, match="There is no file"):
        frames_in(tmp_path / "none.csv")
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(InvalidData, match=r"wanted one of \.csv"):
        frames_in(tmp_path / "a.xlsx")
    for name in ("empty.csv", "bad.parquet"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InvalidData, match=f"File '{name}' cannot be read"):
            list(frames_in(tmp_path / name)())


def test_times_are_seconds_or_an_order() -> None:
    """Dates of any spelling are seconds; numbers stay numbers."""
    noon = datetime(2024, 5, 17, 12, tzinfo=UTC).timestamp()
    for column in (pd.Series(["2024-05-17 12:00", None]), pd.to_datetime(pd.Series(["2024-05-17 14:00+02:00", None]))):
        times, seconds = times_of(column)
        assert seconds and times[0] == noon and np.isnan(times[1])
    times, seconds = times_of(pd.Series([2015, 2016]))
    assert not seconds and times.tolist() == [2015, 2016]
    with pytest.raises(InvalidData, match="Time column 'when': wanted times or numbers"):
        times_of(pd.Series(["soon"], name="when"))
