"""`create_app`: the same endpoints inside somebody else's process, with nothing but a fitted model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from starlette.applications import Starlette
from starlette.routing import Mount

from serinus.models import ModelError, UntrustedArtifact, register, wrap
from serinus.serving import EmbeddedApp, Settings, create_app
from serinus.serving.errors import SerinusError
from serinus.serving.prediction_log import read
from tests.serving.asgi import PEOPLE, ROW, people_model

COLUMNS = ["length", "width"]


@pytest.fixture
def flowers() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.DataFrame(rng.normal(size=(60, 2)), columns=COLUMNS)


@pytest.fixture
def fitted(flowers: pd.DataFrame) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(
        flowers, np.where(flowers["length"] > flowers["width"], "long", "wide"))


def ask(app: Any, method: str, path: str, **request: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def test_a_fitted_pipeline_and_nothing_more(fitted: Any, flowers: pd.DataFrame, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Every protocol answers what the pipeline answers, and nothing is written to the home."""
    monkeypatch.setenv("SERINUS_HOME", str(tmp_path / "home"))
    app = create_app({"iris": fitted})
    rows = flowers.head(3).to_dict(orient="records")
    answer = ask(app, "POST", "/predict", json={"rows": rows}).json()
    assert [row["predict"] for row in answer["predictions"]] == fitted.predict(flowers.head(3)).tolist()
    assert (answer["model"], answer["version"], answer["role"]) == ("iris", "0", "stable")
    infer = ask(app, "POST", "/v2/models/iris/versions/0/infer", json={"inputs": [
        {"name": name, "shape": [3], "datatype": "FP64", "data": flowers[name].head(3).tolist()} for name in COLUMNS]})
    assert infer.json()["outputs"][1]["data"] == fitted.predict_proba(flowers.head(3)).ravel().tolist()
    described = ask(app, "GET", "/v2/models/iris").json()
    assert (described["versions"], [field["name"] for field in described["inputs"]]) == (["0"], COLUMNS)
    assert ask(app, "GET", "/v2/health/ready").json() == {"ready": True}
    assert 'serinus_model_name="iris"' in ask(app, "GET", "/metrics").text
    assert not (tmp_path / "home").exists()


def test_what_may_be_given(fitted: Any, flowers: pd.DataFrame, tmp_path: Path) -> None:
    """A `Model`, a registered tag and a path; each with its version."""
    settings = Settings(home=tmp_path)
    registered = register(fitted, "iris", reference=flowers, home=tmp_path)
    path = registered.path / registered.artifact
    app = create_app({"people": people_model(), "tag": "iris:1", "path": path}, settings)
    assert ask(app, "POST", "/predict/people", json={"rows": [ROW]}).json()["version"] == "0"
    for name, version in (("tag", "1"), ("path", "0")):
        answer = ask(app, "POST", f"/predict/{name}", json={"rows": flowers.head(1).to_dict(orient="records")}).json()
        assert (answer["model"], answer["version"]) == (name, version)
        assert answer["predictions"][0]["predict"] == fitted.predict(flowers.head(1))[0]
    app.close()
    assert [record.model for record in read(tmp_path / "log" / "segments")] == ["people", "tag", "path"]


@pytest.mark.parametrize(("models", "error", "sentence"), [
    ({"Not A Name": people_model()}, ModelError, "Not A Name"),
    ({"thing": 42}, ModelError, "No adapter owns an object of type int"),
    ({"thing": Path("nowhere.onnx")}, SerinusError, "nowhere.onnx does not exist"),
    ({"thing": "iris:7"}, ModelError, "iris"),
])
def test_what_cannot_be_served_is_refused_at_once(models: dict[str, Any], error: type[Exception], sentence: str,
                                                  tmp_path: Path) -> None:
    """With one sentence that names it."""
    with pytest.raises(error, match=sentence):
        create_app(models, Settings(home=tmp_path))


def test_a_pickle_is_not_trusted_by_its_path_alone(fitted: Any, tmp_path: Path) -> None:
    """As everywhere, its digest must be trusted."""
    import joblib

    joblib.dump(fitted, tmp_path / "model.joblib")
    with pytest.raises(UntrustedArtifact):
        create_app({"iris": tmp_path / "model.joblib"}, Settings(home=tmp_path / "home"))


def test_mounted_below_a_path(fitted: Any, flowers: pd.DataFrame) -> None:
    """The same paths, seen from where it is mounted, also without a lifespan."""
    app = Starlette(routes=[Mount("/ml", app=create_app({"iris": fitted}))])
    row = flowers.head(1).to_dict(orient="records")
    assert ask(app, "POST", "/ml/predict/iris", json={"rows": row}).status_code == 200
    assert ask(app, "GET", "/ml/v2/models/iris").json()["name"] == "iris"
    assert ask(app, "POST", "/ml/v2/models/oak/infer", json={}).status_code == 404
    assert ask(app, "GET", "/v2/models/iris").status_code == 404


def test_control_calls_need_a_server(fitted: Any) -> None:
    """There is no steward to ask, and the answer says that there is nothing here."""
    assert ask(create_app({"iris": fitted}), "POST", "/api/rollouts/iris/rollback", json={}).status_code == 404


def test_its_lifespan_closes_it(tmp_path: Path) -> None:
    """After the shutdown it is not ready any more, and the log's segment has ended."""

    @asynccontextmanager
    async def lifespan(app: EmbeddedApp) -> AsyncIterator[None]:
        wanted: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        done: asyncio.Queue[str] = asyncio.Queue()

        async def sent(message: Any) -> None:
            await done.put(message["type"])

        running = asyncio.create_task(app({"type": "lifespan"}, wanted.get, sent))
        for phase in ("startup", "shutdown"):
            await wanted.put({"type": f"lifespan.{phase}"})
            assert await done.get() == f"lifespan.{phase}.complete"
            if phase == "startup":
                yield
        await running

    async def through() -> None:
        app = create_app({"people": people_model()}, Settings(home=tmp_path))
        async with lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://a") as web:
            assert (await web.post("/predict", json={"rows": [ROW]})).status_code == 200
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://a") as web:
            assert (await web.get("/v2/health/ready")).status_code == 503

    asyncio.run(through())
    assert len(list(read(tmp_path / "log" / "segments"))) == 1


def test_many_apps_in_one_process() -> None:
    """Each counts for itself."""
    def adds(amount: float) -> Callable[[Any], Any]:
        return lambda frame: frame["visits"].to_numpy(dtype=float) + amount

    apps = [create_app({"people": wrap(adds(amount), signature=PEOPLE)}) for amount in (1.0, 2.0)]
    answers = [ask(app, "POST", "/predict", json={"rows": [ROW]}).json()["predictions"][0]["predict"] for app in apps]
    assert answers == [4.0, 5.0]
    text = ask(apps[0], "GET", "/metrics").text
    counted = [line for line in text.splitlines() if line.startswith("serinus_rows_total")]
    assert [line.rpartition(" ")[2] for line in counted] == ["1"]
