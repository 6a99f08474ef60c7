"""The doors of a reference: frames, files, arrays, chunks and live rows give the same profile of the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serinus.monitors import Learner, Reference
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import MISSING
from serinus.monitors.reference import count_frame
from serinus.monitors.sample import Rows
from tests.monitors.references import frame, profile


def test_a_frame_becomes_features() -> None:
    """Inputs in the frame's order, then outputs, then joint ones; the time is none of them."""
    whole = profile()
    joint = ["novelty", *(f"joint[{i}]" for i in range(16))]
    text = [f"comment.{view}" for view in ("length", "words", "non_letters", "digits", "unknown_words", "script")]
    inputs = ["age", "amount", "children", "member", "colour", *text, "born", "born.hour"]
    assert whole.names == (*inputs, "answer", *joint)
    assert whole.rows == 2000 and whole.source == {"kind": "frame", "time": "at"}
    assert whole.span == ("2024-01-01T00:00:00+00:00", "2024-03-24T07:00:00+00:00")


def test_the_reference_itself_is_counted_the_same_again() -> None:
    """Encoding its frame with its own profile gives its counts and sums."""
    whole = profile()
    again = count_frame(whole, frame())
    rest = [index for index, name in enumerate(whole.names) if name not in ("novelty", "comment.unknown_words")]
    assert np.array_equal(again.table[rest], whole.counts[rest]) and np.array_equal(again.sums[rest], whole.sums[rest])
    assert (again.table.sum(axis=1) == 2000).all() and again.rows == 2000


def test_target_time_and_group_are_no_features() -> None:
    """They are kept as facts."""
    whole = Reference.from_frame(frame(300), target="member", time="at", group="colour")
    assert not {"member", "at", "colour"} & {one.field for one in whole.features}
    assert whole.source == {"kind": "frame", "target": "member", "time": "at", "group": "colour"}


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_file_is_its_frame(name: str, tmp_path: Path) -> None:
    """The counts are the same; CSV and Parquet keep every kind of column."""
    data, path = frame(500), tmp_path / name
    data.to_csv(path, index=False) if name.endswith("csv") else data.to_parquet(path)
    told: list[tuple[str, int, int | None]] = []
    found = Reference.from_file(path, time="at", outputs=["answer"], progress=lambda *step: told.append(step))
    expected = Reference.from_frame(data, time="at", outputs=["answer"])
    assert found.names == expected.names and np.array_equal(found.counts, expected.counts)
    assert found.source["file"] == name and told[0][0] == "reading" and told[-1] == ("counting", 500, 500)


def test_arrays_and_chunks_are_the_same_rows() -> None:
    """However they are cut."""
    random = np.random.default_rng(0)
    inputs, outputs = {"x": random.normal(size=(3000, 3))}, {"y": random.integers(0, 2, 3000)}
    whole = Reference.from_arrays(inputs, outputs)
    parts = [Rows({"x": inputs["x"][i : i + 250]}, {"y": outputs["y"][i : i + 250]}) for i in range(0, 3000, 250)]
    chunked = Reference.from_chunks(lambda: parts)
    assert whole.source["kind"] == "arrays" and np.array_equal(whole.blocks, chunked.blocks)
    assert whole.features[whole.names.index("y")].kind == "categorical" and whole.features == chunked.features


def test_the_first_live_rows_can_be_learnt() -> None:
    """Requests of any size; fields that some leave out are missing there; the profile says what it is."""
    random, learner = np.random.default_rng(0), Reference.learn(1000)
    assert isinstance(learner, Learner)
    while not learner.complete:
        inputs = {"a": random.normal(size=7), "b": random.normal(size=7)}
        if random.random() < 0.5:
            del inputs["b"]
        learner.add(inputs, {"y": random.random(7)})
    whole = learner.profile()
    assert whole.rows == learner.rows == 1000
    assert whole.source == {"kind": "live", "reason": "learnt from the first 1,000 live rows"}
    assert whole.counts[0, MISSING] == 0 < whole.counts[1, MISSING] < 1000


def test_a_column_that_is_not_there_is_named() -> None:
    """With those that are."""
    with pytest.raises(InvalidData, match=r"no column 'tgt'; it has age, amount"):
        Reference.from_frame(frame(10), target="tgt")
    with pytest.raises(InvalidData, match="as many times"):
        Reference.from_arrays({"x": np.zeros(5)}, times=np.zeros(4))
