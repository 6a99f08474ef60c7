"""One frame in every form of every tabular protocol: the answers are the model's own, and the log holds its rows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serinus.models import Field, Signature, wrap
from tests.serving.asgi import Line, Response, numbers_model

RANDOM = np.random.default_rng(5)
ROWS = 40


def _people() -> pd.DataFrame:
    """Columns of every kind that a table has."""
    return pd.DataFrame(
        {
            "city": RANDOM.choice(["Bern", "Lyon, x", 'say "Oslo"', "Zürich\nHB"], ROWS),
            "size": pd.Categorical(RANDOM.choice(["s", "m", "l"], ROWS), categories=["s", "m", "l"], ordered=True),
            "level": pd.Categorical(RANDOM.choice([3, 1, 2], ROWS)),
            "age": RANDOM.normal(40, 20, ROWS),
            "income": np.where(RANDOM.random(ROWS) < 0.2, np.nan, RANDOM.normal(0, 1e6, ROWS)).astype(np.float32),
            "visits": RANDOM.integers(0, 2**62, ROWS),
            "member": RANDOM.random(ROWS) < 0.5,
            "joined": pd.Timestamp("2026-01-02 03:04:05.678")
            + pd.to_timedelta(RANDOM.integers(0, 10**9, ROWS), unit="s"),
        }
    )


def _years(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.apply(lambda column: column.dt.day_of_year)


PEOPLE = _people()
FLOWERS = pd.DataFrame(RANDOM.normal(size=(ROWS, 4)), columns=["petal.length", "petal width", "c", "0"])


class Trained(NamedTuple):
    """A fitted estimator with the frame that it is asked about."""

    fitted: Any
    frame: pd.DataFrame


@pytest.fixture(scope="module")
def trained() -> dict[str, Trained]:
    target = np.where(PEOPLE["age"] > 40, "old", "young")
    mixed = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["city", "size", "level"]),
            (FunctionTransformer(_years), ["joined"]),
            ("passthrough", ["age", "income", "visits", "member"]),
        ),
        RandomForestClassifier(8, random_state=0),
    )
    return {
        "people": Trained(mixed.fit(PEOPLE, target), PEOPLE),
        "flowers": Trained(LogisticRegression().fit(FLOWERS, target), FLOWERS),
    }


@pytest.fixture(scope="module")
def line(trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    models = {name: {"1": wrap(of.fitted, reference=of.frame)} for name, of in trained.items()}
    line = Line(tmp_path_factory.mktemp("home"), models | {"numbers": {"1": numbers_model()}})
    yield line
    line.close()


class Post(NamedTuple):
    """A frame as one protocol takes it in one form."""

    path: str
    body: bytes
    headers: dict[str, str]


def _json(path: str, **document: Any) -> Post:
    return Post(path, orjson.dumps(document), {"content_type": "application/json"})


def _objects(frame: pd.DataFrame) -> Any:
    return json.loads(frame.to_json(orient="records", date_format="iso", date_unit="ns", double_precision=15))


def _exact(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """As objects, with every number to its last bit (`to_json` rounds)."""
    rows = _objects(frame)
    for name in frame.select_dtypes("number"):
        for row, value in zip(rows, frame[name], strict=True):
            row[name] = None if value != value else value.item() if hasattr(value, "item") else value
    return rows  # type: ignore[no-any-return]


def _columns(frame: pd.DataFrame) -> Any:
    return {name: [row[name] for row in _exact(frame)] for name in frame}


def _split(frame: pd.DataFrame) -> Any:
    return {
        "columns": list(frame),
        "index": list(range(len(frame))),
        "data": [list(row.values()) for row in _exact(frame)],
    }


def _csv(path: str, frame: pd.DataFrame) -> Post:
    return Post(path, frame.to_csv(index=False).encode(), {"content_type": "text/csv; charset=utf-8"})


def _parquet(path: str, frame: pd.DataFrame) -> Post:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return Post(path, buffer.getvalue(), {"content_type": "application/vnd.apache.parquet"})


FORMS: dict[str, Callable[[str, pd.DataFrame], Post]] = {
    "rows": lambda name, frame: _json(f"/predict/{name}", rows=_exact(frame)),
    "columns": lambda name, frame: _json(f"/predict/{name}/versions/1", columns=_columns(frame)),
    "csv": lambda name, frame: _csv(f"/predict/{name}", frame),
    "parquet": lambda name, frame: _parquet(f"/predict/{name}", frame),
    "invocations split": lambda name, frame: _json(f"/invocations/{name}", dataframe_split=_split(frame)),
    "invocations records": lambda name, frame: _json(f"/invocations/{name}", dataframe_records=_exact(frame)),
    "invocations inputs": lambda name, frame: _json(f"/invocations/{name}/versions/1", inputs=_columns(frame)),
    "invocations csv": lambda name, frame: _csv(f"/invocations/{name}", frame),
    "invocations parquet": lambda name, frame: _parquet(f"/invocations/{name}", frame),
    "v1 objects": lambda name, frame: _json(f"/v1/models/{name}:predict", instances=_exact(frame)),
    "v1 lists": lambda name, frame: _json(f"/v1/models/{name}/versions/1:predict", instances=_split(frame)["data"]),
}


def _predictions(response: Response) -> list[Any]:
    assert response.status == 200, response.body
    predictions = response.json["predictions"]
    return [row["predict"] if isinstance(row, dict) else row for row in predictions]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["people", "flowers"])
def test_every_form_gives_the_models_own_answer(form: str, model: str, line: Line, trained: dict[str, Trained]) -> None:
    """For numbers to the last bit, texts, categories, dates and gaps; and what was asked is in the log as it came."""
    fitted, frame = trained[model]
    shuffled = frame if form == "v1 lists" else frame[sorted(frame, reverse=True)]
    post = FORMS[form](model, shuffled)
    response = line.call("POST", post.path, post.body, **post.headers)
    assert _predictions(response) == fitted.predict(frame).tolist()
    record = line.records()[-1]
    assert (record.model, record.rows, list(record.inputs)) == (model, ROWS, list(frame))
    for name in frame.select_dtypes(["number", "bool"]):
        assert record.inputs[name].dtype == frame[name].dtype
        assert np.array_equal(record.inputs[name], frame[name].to_numpy(), equal_nan=frame[name].dtype.kind == "f")
    assert record.outputs["predict_proba"].tolist() == fitted.predict_proba(frame).tolist()


@pytest.mark.parametrize("form", ["csv", "parquet", "invocations split", "invocations csv", "invocations parquet"])
def test_a_model_without_names_takes_columns_in_their_order(form: str, line: Line) -> None:
    """From forms that have an order."""
    frame = FLOWERS.iloc[:, :3]
    post = FORMS[form]("numbers", frame)
    found = _predictions(line.call("POST", post.path, post.body, **post.headers))
    direct = line.router.arm("numbers", None).model.predict({"input": frame.to_numpy()})
    assert found == direct["predict"].tolist()


def test_csv_comes_back_as_a_frame(line: Line, trained: dict[str, Trained]) -> None:
    """With prediction ids that are in the log."""
    post = FORMS["csv"]("flowers", FLOWERS)
    response = line.call("POST", post.path, post.body, accept="text/csv", **post.headers)
    answer = pd.read_csv(io.BytesIO(response.body))
    assert answer["predict"].tolist() == trained["flowers"].fitted.predict(FLOWERS).tolist()
    proba = trained["flowers"].fitted.predict_proba(FLOWERS)
    assert np.array_equal(answer[["predict_proba[0]", "predict_proba[1]"]].to_numpy(), proba)
    assert answer["prediction_id"].is_unique
    assert answer["prediction_id"][3] == f"{answer['prediction_id'][0][:-2]}-3"


def test_a_bad_cell_is_named_over_the_whole_line(line: Line) -> None:
    """In each protocol's own words, and nothing is logged."""
    before = len(line.records())
    body = b"petal.length,petal width,c,0\n1,2,3,4\n1,2,n/a,4\n"
    response = line.call("POST", "/predict/flowers", body, content_type="text/csv")
    assert (response.status, response.headers["content-type"]) == (422, "application/problem+json")
    assert "Input 'c' at csv[1].c: expected FP64, got string 'n/a'" in response.json["detail"]
    response = line.call("POST", "/invocations/flowers", body, content_type="text/csv")
    assert (response.status, set(response.json)) == (400, {"error_code", "message", "stack_trace"})
    response = line.call("POST", "/invocations/flowers", b"<a/>", content_type="application/xml")
    assert response.status == 415
    response = line.call("POST", "/v1/models/flowers:predict", b'{"instances": [[1, 2, "n/a", 4]]}')
    assert (response.status, response.json["violations"][0]["path"]) == (400, "$.instances[0].c")
    assert len(line.records()) == before


def test_sagemaker_headers_are_honoured(line: Line) -> None:
    """Its id is the request's, its attributes come back, and the prediction can be named."""
    post = FORMS["invocations csv"]("flowers", FLOWERS.head(2))
    response = line.call(
        "POST",
        post.path,
        post.body,
        accept="text/csv",
        x_amzn_sagemaker_inference_id="sm-1",
        x_amzn_sagemaker_custom_attributes="c000b4f9",
        **post.headers,
    )
    assert response.status == 200 and response.body.count(b"\n") == 2
    assert response.headers["x-request-id"] == line.records()[-1].request_id == "sm-1"
    assert response.headers["x-amzn-sagemaker-custom-attributes"] == "c000b4f9"
    assert response.headers["x-prediction-id"] == str(UUID(bytes=line.records()[-1].prediction_uuid))


def test_extra_columns_are_refused_on_demand(tmp_path: Path) -> None:
    """By the setting, in every tabular protocol; else they are remarked."""
    signature = Signature((Field("x", "FP64", (-1,)),), (Field("y", "FP64", (-1,)),))
    model = wrap(lambda frame: frame["x"], signature=signature)
    posts = [form("m", pd.DataFrame({"shoe": [1.0], "x": [2.0]})) for name, form in FORMS.items() if name != "v1 lists"]
    for setting, statuses in (("ignore", {200}), ("refuse", {400, 422})):
        line = Line(tmp_path / setting, {"m": {"1": model}}, limits={"extra_columns": setting})
        answers = [line.call("POST", post.path, post.body, **post.headers) for post in posts]
        line.close()
        assert {answer.status for answer in answers} == statuses
    bare = Line(tmp_path / "bare", {"m": {"1": model}})
    assert bare.call("POST", "/invocations", b'{"instances": [2.5]}').json == {"predictions": [2.5]}
    bare.close()
