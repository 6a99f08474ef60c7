"""A value of a personal field is in no file, in no telemetry, in no log line and on no page: only its caller has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serinus.models import Field, Registry, Signature, register
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually
from tests.serving.telemetry.receivers import Receiver

PROMPTLY = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500"}
NAME, SALARY, BADGE = "Zephyrine-Quillfeather", 73194.15625, 8273645
MARKERS = (NAME, "73194", str(BADGE), "Quillfeather")
ROW = {"who": NAME, "contact": f"{NAME}@example.org", "salary": SALARY, "badge": BADGE, "age": 40.0}
BODIES: list[tuple[str, Any]] = [
    ("/predict", {"rows": [ROW]}),
    ("/predict", {"rows": [ROW] * 70}),
    ("/predict", {"rows": [ROW | {"age": 4_000.0}]}),
    ("/predict", {"rows": [ROW | {"salary": NAME}]}),
    ("/predict", {"rows": [ROW | {"salary": 1e9 + SALARY}]}),
    ("/predict", {"rows": [ROW | {"badge": "x" + NAME}]}),
    ("/predict", {"rows": [ROW | {NAME: 1}]}),
    ("/predict", {"rows": [ROW | {"age": None}]}),
    ("/v1/models/people:predict", {"instances": [ROW]}),
    ("/invocations", {"dataframe_records": [ROW]}),
    ("/v2/models/people/infer", {"inputs": [
        {"name": "who", "datatype": "BYTES", "shape": [1], "data": [NAME]},
        {"name": "contact", "datatype": "BYTES", "shape": [1], "data": [ROW["contact"]]},
        {"name": "salary", "datatype": "FP64", "shape": [1], "data": [SALARY]},
        {"name": "badge", "datatype": "INT64", "shape": [1], "data": [BADGE]},
        {"name": "age", "datatype": "FP64", "shape": [1], "data": [40.0]}]}),
]  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver("http/protobuf") as running:
        yield running


@pytest.fixture
def people_home(tmp_path: Path) -> Path:
    """A home with `people`, whose fields are tagged in the signature but for one that is found by its values, and
    `fragile`, which raises with the value in its message."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"who": [f"p{i}" for i in range(300)], "contact": [f"u{i}@example.com" for i in range(300)],
                          "salary": rng.normal(5e4, 9e3, 300), "badge": rng.integers(1, 9_999, 300),
                          "age": rng.uniform(20, 80, 300)})  # fmt: skip
    frame.loc[7] = [NAME, ROW["contact"], SALARY, BADGE, 40.0]
    tags = {"who": {"personal": "hash"}, "salary": {"personal": "coarsen", "max": 1e6},
            "badge": {"personal": "drop"}}  # fmt: skip
    types = {"who": "BYTES", "contact": "BYTES", "salary": "FP64", "badge": "INT64", "age": "FP64"}
    inputs = tuple(Field(name, kind, (-1,), expect=tags.get(name)) for name, kind in types.items())
    signature = Signature(inputs, (Field("predict", "FP64", (-1,)),))
    encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["who", "contact"]),
                                      remainder="passthrough")  # fmt: skip
    home = tmp_path / "home"
    for name, first in (("people", FunctionTransformer()), ("fragile", FunctionTransformer(_refuse))):
        fitted = make_pipeline(first, encoded, LinearRegression()).fit(frame, frame["age"])
        register(fitted, name, reference=frame, signature=signature, home=home)
    return home


def _refuse(rows: pd.DataFrame) -> pd.DataFrame:
    if (rows["age"] > 90).any():
        raise RuntimeError(f"nobody is as old as {rows['who'].tolist()} with {rows['salary'].tolist()}")
    return rows


def test_a_personal_value_stays_with_its_caller(people_home: Path, start: Start, receiver: Receiver) -> None:
    """Requests in every protocol, good and bad, traced in full; then everything that was written, sent or shown is
    searched for the values of the person, as text and as the bytes of the numbers."""
    server = start(people_home, environ=receiver.environ | PROMPTLY | {
        "SERINUS_TELEMETRY_DETAIL_SHARE": "1", "SERINUS_TELEMETRY_LOG_FORMAT": "json"})
    asked = 0
    client = server.client()
    for path, body in BODIES:
        answer = client.post(path.replace("/predict", "/predict/people", 1) if path == "/predict" else
                             path.replace("/invocations", "/invocations/people"), body)
        asked += 1
        assert answer.status in (200, 400, 422), answer.body
        _assert_silent(f"answer to {path}", answer.body.replace(b'"$.rows[*].' + NAME.encode(), b""))
    broken = client.post("/predict/fragile", {"rows": [ROW | {"age": 95.0}]})
    assert broken.status == 500
    _assert_silent("the answer to a failure", broken.body)
    eventually(lambda: len([span for span in receiver.spans if span.kind == 2]) >= asked + 1)
    eventually(lambda: any("raised RuntimeError during predict" in str(line.body) for line in receiver.log_records))
    pages = {path: client.get(path).body for path in _PAGES}
    assert server.stop() == 0
    for path, page in pages.items():
        _assert_silent(path, page)
    for request in receiver.requests:
        _assert_silent("OTLP", request.SerializeToString())
    _assert_silent("the server's output", server.output().encode())
    files = _files_of_server(server)
    assert {file.suffix for file in files} >= {".segment", ".json"}
    for file in files:
        if file.name != "salt" and "artifact" not in file.parts:  # the model itself learnt its categories
            _assert_silent(str(file), file.read_bytes())


_PAGES = ("/metrics", "/openapi.json", "/docs", "/v2/models/people", "/v1/models/people", "/api/monitors/people",
          "/api/models", "/ui")


def test_the_record_keeps_what_can_be_joined(people_home: Path, start: Start) -> None:
    """Hashes that are the same for the same person, a coarse number, and nothing."""
    from serinus.serving.prediction_log import read

    server = start(people_home)
    assert server.client().post("/predict/people", {"rows": [ROW, ROW | {"who": "p1"}]}).status == 200
    (record,) = read(server.home.log)
    first, other = record.inputs["who"].tolist()
    assert first.startswith("hash:") and first != other
    assert record.inputs["salary"].tolist() == [70_000.0, 70_000.0]
    assert record.inputs["badge"].tolist() == [None, None]
    assert record.inputs["age"].tolist() == [40.0, 40.0]
    assert len(set(record.inputs["contact"].tolist())) == 1


def test_what_was_learnt_of_personal_fields_is_nothing(people_home: Path) -> None:
    """The tag of the signature, or what was found: no range, no category."""
    registry = Registry(people_home)
    document = json.loads(registry.attachment(registry.get("people", "1"), "expectations.json"))
    by_name = {feature["field"]: feature for feature in document["features"]}
    assert by_name["contact"] == {"field": "contact", "personal": "hash"}
    assert by_name["salary"] == {"field": "salary", "maximum": 1e6, "personal": "coarsen"}
    assert "usual" in by_name["age"]


def _files_of_server(server: Server) -> list[Path]:
    return [path for path in server.home.path.rglob("*") if path.is_file()]


def _assert_silent(where: str, data: bytes) -> None:
    needles = [marker.encode() for marker in MARKERS]
    needles += [np.float64(SALARY).tobytes(), np.int64(BADGE).tobytes()]
    for needle in needles:
        assert needle not in data, f"{where} holds {needle!r} at {data.index(needle)}: " \
                                   f"{data[max(0, data.index(needle) - 80):data.index(needle) + 80]!r}"
