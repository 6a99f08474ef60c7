"""The same estimators behind HTTP: in the Open Inference Protocol and by rows they answer as a direct call does."""

import asyncio
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from serinus.models import ModelError, wrap
from serinus.serving import create_app
from tests.conformance.estimator_cases import Case
from tests.conformance.test_estimators import KINDS, REFUSED, difference, expected_outputs, inputs_of, part_of

ROWS = 5


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """See `test_estimators.py`."""
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_every_protocol_answers_as_the_estimator_does(kind: str) -> None:
    """One application with all models of a kind: every output, in tensors and in rows, is the estimator's own."""
    cases, models = {}, {}
    for place, case in enumerate(KINDS[kind]()):
        if case.name not in REFUSED:
            cases[f"case-{place}"] = case
            models[f"case-{place}"] = case.fitted if case.reference is None else wrapped(case)
    app = create_app(models)
    try:
        wrong = asyncio.run(answers(app, cases))
    finally:
        app.close()
    print(f"\n{kind}: {len(cases)} served over HTTP, {len(wrong)} wrong")
    assert wrong == []


def test_who_is_refused_is_refused_at_the_door() -> None:
    """An application with a model that cannot serve does not start, and the sentence names it."""
    with pytest.raises(ModelError, match="TSNE has neither predict nor transform"):
        create_app({"case": TSNE()})


def wrapped(case: Case) -> Any:
    """The model with its reference."""
    return wrap(case.fitted, reference=case.reference)


async def answers(app: Any, cases: Mapping[str, Case]) -> list[str]:
    """Ask for the first rows of each case in both protocols; say which answers are not the estimator's."""
    wrong = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        for name, case in cases.items():
            model = wrapped(case)
            rows = case.rows[:ROWS]
            inputs = inputs_of(rows, model)
            expected = expected_answer(case, model, rows)
            for ask in (by_tensors, by_rows):
                response, found = await ask(client, name, inputs, model)
                if response.status_code != 200:
                    wrong.append(f"{case.name} {ask.__name__}: {response.status_code} {response.text[:300]}")
                    continue
                for output, array in expected.items():
                    told = [f"{output}: {what}" for what in difference(array, found[output], model, output)]
                    wrong += [f"{case.name} {ask.__name__} {what}" for what in told]
    return wrong


def expected_answer(case: Case, model: Any, rows: Any) -> dict[str, Any]:
    """What the estimator itself answers, by the names of the signature's outputs."""
    methods = dict.fromkeys(part_of(field.name) or field.name for field in model.signature.outputs)
    expected: dict[str, Any] = {}
    for method in methods:
        expected |= expected_outputs(model, method, getattr(case.fitted, method)(rows))
    return {field.name: expected[field.name] for field in model.signature.outputs}


async def by_tensors(client: httpx.AsyncClient, name: str, inputs: Mapping[str, Any], model: Any) -> tuple[Any, Any]:
    """Ask in the Open Inference Protocol."""
    tensors = [
        {"name": field.name, "shape": list(inputs[field.name].shape), "datatype": field.datatype,
         "data": plain(inputs[field.name].ravel().tolist())}
        for field in model.signature.inputs
    ]  # fmt: skip
    response = await client.post(f"/v2/models/{name}/infer", json={"inputs": tensors})
    if response.status_code != 200:
        return response, {}
    outputs = {each["name"]: each for each in response.json()["outputs"]}
    return response, {
        field.name: array_of(outputs[field.name]["data"], field).reshape(outputs[field.name]["shape"])
        for field in model.signature.outputs
    }


async def by_rows(client: httpx.AsyncClient, name: str, inputs: Mapping[str, Any], model: Any) -> tuple[Any, Any]:
    """Ask by rows."""
    columns = {field.name: plain(inputs[field.name].tolist()) for field in model.signature.inputs}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    response = await client.post(f"/predict/{name}", json={"rows": rows})
    if response.status_code != 200:
        return response, {}
    predictions = response.json()["predictions"]
    return response, {
        field.name: array_of([row[field.name] for row in predictions], field) for field in model.signature.outputs
    }


def plain(values: Any) -> Any:
    """JSON's values: a gap is null."""
    if isinstance(values, list):
        return [plain(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values


def array_of(values: Any, field: Any) -> Any:
    """An output's values as the array they were: the strings "NaN" and "Infinity" are numbers, and so is null."""
    if field.datatype == "BYTES":
        return np.array(values, dtype=object)
    return np.array(values, dtype=object).astype(field.dtype)
