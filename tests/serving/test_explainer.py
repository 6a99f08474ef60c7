"""What a worker explains are answers that it gave and can give again, one at a time, and noted before it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from serinus.models import wrap
from serinus.monitors.reference import Reference
from serinus.serving.errors import ControlRefused, RequestTooLarge
from serinus.serving.explainer import ADDRESS, MOST_ROWS, Explainer
from serinus.serving.monitoring import FORMAT, MonitorFiles, View
from serinus.serving.settings import LimitSettings
from tests.serving.asgi import PEOPLE, ROW, ROWS, Line, people_model

FRAME = pd.DataFrame({"city": ["Bern", "Rome"] * 300, "age": np.linspace(20, 60, 600), "visits": [0, 1, 2] * 200,
                      "member": [True] * 600})


def _fickle() -> Any:
    answers = count()
    return wrap(lambda frame: np.full(len(frame), float(next(answers))), signature=PEOPLE)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """`people` and the fickle one have a reference, `unknown` has none."""
    found = Line(tmp_path, {"people": {"1": people_model()}, "fickle": {"1": _fickle()},
                            "unknown": {"1": people_model()}})
    profile, files = Reference.from_frame(FRAME), MonitorFiles(found.home.monitors)
    files.publish_profile(profile.digest, profile.to_bytes())
    for model in ("people", "fickle"):
        files.publish(View({"format": FORMAT, "model": model, "version": "1", "state": "ok",
                            "reference": {"digest": profile.digest}}))
    yield found
    found.close()


def _explainer(line: Line) -> Explainer:
    return Explainer(line.home, line.router, LimitSettings())


def _answered(line: Line, model: str) -> str:
    found = line.call("POST", f"/predict/{model}", ROWS, content_type="application/json")
    assert found.status == 200, found.body
    return str(found.json["prediction_ids"][0])


def _of_prediction(line: Line, model: str, prediction_id: str) -> dict[str, Any]:
    return asyncio.run(_explainer(line).of_prediction(model, prediction_id, "jane"))


def test_a_prediction_of_the_log_is_explained_and_that_is_noted(line: Line) -> None:
    """The model adds visits to its version: visits alone matter. Who asked stands in the access record."""
    prediction_id = _answered(line, "people")
    found = _of_prediction(line, "people", prediction_id)
    first, *others = found["contributions"]
    assert (first["feature"], first["contribution"], first["value"], first["usual"]) == ("visits", 2.0, 3, 1)
    assert {each["feature"] for each in others} == {"city", "age", "member"}
    assert [each["contribution"] for each in others] == [0.0] * 3
    assert (found["version"], found["score"], found["usual_score"], found["left_out"]) == ("1", 4.0, 2.0, [])
    noted = orjson.loads(line.home.access.read_bytes())
    assert (noted["actor"], noted["what"]) == ("jane", f"explanation of {prediction_id}")


def test_what_cannot_be_had_again_is_said(line: Line) -> None:
    """An answer that the model does not give again, of no reference, of a version that is not here, of no log."""
    for model, sentence in (("fickle", "does not give this answer"), ("unknown", "has no reference yet")):
        with pytest.raises(ControlRefused, match=sentence):
            _of_prediction(line, model, _answered(line, model))
    for prediction_id in ("0190a6b2-7c3e-7000-8000-000000000000-0", "nonsense", _answered(line, "unknown")):
        with pytest.raises(ControlRefused, match="is not in the log") as caught:
            _of_prediction(line, "people", prediction_id)
        assert caught.value.kind == "not_found"


def test_rows_are_explained_each_and_not_too_many(line: Line) -> None:
    """KServe V1's form takes instances as a prediction does, up to eight."""
    body = orjson.dumps({"instances": [ROW, ROW | {"visits": 1}]})
    found = asyncio.run(_explainer(line).of_rows("people", "1", body))
    assert [each["contributions"][0]["contribution"] for each in found["explanations"]] == [2.0, 0.0]
    with pytest.raises(RequestTooLarge):
        asyncio.run(_explainer(line).of_rows("people", None, orjson.dumps({"instances": [ROW] * (MOST_ROWS + 1)})))
    with pytest.raises(ControlRefused, match="not served here") as caught:
        asyncio.run(_explainer(line).of_rows("nobody", None, body))
    assert caught.value.kind == "not_found"


def test_one_at_a_time(line: Line) -> None:
    """A second one is asked to come again, so that explanations never take the place of predictions."""
    body = orjson.dumps({"instances": [ROW]})

    async def both() -> list[Any]:
        explainer = _explainer(line)
        calls = [explainer.of_rows("people", None, body) for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    done, refused = asyncio.run(both())
    assert done["model_name"] == "people"
    assert isinstance(refused, ControlRefused) and refused.kind == "unavailable"


def test_addresses() -> None:
    """With and without a version, and nothing else."""
    for path, version in (("people", None), ("people/versions/2", "2")):
        found = ADDRESS.fullmatch(f"/v1/models/{path}:explain")
        assert found is not None and found.groupdict() == {"model": "people", "version": version}
    for name in ("a/b:explain", ":explain", "people:predict", "a:b:explain"):
        assert ADDRESS.fullmatch(f"/v1/models/{name}") is None
