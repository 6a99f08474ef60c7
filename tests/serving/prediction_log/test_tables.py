"""The log as Arrow and pandas is the same over segments and Parquet, and narrowed before it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serinus.serving.prediction_log import Choice, SegmentWriter
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.prediction_log.tables import arrow, pandas
from tests.serving.prediction_log.examples import NOW_NS, records, texts, write


def test_segments_and_parquet_give_the_same_table(tmp_path: Path) -> None:
    """One row for each prediction, fields of all versions, model and version beside them."""
    folder = tmp_path / "log"
    write(folder, records()).close()
    before = arrow(folder)
    compact(folder)
    after = arrow(folder)
    assert before.schema == after.schema
    order = [("prediction_id", "ascending")]
    plain = [name for name in before.column_names if name not in ("inputs", "violations")]
    assert before.sort_by(order).select(plain).equals(after.sort_by(order).select(plain))
    assert str(before.sort_by(order)["inputs"].to_pylist()) == str(after.sort_by(order)["inputs"].to_pylist())
    assert before.num_rows == sum(record.rows for record in records())
    assert before.column_names[:7] == ["prediction_id", "request_id", "row", "time", "model", "version", "role"]
    assert set(before["version"].to_pylist()) == {"1", "2"}


def test_a_data_frame_has_a_column_for_each_field(tmp_path: Path) -> None:
    """Of inputs and outputs; an empty log has none."""
    folder = tmp_path / "log"
    assert pandas(folder).empty
    assert arrow(folder) is None
    write(folder, [records()[0]]).close()
    frame = pandas(folder)
    assert frame["inputs.city"].tolist()[0] == "Zürich"
    np.testing.assert_array_equal(frame["inputs.age"], [1.5, np.nan])
    assert frame["outputs.predict"].tolist() == ["yes", ""]
    assert frame["violations"].map(len).tolist() == [0, 0]


def test_a_choice_narrows_both(tmp_path: Path) -> None:
    """By model, version, time and request, in segments and in Parquet."""
    folder = tmp_path / "log"
    second = 10**9
    write(folder, [record._replace(received_ns=NOW_NS + number * second)
                   for number, record in enumerate(records())]).close()
    first = records()[0].prediction_uuid
    for _ in range(2):
        assert [arrow(folder, choice).num_rows for choice in (
            Choice("wine"), Choice(version="2"), Choice(since_ns=NOW_NS + second), Choice(until_ns=NOW_NS + second),
            Choice("wine", "1", NOW_NS + 3 * second), Choice(uuid=first))] == [5, 2, 3, 2, 1, 2]
        assert arrow(folder, Choice("beer")) is None
        assert arrow(folder, Choice(since_ns=NOW_NS + 4 * second)) is None
        compact(folder)


def test_fields_of_different_types_are_json(tmp_path: Path) -> None:
    """What one version takes as a number and another as a text."""
    folder = tmp_path / "log"
    writer = SegmentWriter(folder, 1, 1 << 20)
    writer.append(records()[0], 0)
    writer.append(records()[0]._replace(inputs={"age": texts("old", "young")}), 1)
    writer.close()
    found = arrow(folder)["inputs"].to_pylist()
    assert found == ['{"age":1.5,"city":"Zürich"}', '{"age":null,"city":null}', '{"age":"old"}', '{"age":"young"}']
