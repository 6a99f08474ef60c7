"""Expectations are learnt at registration, and every protocol says what was not as expected, and what was done."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serinus.models import Field, ModelError, ModelVersion, Registry, Signature, register, wrap
from serinus.monitors.validation import Expectation, Expectations
from serinus.serving import Settings, create_app
from serinus.serving.errors import CommandError, SerinusError
from serinus.serving.expectations import (
    ATTACHMENT,
    Guard,
    deployment_key,
    expectations_of,
    keep_expectations,
    learn_expectations,
    read_expectations,
)
from serinus.serving.prediction_log import read
from serinus.serving.rollout.routing import Bucketer
from serinus.serving.router import Arm, Loaded
from tests.serving.asgi import PEOPLE, ROWS, Line, people_model

ROW = {"age": 40.0, "visits": 3, "city": "Bern"}
BAD = {"age": 4_100.0, "visits": 3, "city": "Atlantis"}
SEEN: list[dict[str, list[Any]]] = []
"""What the function model saw."""


def ask(app: Any, path: str, **request: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await client.post(path, **request)

    return asyncio.run(send())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame({"age": rng.uniform(20, 80, 400), "visits": rng.integers(0, 20, 400),
                         "city": rng.choice(["Bern", "Chur", "Genève"], 400)})  # fmt: skip


@pytest.fixture(scope="module")
def learnt_home(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `people:1`, whose expectations were learnt."""
    home = tmp_path_factory.mktemp("learnt")
    encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    fitted = make_pipeline(encoded, LinearRegression()).fit(frame, frame["age"])
    keep_expectations(register(fitted, "people", reference=frame, home=home), home, frame)
    return home


@pytest.fixture
def version(learnt_home: Path) -> ModelVersion:
    return Registry(learnt_home).get("people", "1")


@pytest.fixture
def served(learnt_home: Path) -> Any:
    app = create_app({"people": "people:1"}, Settings.model_validate({"home": learnt_home, "log": {"enabled": False}}))
    yield app
    app.close()


def declared(tmp_path: Path, *fields: Field, **settings: Any) -> Any:
    """An application that serves a function of these fields, which remembers what it was given."""
    def predict(rows: pd.DataFrame) -> Any:
        SEEN.append({str(name): rows[name].tolist() for name in rows})
        if rows.iloc[0].astype(str).str.contains("raise").any():
            raise ValueError(f"cannot make anything of {rows.iloc[0].tolist()}")
        return np.zeros(len(rows))

    signature = Signature(fields, (Field("predict", "FP64", (-1,)),))
    made = Settings.model_validate({"home": tmp_path / "home", "log": {"enabled": True}, **settings})
    app = create_app({"f": wrap(predict, signature=signature)}, made)
    SEEN.clear()  # what it was given to warm up
    return app


def test_what_was_learnt_is_kept_beside_the_version(version: ModelVersion, learnt_home: Path) -> None:
    """Learnt again it is the same, byte by byte, so that registering twice changes nothing."""
    registry = Registry(learnt_home)
    assert ATTACHMENT in registry.attachments(version)
    found = expectations_of(version, registry)
    assert found.rows == 400 and found.of("city").domain is not None and found.of("age").usual is not None


def test_registering_twice_changes_nothing(version: ModelVersion, learnt_home: Path, frame: pd.DataFrame) -> None:
    """The salt of the hashes is the same for one version and one home."""
    again = learn_expectations(version, learnt_home, frame)
    assert again == expectations_of(version, Registry(learnt_home))
    assert keep_expectations(version, learnt_home, frame.head(60)) == again


def test_a_request_in_order_has_no_remarks(served: Any) -> None:
    """Nothing is said of it anywhere."""
    answer = ask(served, "/predict", json={"rows": [ROW, ROW]})
    assert answer.status_code == 200 and answer.json()["violations"] == []
    assert "x-violations" not in answer.headers


def _tensors(*rows: dict[str, Any]) -> dict[str, Any]:
    types = {"age": "FP64", "visits": "INT64", "city": "BYTES"}
    return {"inputs": [{"name": name, "datatype": types[name], "shape": [len(rows)],
                        "data": [row[name] for row in rows]} for name in types]}  # fmt: skip


REMARKS: list[tuple[str, Any, Callable[[Any], Any], list[str]]] = [
    ("/predict", {"rows": [ROW, BAD]}, lambda body: body["violations"], ["$.rows[1].age", "$.rows[1].city"]),
    ("/predict", {"columns": {name: [ROW[name], BAD[name]] for name in ROW}}, lambda body: body["violations"],
     ["$.columns.age[1]", "$.columns.city[1]"]),
    ("/v2/models/people/infer", _tensors(ROW, BAD), lambda body: json.loads(body["parameters"]["violations"]),
     ["$.inputs[0].data[1]", "$.inputs[2].data[1]"]),
    ("/v1/models/people:predict", {"instances": [ROW, BAD]}, lambda body: body["violations"],
     ["$.instances[1].age", "$.instances[1].city"]),
    ("/invocations", {"dataframe_records": [ROW, BAD]}, lambda body: body["violations"],
     ["$.dataframe_records[1].age", "$.dataframe_records[1].city"]),
    ("/invocations", {"dataframe_split": {"columns": ["visits", "city", "age"],
                                          "data": [[3, "Bern", 40.0], [3, "Atlantis", 4_100.0]]}},
     lambda body: body["violations"], ["$.dataframe_split.data[1].age", "$.dataframe_split.data[1].city"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "found", "paths"), REMARKS)
def test_every_protocol_tells_its_remarks(served: Any, path: str, body: Any, found: Any, paths: list[str]) -> None:
    """In the place that is documented, with the value's path in the body that was sent."""
    answer = ask(served, path, json=body)
    assert answer.status_code == 200 and answer.headers["x-violations"] == "2"
    first, second = found(answer.json())
    assert [first["path"], second["path"]] == paths
    assert (first["kind"], first["got"], first["done"]) == ("unit_slip", "4100", "kept")
    assert "as ÷100 would give" in first["wanted"]
    assert second == {"path": paths[1], "kind": "unseen_category", "wanted": "one of 3 known values",
                      "got": "Atlantis", "done": "kept"}  # fmt: skip


def test_csv_answers_tell_how_many(served: Any) -> None:
    """There is no place for a list in a table, so the header says it."""
    text = "age,visits,city\n4100,3,Bern\n"
    answer = ask(served, "/predict", content=text, headers={"content-type": "text/csv", "accept": "text/csv"})
    assert answer.status_code == 200 and answer.headers["x-violations"] == "1"


RULED = Field("age", "FP64", (-1,), expect={"min": 0, "max": 120})
REFUSALS: list[tuple[str, Any, int, Callable[[Any], Any], str]] = [
    ("/predict", {"rows": [{"age": 1}, {"age": -5}]}, 422, lambda body: body["detail"], "$.rows[1].age"),
    ("/v2/models/f/infer", {"inputs": [{"name": "age", "datatype": "FP64", "shape": [2], "data": [1, -5]}]}, 400,
     lambda body: body["error"], "$.inputs[0].data[1]"),
    ("/v1/models/f:predict", {"instances": [1.0, -5.0]}, 400, lambda body: body["error"], "$.instances[1]"),
    ("/invocations", {"inputs": {"age": [1, -5]}}, 400, lambda body: body["message"], "$.inputs.age[1]"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "said", "where"), REFUSALS)
def test_every_protocol_refuses_in_its_own_form(tmp_path: Path, path: str, body: Any, status: int, said: Any,
                                                where: str) -> None:
    """What is declared is a rule: the model is not asked, and nothing is logged."""
    app = declared(tmp_path, RULED)
    answer = ask(app, path, json=body)
    app.close()
    assert answer.status_code == status
    assert said(answer.json()) == f"Input 'age' at {where}: expected 0 to 120, got -5. Clean the input."
    for violation in answer.json().get("violations", []):
        assert violation == {"path": where, "kind": "out_of_range", "wanted": "0 to 120", "got": "-5"}
    assert SEEN == [] and list(read(tmp_path / "home" / "log" / "segments")) == []


def test_the_model_and_the_log_get_what_was_clipped(tmp_path: Path) -> None:
    """And the answer says to what."""
    app = declared(tmp_path, Field("age", "FP64", (-1,), expect={"min": 0, "max": 120, "on": {"out_of_range": "clip"}}))
    answer = ask(app, "/predict", json={"rows": [{"age": 500}, {"age": 5}]}).json()
    app.close()
    assert SEEN == [{"age": [120.0, 5.0]}]
    (record,) = read(tmp_path / "home" / "log" / "segments")
    assert record.inputs["age"].tolist() == [120.0, 5.0]
    assert [one["done"] for one in answer["violations"]] == ["clipped to 0 … 120"]


def test_a_matrix_for_all_columns_is_checked_by_column(tmp_path: Path) -> None:
    """The path says row and column."""
    app = declared(tmp_path, Field("a", "FP64", (-1,)), Field("b", "FP64", (-1,), expect={"max": 1}))
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 2], "data": [[0, 0], [0, 7]]}
    answer = ask(app, "/v2/models/f/infer", json={"inputs": [tensor]})
    app.close()
    assert answer.json()["violations"][0]["path"] == "$.inputs[0].data[1][1]"


@pytest.mark.parametrize(("mode", "status", "remarks"), [("enforce", 422, 1), ("warn", 200, 1), ("off", 200, 0)])
def test_the_mode_decides_what_expectations_do(tmp_path: Path, mode: str, status: int, remarks: int) -> None:
    """Enforce, remark upon, or do not look; types are held to the signature always."""
    app = declared(tmp_path, RULED, validation={"mode": mode})
    answer = ask(app, "/predict", json={"rows": [{"age": -5}]})
    assert (answer.status_code, len(answer.json()["violations"])) == (status, remarks)
    assert ask(app, "/predict", json={"rows": [{"age": "old"}]}).status_code == 422
    app.close()


def test_many_violations_are_all_counted(tmp_path: Path) -> None:
    """A hundred are listed; answer, header and metrics know the number."""
    app = declared(tmp_path, Field("age", "FP64", (-1,), expect={"max": 120, "on": {"out_of_range": "warn"}}))
    answer = ask(app, "/predict", json={"rows": [{"age": 500}] * 3_000})
    assert len(answer.json()["violations"]) == 100 and answer.json()["violation_count"] == 3_000
    assert answer.headers["x-violations"] == "3000"
    parameters = ask(app, "/v2/models/f/infer", json={"inputs": [
        {"name": "age", "datatype": "FP64", "shape": [200], "data": [500] * 200}]}).json()["parameters"]  # fmt: skip
    assert parameters["violation_count"] == 200 and len(json.loads(parameters["violations"])) == 100

    async def metrics() -> str:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return (await client.get("/metrics")).text

    lines = [line for line in asyncio.run(metrics()).splitlines() if line.startswith("serinus_violations_total{")]
    app.close()
    assert len(lines) == 1 and 'kind="out_of_range"' in lines[0] and float(lines[0].split()[-1]) == 3_200


def test_a_column_named_twice_is_a_violation(served: Any) -> None:
    """With its kind; which of the two is meant nobody knows."""
    text = "age,age,visits,city\n40,41,3,Bern\n"
    answer = ask(served, "/predict", content=text, headers={"content-type": "text/csv"})
    assert answer.status_code == 422
    assert [one["kind"] for one in answer.json()["violations"]] == ["duplicate_column"]
    tensors = _tensors(ROW)["inputs"]
    (violation,) = ask(served, "/v2/models/people/infer", json={"inputs": [*tensors, tensors[0]]}).json()["violations"]
    assert (violation["path"], violation["kind"]) == ("$.inputs[3]", "duplicate_column")


SECRET = Field("who", "BYTES", (-1,), expect={"personal": "hash"})
SALARY = Field("salary", "FP64", (-1,), expect={"personal": "drop", "max": 1e6})


def test_personal_values_are_hashed_in_the_log(tmp_path: Path) -> None:
    """The model sees them, the log does not; equal values stay equal."""
    app = declared(tmp_path, SECRET, SALARY)
    rows = [{"who": "ana@example.org", "salary": 77123.25}, {"who": "ana@example.org", "salary": 5.0}]
    assert ask(app, "/predict", json={"rows": rows}).status_code == 200
    app.close()
    assert SEEN[0] == {"who": ["ana@example.org"] * 2, "salary": [77123.25, 5.0]}
    (record,) = read(tmp_path / "home" / "log" / "segments")
    first, second = record.inputs["who"].tolist()
    assert first == second and first.startswith("hash:")
    assert np.isnan(record.inputs["salary"]).all()


@pytest.mark.parametrize(
    "row",
    [
        {"who": 48151623, "salary": 1.0}, {"who": {"x": "48151623"}, "salary": 1.0}, {"who": "a", "salary": "48151623"},
        {"who": "a", "salary": 4815162342.0}, {"who": "raise 48151623", "salary": 1.0},
    ],
)  # fmt: skip
def test_no_error_tells_a_personal_value(tmp_path: Path, row: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Not of a wrong type, not beyond a limit, not when the model raises; and not in the server's log."""
    app = declared(tmp_path, SECRET, SALARY)
    for path, body in (("/predict", {"rows": [row]}), ("/v1/models/f:predict", {"instances": [row]}),
                       ("/invocations", {"dataframe_records": [row]})):  # fmt: skip
        answer = ask(app, path, json=body)
        assert answer.status_code in (400, 422, 500), answer.text
        assert "48151623" not in answer.text
    app.close()
    assert "48151623" not in caplog.text
    if "raise" in str(row["who"]):
        assert "raised ValueError during predict, in predict (" in caplog.text


def test_personal_outputs_are_not_logged_either(tmp_path: Path) -> None:
    """A model may answer with what it was asked."""
    signature = Signature((SECRET,), (Field("predict", "BYTES", (-1,), expect={"personal": "drop"}),))
    model = wrap(lambda rows: rows["who"].to_numpy(), signature=signature)
    settings = Settings.model_validate({"home": tmp_path, "log": {"enabled": True}})
    app = create_app({"echo": model}, settings)
    assert ask(app, "/predict", json={"rows": [{"who": "ana"}]}).json()["predictions"] == [{"predict": "ana"}]
    app.close()
    (record,) = read(tmp_path / "log" / "segments")
    assert record.outputs["predict"].tolist() == [None] and "ana" not in str(record.inputs)


def test_a_candidate_that_was_told_nothing_hides_what_stable_hides(tmp_path: Path,
                                                                   caplog: pytest.LogCaptureFixture) -> None:
    """Requests are addressed to a model: what its stable version says is personal stays so on trial."""
    line = Line(tmp_path, {"people": {"1": people_model("1"), "2": people_model("2")}})
    route = line.router.routes["people"]
    expectations = Expectations((Expectation("city", personal="hash"),))
    route.stable.guard = Guard(expectations, PEOPLE, b"k" * 32)
    arm = Arm("people", "2", "candidate", Loaded(people_model("2"), "function_model", {}))
    line.router.routes["people"] = route._replace(candidate=arm, weight=10_000, bucketer=Bucketer("s"))
    assert line.call("POST", "/predict", ROWS).json["role"] == "candidate"
    broken = ROWS.replace(b"Bern", b"Troy")
    assert line.call("POST", "/predict", broken).status == 500
    line.close()
    (record,) = line.records()
    assert record.role == "candidate" and record.inputs["city"].tolist()[0].startswith("hash:")
    assert "raised ValueError during predict" in caplog.text and "secret value 42" not in caplog.text


def test_personal_columns_are_found_when_a_version_is_registered(tmp_path: Path) -> None:
    """By their values or their names; nothing of them is kept, and the reason is told."""
    frame = pd.DataFrame({"contact": [f"u{i}@example.org" for i in range(100)], "ssn": [f"{i:09d}" for i in range(100)],
                          "age": np.arange(100.0)})  # fmt: skip
    encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["contact", "ssn"]),
                                      remainder="passthrough")  # fmt: skip
    fitted = make_pipeline(encoded, LinearRegression()).fit(frame, frame["age"])
    version = register(fitted, "people", reference=frame, home=tmp_path)
    found = keep_expectations(version, tmp_path, frame)
    assert found is not None and found.personal == {"contact": "hash", "ssn": "hash"}
    assert "(e-mail address, by its values)" in found.unchecked["contact"]
    assert "(social security number, by its name)" in found.unchecked["ssn"]
    for path in version.path.rglob("*"):
        if path.is_file() and "artifact" not in path.parts:  # the model itself learnt its categories
            assert b"example.org" not in path.read_bytes(), path


def test_the_deployment_s_secret_is_made_once(tmp_path: Path) -> None:
    """By whichever of many is first, readable by its owner alone."""
    home = tmp_path / "home"
    keys: set[bytes] = set()
    threads = [threading.Thread(target=lambda: keys.add(deployment_key(home))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 1 and len(keys.pop()) == 32
    assert stat.S_IMODE((home / "salt").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["salt"]


def test_a_damaged_secret_is_told(tmp_path: Path) -> None:
    """A short one would make the hashes easy to guess, another one would make them new."""
    (tmp_path / "salt").write_bytes(b"short")
    with pytest.raises(SerinusError, match="has 5 bytes; wanted are 32"):
        deployment_key(tmp_path)


def test_expectations_can_be_given(version: ModelVersion, learnt_home: Path, tmp_path: Path) -> None:
    """In a file, as JSON or as a pandera schema; others than those that are there already are refused."""
    from serinus.monitors.pandera_schema import to_yaml

    found = expectations_of(version, Registry(learnt_home))
    (tmp_path / "own.json").write_bytes(found.to_bytes())
    (tmp_path / "own.yaml").write_text(to_yaml(found, version.signature))
    for name in ("own.json", "own.yaml"):
        assert read_expectations(tmp_path / name) == found
        assert keep_expectations(version, learnt_home, None, tmp_path / name) == found
    (tmp_path / "other.json").write_bytes(found.to_bytes().replace(b'"rows": 400', b'"rows": 401'))
    with pytest.raises(ModelError, match="attachments are never replaced"):
        keep_expectations(version, learnt_home, None, tmp_path / "other.json")
    (tmp_path / "foreign.json").write_text('{"format": 1, "features": [{"field": "shoe"}]}')
    with pytest.raises(ModelError, match="'shoe', which people:1 does not take"):
        keep_expectations(version, learnt_home, None, tmp_path / "foreign.json")
    for name, said in (("none.json", "no such file"), ("bad.json", "must be JSON"), ("bad.yml", "no pandera schema")):
        if said != "no such file":
            (tmp_path / name).write_text("{")
        with pytest.raises(CommandError, match=said):
            read_expectations(tmp_path / name)


def test_damaged_expectations_are_not_served(version: ModelVersion, learnt_home: Path, tmp_path: Path) -> None:
    """A version whose rules nobody can read is not let loose without them."""
    import shutil

    home = shutil.copytree(learnt_home, tmp_path / "copy")
    file = home / "models" / "people" / "1" / ATTACHMENT
    file.chmod(0o600)
    file.write_text("{}")
    with pytest.raises(ModelError, match="changed after it was attached"):
        create_app({"people": "people:1"}, Settings.model_validate({"home": home, "log": {"enabled": False}}))
