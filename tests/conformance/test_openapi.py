"""The OpenAPI document keeps its word: schemathesis makes up good and bad requests from it, and checks the answers.

In-process over the ASGI application here; the larger run (`-m slow`) asks a server over HTTP.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pandas as pd
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from serinus.models import register
from serinus.models.loading import load
from serinus.models.trust import Trust
from serinus.serving.served_models import open_registry
from tests.conformance import zoo
from tests.conformance.conftest import ask
from tests.integration.server import Server
from tests.serving.asgi import Line

COLUMNS = ["city", "age", "income"]
FILL = {"city": "Oslo", "age": 1, "income": 0.5, "input": 1.0}
CHECKS = {"not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "unsupported_method",
          "allow_header_conformance"}
# Not asked for: missing_required_header (no header is required); use_after_free, ensure_resource_availability and
# object_level_authorization (nothing is made and deleted by these calls); ignored_auth has a test of its own.
SEED = 5


class Outcome(NamedTuple):
    good: int
    bad: int
    operations: set[str]
    checks: Counter[str]
    failures: list[str]


def pipeline() -> Any:
    """Answers for every value of its types: a number may be as large as it likes, a text unheard of."""
    people = zoo._people()
    columns = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]), remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=5)).fit(people[COLUMNS], people["late"])


def fill(home: Path) -> None:
    """A pipeline on named columns of strings and numbers, and a graph that takes one matrix."""
    people: pd.DataFrame = zoo._people()
    register(pipeline(), "people", reference=people[[*COLUMNS, "late"]], target="late", home=home)
    register(zoo.matrix(str), "matrix", home=home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("openapi")
    fill(home)
    return home


def line(home: Path, **settings: Any) -> Line:
    """Both models in memory, behind the application of a worker."""
    made = Line(home, {}, **settings)
    registry = open_registry(made.settings)
    models = {name: {"1": load(registry.get(name, "1"), trust=Trust(home))} for name in ("people", "matrix")}
    made.close()
    return Line(home, models, **settings)


def run(document: dict[str, Any], examples: int, *, app: Any = None, address: str = "http://127.0.0.1:3000",
        **config: Any) -> Outcome:
    """What the examples, the corners and random requests found out."""
    resolved = SchemathesisConfig.from_dict({
        "seed": SEED, "base-url": address, "continue-on-failure": True,
        "generation": {"max-examples": examples, "database": "none"},
        "phases": {"stateful": {"enabled": False}},  # there are no links between operations
        # Too many rows are 413, which schemathesis does not count as a refusal by itself.
        "checks": {"negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 413, 415, 422]}},
        **config})
    schema = schemathesis.openapi.from_dict(json_only(document), config=resolved)
    if app is not None:
        schema.app = app
    schema.validate()
    # Calls that change what is served would change the answers of all others.
    schema = schema.exclude(path_regex="/api/.*|/v2/repository/models/.*", method="POST")
    schema.hooks.hook("filter_case")(is_unambiguous)
    schema.hooks.hook("map_case")(made_consistent)
    found = Outcome(0, 0, set(), Counter(), [])
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.FatalError | events.NonFatalError), vars(event)
        if isinstance(event, events.ScenarioFinished):
            found = counted(found, event.recorder)
    return found


def counted(so_far: Outcome, recorder: Any) -> Outcome:
    _, _, operations, checks, failures = so_far
    if recorder.cases:
        operations.add(recorder.label)
    for case, nodes in recorder.checks.items():
        for node in nodes:
            checks[node.name] += 1
            if node.status == Status.FAILURE:
                answer = recorder.interactions[case].response
                info = node.failure_info
                failures.append(f"{node.name}: {info.failure.message}\n{info.code_sample[:2000]}\n"
                                f"{answer and answer.status_code} {answer and answer.content[:500]!r}")
    good = sum(is_positive(node.value) for node in recorder.cases.values())
    return Outcome(so_far.good + good, so_far.bad + len(recorder.cases) - good, operations, checks, failures)


def json_only(document: dict[str, Any]) -> dict[str, Any]:
    """The document without CSV, Parquet and binary tensors as bodies: JSON Schema says nothing of what is in them.
    `test_forms` and `test_binary_tensors` try those."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(document))
    for methods in copy["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                content = operation["requestBody"]["content"]
                operation["requestBody"]["content"] = {"application/json": content["application/json"]}
    return copy


def is_unambiguous(_: Any, case: Any) -> bool:
    """Whether the schema decides if the request is good. It does not for a data frame whose columns are not in the
    signature's order: that is good too if the data are in the same, and columns that may be missing are left out."""
    body = case.body
    frame = body.get("dataframe_split") if isinstance(body, dict) else None
    return is_positive(case) or not isinstance(frame, dict) or frame.get("columns") in (COLUMNS, None)


def made_consistent(_: Any, case: Any) -> Any:
    """Good requests also keep what JSON Schema cannot say: columns are equally long, each input comes once, a shape is
    that of the data, a list of keys is as long, and an integer is written without a point (to JSON Schema, 1.0 is
    one)."""
    if is_positive(case) and isinstance(case.body, dict):
        body = integers(case.body)
        for holder in (body, body.get("params"), body.get("parameters")):
            if isinstance(holder, dict) and isinstance(holder.get("prediction_key"), list):
                holder["prediction_key"] = holder["prediction_key"][0]
        for key in ("columns", "inputs", "instances"):
            if isinstance(body.get(key), dict):
                body[key] = even(body[key])
            elif is_tensors(body.get(key)):
                body[key] = shaped(body[key])
        case.body = body
    return case


def is_positive(case: Any) -> bool:
    return case.meta is not None and bool(case.meta.generation.mode.is_positive)


def integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value


def even(columns: dict[str, Any]) -> dict[str, Any]:
    known = [values for name, values in columns.items() if name in FILL and isinstance(values, list)]
    rows = min(map(len, known), default=0)
    return {name: values[:rows] if name in FILL and isinstance(values, list) else values
            for name, values in columns.items()}


def is_tensors(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(tensor, dict) and "datatype" in tensor for tensor in value)


def shaped(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    once = {tensor["name"]: tensor for tensor in tensors}.values()
    flat = {tensor["name"]: leaves(tensor["data"]) for tensor in once}
    width = {tensor["name"]: math.prod(tensor["shape"][1:]) for tensor in once}
    rows = max(1, min(len(flat[name]) // width[name] for name in flat))
    return [{**tensor, "shape": [rows, *tensor["shape"][1:]],
             "data": (flat[name] + [FILL[name]] * rows * width[name])[:rows * width[name]]}
            for tensor in once for name in (tensor["name"],)]


def leaves(data: Any) -> list[Any]:
    return [leaf for inner in data for leaf in leaves(inner)] if isinstance(data, list) else [data]


def labels(document: dict[str, Any]) -> set[str]:
    """All operations but those that change what is served."""
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
            if method in ("get", "post") and not (method == "post" and path.startswith(("/api", "/v2/repository/m")))}


def test_every_answer_is_as_the_document_says(home: Path) -> None:
    """Good requests are taken, bad ones refused, and all that is answered has the status, headers and form that are
    promised, at every address."""
    served = line(home)
    document = served.call("GET", "/openapi.json").json
    for path in [path for path in document["paths"] if path.startswith("/api/rollouts/{model}/")]:
        document["paths"][path].pop("get", None)  # a steward tells what lies in the store: see the slow test
    outcome = run(document, 3, app=served.app)
    served.close()
    assert outcome.failures == [], "\n\n".join(outcome.failures)
    assert outcome.operations == labels(document)
    assert CHECKS - set(outcome.checks) == set()
    assert (outcome.good > 500, outcome.bad > 500) == (True, True)


def test_a_token_that_is_wanted_is_asked_for(home: Path) -> None:
    """What the document calls secured answers nobody without the token, and only those who have it."""
    served = line(home, control={"token": "sesame"})
    document = served.call("GET", "/openapi.json").json
    document["paths"] = {"/api/models": document["paths"]["/api/models"]}
    outcome = run(document, 3, app=served.app, headers={"Authorization": "Bearer sesame"})
    served.close()
    assert (outcome.failures, outcome.checks["ignored_auth"] > 0) == ([], True)


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(home, tmp_path) as server:
        yield server


@pytest.mark.slow
def test_a_server_answers_as_its_document_says(server: Server) -> None:
    """The same over HTTP with many more requests, the model repository and rollouts included as far as they only
    tell."""
    address = f"http://127.0.0.1:{server.port}"
    document = ask(f"{address}/openapi.json")
    outcome = run(document, 150, address=address)
    print(f"{outcome.good} good and {outcome.bad} bad requests, {outcome.checks.total()} checks")
    assert outcome.failures == [], "\n\n".join(outcome.failures)
    assert outcome.operations == labels(document)
